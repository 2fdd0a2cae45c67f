"""Every ONNX backend node test passes, or is refused by name, as docs/supported_ops.md says."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import onnx
import pytest
from bench import supported_ops
from formats.onnx.mutations import damage
from formats.onnx.node_cases import (
    AS_ONNXRUNTIME,
    Ending,
    bind,
    cases,
    cases_by_operator,
    ending_of,
    import_case,
    inputs_of,
    operators,
)

from stepdown.errors import InputError, UnsupportedModel
from stepdown.formats.onnx.importer import import_model, refuse_unsupported
from stepdown.formats.onnx.rules import REASONS, RULES

refuse_unsupported([])  # fills RULES

# Cases that must be refused, and what the refusal must say; those with elements of some types are, whatever their name.
REFUSED = {
    r"batchnorm_.*_training_mode|training_dropout": r"training is not supported",
    r"if_(seq|opt)|sequence_map_.*_expanded": r"(sequences of tensors|optional values) are not supported",
}
OUTSIDE = re.compile(r"FLOAT[48]|STRING|COMPLEX")
NARROW = re.compile(r"U?INT[24]$")  # constants may have such elements, results may not


@pytest.mark.parametrize("op_type", sorted({*RULES, *REASONS}))
def test_operator(op_type: str, record_property: Callable[[str, object], None]) -> None:
    endings = _run(cases_by_operator().get(op_type, []))
    record_property("node_cases", dict(Counter(ending.kind for ending in endings)))
    row = supported_ops.onnx_row(op_type, endings)
    assert row in supported_ops.DOCUMENT.read_text().splitlines(), f"run {supported_ops.COMMAND}: its row is now {row}"


def test_every_operator_has_a_rule_or_a_reason() -> None:
    assert not set(cases_by_operator()) - {*RULES, *REASONS}


def test_tables_hold_nothing_else() -> None:
    unused = {pattern for pattern in (*REFUSED, *AS_ONNXRUNTIME) if not any(_matches(pattern, c) for c in cases())}
    assert not unused


def test_damaged_models_are_refused_in_one_line() -> None:
    rng, refused = random.Random(0), 0
    small = [case for case in cases() if len(case.model.graph.node) < 6 and not _refusals(case)]
    for case in small:
        given = inputs_of(case)
        model = bind(case.model, given, import_case(case, given)[1])
        damage(model, rng)
        try:
            import_model(model, case.name)
        except (InputError, UnsupportedModel) as error:
            assert "\n" not in str(error), case.name
            refused += 1
        except Exception as error:
            pytest.fail(f"{case.name}: {type(error).__name__}: {error}")
    assert refused > len(small) / 4


def _run(chosen: Iterable[Any]) -> list[Ending]:
    """Run cases; fail with a line for each one that does not end as it should, else return how they ended."""
    failures, endings = [], []
    for case in chosen:
        try:
            endings.append(_ending(case))
        except Exception as error:
            failures.append(f"{case.name}: {type(error).__name__}: {' '.join(str(error).split())}")
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)
    return endings


def _ending(case: Any) -> Ending:
    """Return how a case ended. Raises AssertionError where it should not have ended so."""
    ending, wanted = ending_of(case), _refusals(case)
    assert (ending.kind == "refused") == bool(wanted), f"{ending.kind}: {ending.reason}"
    assert not wanted or any(re.search(message, ending.reason) for message in wanted), ending.reason
    return ending


def _refusals(case: Any) -> list[str]:
    """Return what the refusal of a case may say; nothing where it must pass."""
    wanted = [message for pattern, message in REFUSED.items() if _matches(pattern, case)]
    wanted += [f"unsupported operators: .*{re.escape(op)} ×" for op in operators(case) if op not in RULES]
    graph = case.model.graph
    wanted += [r"(?i)elements of type" for value in (*graph.input, *graph.output) if OUTSIDE.match(_type(value))]
    wanted += [r"(?i)elements of type u?int[24]" for value in graph.output if NARROW.match(_type(value))]
    return [*wanted, *("is not a tensor" for value in graph.input if not value.type.HasField("tensor_type"))]


def _type(value: onnx.ValueInfoProto) -> str:
    """Return the name of the type of a tensor's elements."""
    return onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)


def _matches(pattern: str, case: Any) -> bool:
    return re.search(pattern, case.name) is not None
