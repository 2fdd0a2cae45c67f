"""Model files made by hand: two small networks as a code generator would describe them; their commands are noise."""

import json
import struct
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.model import (
    CommandRange,
    ModelFile,
    Network,
    Provenance,
    Region,
    SectionStore,
    Stage,
    Step,
    Stream,
    Subnet,
    Tensor,
    Weight,
)

CHIP = '# a chip for tests\nname = "chip9"\nkind = "npu"\n'
HOST_TEXT = """"builtin.module"() ({
  // softmax of the logits
}) {module.state = "TPU_LOWERED"} : () -> ()
"""


def ramp(*shape: int, kind: Any = np.int8) -> np.ndarray:
    """Return an array of small integers that is the same every time."""
    return np.resize(np.arange(-100, 101), shape).astype(kind)


def put_weight(store: SectionStore, name: str, array: np.ndarray, kind: str, address: int | None = None) -> Weight:
    return Weight(name, store.put(f"weight/{name}", array.tobytes()), array.shape, kind, address)


def small_stage(store: SectionStore, batch: int = 1, name: str = "small") -> Stage:
    """Return a convolution and a pooling on the NPU, tiled in two, then a softmax on the host."""
    seed = sha256(f"{name} {batch}".encode()).digest()
    streams = tuple(
        Stream(engine, store.put(f"stream/{name}.{batch}.{engine}", seed * count), count)
        for engine, count in (("compute", 3), ("dma", 4))
    )
    weights = (
        put_weight(store, "conv.weight_i8", ramp(8, 3, 3, 3), "i8", 0),
        put_weight(store, "conv_bias_i32", ramp(8, kind=np.int32), "i32", 256),
    )
    host = put_weight(store, "temperature", np.array([0.5], np.float32), "f32")
    tensors = (
        Tensor("input", (batch, 3, 8, 8), "i8", 0.05, 3),
        Tensor("conv_Conv", (batch, 8, 8, 8), "u8", 0.1, layout="NHWC", order=(0, 2, 3, 1), fused=("bn", "relu")),
        Tensor("pool_MaxPool", (batch, 8), "u8", 0.1),
        Tensor("output_Softmax", (batch, 8), "f32"),
    )
    npu = (CommandRange("compute", 0, 3), CommandRange("dma", 0, 4))
    return Stage(
        ("input",), ("output_Softmax",), tensors,
        (
            Subnet("npu", ("input",), ("pool_MaxPool",), npu),
            Subnet(
                "host", ("pool_MaxPool",), ("output_Softmax",),
                text=store.put(f"host/{name}.1.mlir", HOST_TEXT.encode()), weights=(host,),
            ),
        ),
        weights, streams, {"global": 4096, "local": 2048}, small_memory(batch), small_steps(),
        {"input": {"pixel_format": "rgb", "resize_dims": (8, 8), "mean": (0.5, 1.5, 2.5), "preprocess": True}},
        Provenance({"small.mlir": "ab" * 32}, {"stepdown": "0.1.0"}, (f"--batch={batch}", "mode=INT8")),
    )  # fmt: skip


def small_memory(batch: int) -> tuple[Region, ...]:
    return (
        Region("input", "global", 512, 192 * batch, 0, 0, 1),
        Region("pool_MaxPool", "global", 2048, 8 * batch, 2, 2, 2),
        Region("conv_Conv", "local", 0, 256, 0, 0, 2, (0, 0, 0, 0), (batch, 8, 4, 8), layout="lanes"),
        Region("conv_Conv", "local", 256, 256, 1, 1, 2, (0, 0, 4, 0), (batch, 8, 4, 8), layout="lanes"),
        Region("conv.weight_i8", "local", 512, 216, 0, 0, 1),
        Region("", "local", 1024, 64, 0, 0, 2),
    )


def small_steps() -> tuple[Step, ...]:
    return (
        Step("conv_Conv", "tpu.Conv", (CommandRange("dma", 0, 2), CommandRange("compute", 0, 1))),
        Step("conv_Conv", "tpu.Conv", (CommandRange("dma", 2, 1), CommandRange("compute", 1, 1))),
        Step("pool_MaxPool", "tpu.MaxPool", (CommandRange("compute", 2, 1), CommandRange("dma", 3, 1))),
    )


def small_model(name: str = "small", batch: int = 1) -> ModelFile:
    """Return a model of one network with one stage."""
    store = SectionStore()
    stage = small_stage(store, batch, name)
    return ModelFile(CHIP, (Network(name, "INT8", "tosa", (stage,)),), store)


def with_stage(model: ModelFile, **changes: Any) -> ModelFile:
    """Return a model whose only stage has other fields."""
    network = model.networks[0]
    stage = replace(network.stages[0], **changes)
    return replace(model, networks=(replace(network, stages=(stage,)),))


def header_of(data: bytes) -> dict[str, Any]:
    """Return the header of a file as JSON has it."""
    return dict(json.loads(data[8 : 8 + struct.unpack_from("<Q", data)[0]]))


def sections_of(path: Path) -> dict[str, bytes]:
    """Return the sections of a file in their order, read without our reader."""
    data = path.read_bytes()
    header = header_of(data)
    begin = 8 + struct.unpack_from("<Q", data)[0]
    rows = {name: row["data_offsets"] for name, row in header.items() if name != "__metadata__"}
    return {name: data[begin + start : begin + end] for name, (start, end) in rows.items()}
