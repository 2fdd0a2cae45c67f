"""Every ONNX backend node test whose operators we know passes, or is refused for a reason listed here."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from formats.onnx.mutations import damage
from formats.onnx.node_cases import (
    bind,
    cases,
    cases_of,
    expanded_cases,
    import_case,
    inputs_of,
    run_case,
    run_on_onnxruntime,
)  # fmt: skip

from stepdown.errors import InputError, UnsupportedModel
from stepdown.formats.onnx.importer import import_model, refuse_unsupported
from stepdown.formats.onnx.rules import RULES

refuse_unsupported([])  # fills RULES
EXPANDED_PARTS = 16

# Cases that must be refused, and what the refusal must say.
REFUSED = {
    r"bfloat16|bf16|BFLOAT16": r"elements of type (BFLOAT16|bfloat16)",
    r"FLOAT8|e4m3fn|e5m2": r"elements of type (FLOAT8|float8)",
    r"FLOAT4|float4": r"elements of type (FLOAT4|float4)",
    r"(INT|int)[24](_|$)": r"elements of type U?u?(INT|int)[24]",
    r"batchnorm_.*_training_mode|training_dropout": r"training is not supported",
    r"equal_string": r"elements of type STRING",
    r"identity_(sequence|opt)": r"is not a tensor",
    r"if_(seq|opt)|loop13_seq|loop16_seq|sequence_map": r"is not a tensor|(of tensors|optional values) are not",
    r"maxpool_with_argmax": r"the output Indices is not supported",
}

# Cases whose expected values contradict the text of the standard; there we give what onnxruntime gives.
AS_ONNXRUNTIME = {
    r"resize_downsample_scales_(linear|cubic)_align_corners": "align the corners with a size that is not whole",
}


@pytest.mark.parametrize("op_type", sorted(RULES))
def test_operator(op_type: str, record_property: Callable[[str, object], None]) -> None:
    record_property("node_cases", _run(cases_of(op_type)))


@pytest.mark.parametrize("part", range(EXPANDED_PARTS))
def test_expanded(part: int, record_property: Callable[[str, object], None]) -> None:
    record_property("node_cases", _run(expanded_cases()[part::EXPANDED_PARTS]))


def test_tables_hold_nothing_else() -> None:
    unused = {pattern for pattern in (*REFUSED, *AS_ONNXRUNTIME) if not any(_matches(pattern, c) for c in cases())}
    assert not unused


def test_damaged_models_are_refused_in_one_line() -> None:
    rng, refused = random.Random(0), 0
    small = [case for case in cases() if len(case.model.graph.node) < 6 and not _is_refused(case)]
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


def _run(chosen: Iterable[Any]) -> dict[str, int]:
    """Run cases; fail with a line for each one that does not end as it should, else return how they ended."""
    failures, ended = [], Counter[str]()
    for case in chosen:
        try:
            ended[_ending(case)] += 1
        except Exception as error:
            failures.append(f"{case.name}: {type(error).__name__}: {' '.join(str(error).split())}")
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)
    return dict(ended)


def _ending(case: Any) -> str:
    """Return "passed" or "refused". Raises what a case that ends otherwise raises."""
    wanted = [message for pattern, message in REFUSED.items() if _matches(pattern, case)]
    if wanted:
        with pytest.raises(UnsupportedModel) as caught:
            run_case(case)
        assert any(re.search(message, str(caught.value)) for message in wanted), str(caught.value)
        return "refused"
    if any(_matches(pattern, case) for pattern in AS_ONNXRUNTIME):
        run_case(case, run_on_onnxruntime(case))
        return "as onnxruntime"
    run_case(case)
    return "passed"


def _is_refused(case: Any) -> bool:
    return any(_matches(pattern, case) for pattern in REFUSED)


def _matches(pattern: str, case: Any) -> bool:
    return re.search(pattern, case.name) is not None
