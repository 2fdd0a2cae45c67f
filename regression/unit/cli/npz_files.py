"""What the tests of npz_tool share: running it in this process, and a file of every kind of tensor."""

from pathlib import Path

import numpy as np

from stepdown.cli.tool import run
from stepdown.files.npz import NpzMetadata, TensorInfo, write_npz

CONV = np.int8([[8, -16], [24, 127]])
CONV_INFO = TensorInfo("i8", 0.125, 4, layout="NC", fused=("bn",))
WEIGHT = np.arange(24, dtype=np.int8).reshape(2, 3, 4)
WEIGHT_INFO = TensorInfo("i8", [0.5, 1.0, 2.0], [0, 1, 2], 1, "OIK")
VIEW = np.float32([[0.5, -2.5], [2.5, 15.375]])
FLOAT = np.float32([[1.5, -2], [3, 0.1]])
METADATA = NpzMetadata(
    {"conv": CONV_INFO, "conv_f32": TensorInfo(view_of="conv"), "weight": WEIGHT_INFO}, ("conv",), "net", "abc"
)


def write_all(path: Path) -> Path:
    """Write a file with metadata: quantised, its view, quantised by channel, plain float, plain integer."""
    tensors = {"conv": CONV, "conv_f32": VIEW, "weight": WEIGHT, "float": FLOAT, "count": np.array([3, 5])}
    write_npz(path, tensors, METADATA)
    return path


def npz_tool(*arguments: object) -> int:
    """Run the tool and return its exit code."""
    return run("npz_tool", [str(argument) for argument in arguments])
