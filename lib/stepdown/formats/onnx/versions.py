"""Operator sets: which we know, and old ones brought up by onnx's converter, in a child process that may die.

python -m stepdown.formats.onnx.versions IN.onnx OUT.onnx
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.errors import StepError, UnsupportedModel
from stepdown.files.child import environment, limit_process
from stepdown.formats.onnx.rules import DEFAULT_DOMAINS

if TYPE_CHECKING:
    import onnx

OLDEST, NEWEST = 7, 28
"""The versions of the default operator set that rules are written for."""
TIME_LIMIT_S = 120.0


def opset_of(model: "onnx.ModelProto") -> int:
    """Return the version of the default operator set, 1 where the file says none."""
    return max((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), default=1)


def check_opset(model: "onnx.ModelProto") -> None:
    """Raise UnsupportedModel where the operator set is newer than those we know: operators may mean other things."""
    if opset_of(model) > NEWEST:
        raise UnsupportedModel(
            f"is written in operator set {opset_of(model)}, we know those up to {NEWEST}",
            fix="export it in an older one",
        )


def modernised(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a model in operator set 7 or newer: itself, or what onnx's version converter makes of it.

    Raises:
        UnsupportedModel: the operator set is not known, or the converter fails.
    """
    check_opset(model)
    if opset_of(model) >= OLDEST:
        return model
    with tempfile.TemporaryDirectory(prefix="stepdown_versions_") as folder:
        source, target = Path(folder) / "old.onnx", Path(folder) / "new.onnx"
        source.write_bytes(model.SerializeToString())
        problem = _convert(source, target)
        if not problem:
            return _read(target, opset_of(model))
    raise _failed(opset_of(model), problem)


def _read(path: Path, old: int) -> "onnx.ModelProto":
    from stepdown.formats.onnx.loader import load_onnx

    try:
        return load_onnx(path)
    except StepError as error:
        raise _failed(old, error.what) from error


def _failed(old: int, problem: str) -> UnsupportedModel:
    what = f"is written in operator set {old}, which onnx cannot convert to {OLDEST} ({problem})"
    return UnsupportedModel(what, fix=f"export it in operator set {OLDEST} or newer")


def _convert(source: Path, target: Path) -> str:
    """Run the converter; return what went wrong, '' where nothing did."""
    command = [sys.executable, "-m", __name__, str(source), str(target)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT_S,
            cwd=source.parent, env=environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than {TIME_LIMIT_S:g} s"
    if done.returncode < 0:
        return f"it was ended by signal {-done.returncode}"
    last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
    return "".join(last)[:200] or f"exit code {done.returncode}" if done.returncode else ""


def _child(source: str, target: str) -> None:
    import onnx
    from onnx.shape_inference import infer_shapes
    from onnx.version_converter import convert_version

    limit_process(Path(source).stat().st_size)
    model = onnx.load(source)
    model.ir_version = max(model.ir_version, 3)
    for version in range(opset_of(model) + 1, OLDEST + 1):  # one by one: each step needs the shapes of the one before
        model = convert_version(infer_shapes(model), version)
    onnx.save(model, target)


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2])
