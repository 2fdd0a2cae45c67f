"""Makes the files of this folder: the tensors of a small network in float, quantised, and with faults.

python3 make.py FOLDER    writes them into FOLDER; the same bytes every time
"""

import sys
from pathlib import Path

import numpy as np

from stepdown.files.npz import NpzMetadata, TensorInfo, write_npz


def values(seed: int, *shape: int) -> np.ndarray:
    """Return float32 values in [-4, 4), multiples of 1/4096, from a linear congruential generator."""
    state, found = seed, []
    for _ in range(int(np.prod(shape))):
        state = (1103515245 * state + 12345) % (1 << 31)
        found.append((state >> 16) / 4096 - 4)
    return np.array(found, np.float32).reshape(shape)


def quantised(x: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(np.rint(x / np.float32(scale)), -128, 127).astype(np.int8)


FLOAT = {
    "input": values(1, 1, 3, 4, 4),
    "conv1_Conv": values(2, 1, 8, 4, 4),
    "bn1_BatchNormalization": values(3, 1, 8, 4, 4),
    "relu1_Relu": np.maximum(values(4, 1, 8, 4, 4), 0),
    "indices_ArgMax": np.array([[3, 1, 4, 1]]),
    "output_Gemm": values(5, 1, 10),
}
WITH_OUTPUTS = NpzMetadata(outputs=("output_Gemm",), model="net.mlir")

SCALE = 0.03125
INT8 = {
    "input": FLOAT["input"],
    "relu1_Relu": quantised(FLOAT["relu1_Relu"], SCALE),
    "relu1_Relu_f32": quantised(FLOAT["relu1_Relu"], SCALE) * np.float32(SCALE),
    "indices_ArgMax": FLOAT["indices_ArgMax"],
    "output_Gemm": quantised(FLOAT["output_Gemm"], SCALE),
}
INT8_METADATA = NpzMetadata(
    {
        "relu1_Relu": TensorInfo("i8", SCALE, layout="NCHW", fused=("conv1_Conv", "bn1_BatchNormalization")),
        "relu1_Relu_f32": TensorInfo(view_of="relu1_Relu"),
        "output_Gemm": TensorInfo("i8", SCALE),
    },
    ("output_Gemm",),
    "net_int8.mlir",
)


def faulty() -> dict[str, np.ndarray]:
    """The float tensors with a fault of each kind."""
    found = {name: x.copy() for name, x in FLOAT.items()}
    found["input"][0, 1, 2, 3] = np.nan
    found["conv1_Conv"] = found["conv1_Conv"][:, :7]
    found["bn1_BN"] = found.pop("bn1_BatchNormalization")
    found["relu1_Relu"] *= np.float32(1.05)
    found["indices_ArgMax"][0, 2] = 5
    return found


def write_all(folder: Path) -> None:
    write_npz(folder / "float.npz", FLOAT, WITH_OUTPUTS)
    write_npz(folder / "plain.npz", FLOAT)
    write_npz(folder / "int8.npz", INT8, INT8_METADATA)
    write_npz(folder / "faulty.npz", faulty())
    write_npz(folder / "outputs.npz", {"output_Gemm": FLOAT["output_Gemm"] * np.float32(1.00001)}, WITH_OUTPUTS)
    write_npz(folder / "other.npz", {"x": values(6, 2)})


write_all(Path(sys.argv[1]))
