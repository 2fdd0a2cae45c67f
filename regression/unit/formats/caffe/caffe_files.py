"""Small Caffe files for the tests: the bytes of a caffemodel are put together here, without any protobuf schema."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stepdown.dialects.program import Program
from stepdown.formats.caffe.importer import import_network
from stepdown.formats.caffe.loader import load_blobs, load_net
from stepdown.formats.caffe.network import Network, network_of
from stepdown.formats.onnx.exporter import export_program
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.runner import Tensors

Weights = Mapping[str, Sequence[np.ndarray]]


def varint(value: int) -> bytes:
    """Return an unsigned integer as protobuf writes it."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def chunk(field: int, content: bytes) -> bytes:
    """Return a length-delimited field."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    """Return an integer field."""
    return varint(field << 3) + varint(value)


def blob(array: np.ndarray, legacy: bool = False, stated: Sequence[int] | None = None, double: bool = False) -> bytes:
    """Return a BlobProto; a legacy one states four sizes, `stated` lies about the shape."""
    shape = list(array.shape if stated is None else stated)
    values = chunk(8, array.astype("<f8").tobytes()) if double else chunk(5, array.astype("<f4").tobytes())
    if legacy:
        sizes = [1] * (4 - len(shape)) + shape
        return b"".join(number(i, size) for i, size in enumerate(sizes, 1)) + values
    return chunk(7, chunk(1, b"".join(map(varint, shape)))) + values


def layer_blobs(name: str, blobs: Sequence[bytes]) -> bytes:
    """Return a layer of a caffemodel, with a field of no meaning to us in it."""
    learned = b"".join(chunk(7, b) for b in blobs)
    return chunk(100, chunk(1, name.encode()) + chunk(2, b"Whatever") + chunk(106, number(1, 4)) + learned)


def caffemodel(weights: Weights, **options: bool) -> bytes:
    """Return the bytes of a caffemodel."""
    layers = [layer_blobs(name, [blob(a, **options) for a in arrays]) for name, arrays in weights.items()]
    return chunk(1, b"net") + b"".join(layers)


def old_caffemodel(weights: Weights) -> bytes:
    """Return the bytes of a caffemodel in the format of 2014: V1 layers, blobs of four sizes."""
    return b"".join(
        chunk(2, chunk(4, name.encode()) + b"".join(chunk(6, blob(a, legacy=True)) for a in arrays))
        for name, arrays in weights.items()
    )


def declared(**shapes: Sequence[int]) -> str:
    """Return Input layers."""
    return "\n".join(
        f'layer {{ name: "in_{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {size}" for size in shape)
        + " } } }"
        for name, shape in shapes.items()
    )


def layer(name: str, kind: str, bottoms: str, tops: str, parameters: str = "") -> str:
    """Return the text of a layer; bottoms and tops are separated by blanks."""
    ends = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(ends)} {parameters} }}'


def read(folder: Path, text: str) -> Network:
    """Return the network of a prototxt."""
    (folder / "net.prototxt").write_text(text)
    return network_of(load_net(folder / "net.prototxt"))


def imported(folder: Path, text: str, weights: Weights | bytes | None = None) -> Program:
    """Import a prototxt with its weights."""
    network, blobs = read(folder, text), None
    if weights is not None:
        raw = weights if isinstance(weights, bytes) else caffemodel(weights)
        (folder / "net.caffemodel").write_bytes(raw)
        blobs = load_blobs(folder / "net.caffemodel")
    return import_network(network, blobs, "net")


def run(program: Program, tensors: Tensors) -> Tensors:
    """Return all tensors of a program, by our interpreter."""
    return MlirRunner(program).run(tensors, "all")


def run_by_onnxruntime(program: Program, tensors: Tensors) -> Tensors:
    """Return the outputs of a program, exported and run by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        export_program(program).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, tensors), strict=True))
