"""Simplifying a graph with onnxsim, in a child process with limits: whatever it does, the tool goes on.

    python -m stepdown.formats.onnx.simplify IN.onnx OUT.onnx '{"shapes": [[1, 3, 224, 224]], "outputs": [], …}'

The child reads the source itself, so that it works while the parent imports what it needs.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.errors import StepError
from stepdown.files.child import environment, limit_process

if TYPE_CHECKING:
    import onnx

    from stepdown.formats.onnx.binding import Wishes

TIME_LIMIT_S = 300.0
MAX_GROWTH, MAX_GROWTH_BYTES = 1.2, 1 << 20
GROWN = 3
"""Exit code of a child whose result is too large to be worth writing; the last line of what it says tells the sizes."""


class Simplification:
    """A child process that simplifies a model; use as a context manager, which ends the child and its files."""

    def __init__(
        self, path: str | os.PathLike[str], wishes: "Wishes | None" = None, time_limit_s: float = TIME_LIMIT_S
    ) -> None:
        from stepdown.formats.onnx.binding import Wishes

        self._limit_s = time_limit_s
        self._folder = Path(tempfile.mkdtemp(prefix="stepdown_simplify_"))
        self._output = self._folder / "simplified.onnx"
        sizes = {"growth": MAX_GROWTH, "growth_bytes": MAX_GROWTH_BYTES}
        asked = json.dumps({**(wishes or Wishes()).as_json(), **sizes})
        command = [sys.executable, "-m", __name__, os.path.abspath(path), str(self._output), asked]
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            cwd=self._folder, start_new_session=True, env=environment(),
        )  # fmt: skip

    def __enter__(self) -> "Simplification":
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def result(self, source: "onnx.ModelProto") -> "tuple[onnx.ModelProto, str]":
        """Wait and return the simplified model and '', or `source` and why it is taken as it is."""
        from stepdown.formats.onnx.loader import load_onnx

        if problem := self._wait():
            return source, problem
        try:
            model = load_onnx(self._output)
        except StepError as error:
            return source, f"its result cannot be read ({error.what})"
        return model, _differences(source, model)

    def _wait(self) -> str:
        """Wait for the child; return what went wrong, '' where nothing did."""
        try:
            _, said = self._child.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            return f"onnxsim took longer than {self._limit_s:g} s"
        if self._child.returncode == GROWN:
            return said.splitlines()[-1]
        if self._child.returncode < 0:
            return f"onnxsim was ended by signal {-self._child.returncode}"
        if self._child.returncode or not self._output.is_file():
            last = [line.strip() for line in said.splitlines() if line.strip()][-1:]
            return f"onnxsim failed ({''.join(last)[:200] or f'exit code {self._child.returncode}'})"
        return ""


def counts_text(before: "onnx.ModelProto", after: "onnx.ModelProto") -> str:
    """Return `12 → 10 nodes: Constant 2 → 0`: how many nodes there are, and the operators whose number changed."""
    old, new = (Counter(node.op_type for node in model.graph.node) for model in (before, after))
    changed = [f"{op} {old[op]} → {new[op]}" for op in sorted(old | new) if old[op] != new[op]]
    return f"{old.total()} → {new.total()} nodes" + (f": {', '.join(changed)}" if changed else ", none changed")


def _differences(source: "onnx.ModelProto", model: "onnx.ModelProto") -> str:
    """Return why a result is not the same network from outside, '' where it is."""
    for side in ("input", "output"):
        old, new = ([value.name for value in getattr(m.graph, side)] for m in (source, model))
        constants = {tensor.name for m in (source, model) for tensor in m.graph.initializer}
        if [n for n in old if n not in constants or side == "output"] != [
            n for n in new if n not in constants or side == "output"
        ]:
            return f"it changed the {side}s"
    return ""


def _child(source: str, target: str, wishes: dict[str, Any]) -> None:
    """Simplify `source` into `target`; BatchNormalization is left alone: folding it is ours, so that names are kept."""
    from stepdown.formats.onnx.binding import Wishes, open_onnx

    limit_process(os.path.getsize(source))
    model = open_onnx(source, Wishes(wishes["shapes"], wishes["dims"], wishes["outputs"]))
    import onnx
    import onnxsim

    if not all(value.type.tensor_type.HasField("shape") for value in model.graph.output):
        model = onnx.shape_inference.infer_shapes(model)  # onnxsim wants outputs to state one
    before = model.ByteSize()
    simplified, _ = onnxsim.simplify(model, check_n=0, skip_fuse_bn=True)
    if (after := simplified.ByteSize()) > before * wishes["growth"] + wishes["growth_bytes"]:
        print(f"it would grow from {before} to {after} bytes", file=sys.stderr, flush=True)
        os._exit(GROWN)  # taking the models apart would take as long as simplifying them
    onnx.save(simplified, target)


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
