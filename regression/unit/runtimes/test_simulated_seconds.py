"""How long simulating takes is told for every op of a model file, those of the host included."""

from pathlib import Path

import numpy as np
from perf.accounts import write_host, write_mnist

from stepdown.runtimes import open_runner


def test_every_op_with_commands_has_a_time(tmp_path: Path) -> None:
    runner = open_runner(write_mnist(tmp_path / "net.bmodel"))
    runner.run({"input": np.ones((1, 1, 28, 28), np.float32)})
    seconds = runner.seconds  # type: ignore[attr-defined]
    assert set(seconds) == {(step.op, step.name) for step in runner.stage.steps}  # type: ignore[attr-defined]
    assert all(value > 0 for value in seconds.values())


def test_the_host_has_its_own(tmp_path: Path) -> None:
    runner = open_runner(write_host(tmp_path / "net.bmodel"))
    runner.run({"x": np.ones((4, 256), np.float32)})
    assert {"tpu.Softmax", "tpu.Relu", "tpu.Add"} <= {op for op, _ in runner.seconds}  # type: ignore[attr-defined]
