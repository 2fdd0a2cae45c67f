"""A network in outline, whatever file it came from: what reports, pictures and comparisons of models work on.

A format gives its own reader (`formats/onnx/outline.py`) or an importer, whose program `program_outline.py` reads.
Bodies of control flow lie in the same list as all other nodes, before the node that owns them: their results are
operands of that node, and `region` says where they belong.
"""

import hashlib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from stepdown.numerics.quantize import QuantParams

Sizes = tuple[int | None, ...]
_BOOL_BITS = 8


@dataclass(eq=False)
class Value:
    """A tensor. `shape` is None where not even its rank is known, a size is None where it is not fixed.

    `type` is a storage name (f32, i8, …), '?' where it is not known; `range` is (min, max) of a calibrated tensor.
    """

    name: str
    shape: Sizes | None = None
    type: str = "?"
    quantization: QuantParams | None = None
    range: tuple[float, float] | None = None

    @property
    def count(self) -> int | None:
        """The number of elements, None where a size is not fixed."""
        if self.shape is None or None in self.shape:
            return None
        return math.prod(size for size in self.shape if size is not None)

    @property
    def bytes(self) -> int | None:
        """The bytes of all elements, None where a size or the type is not known."""
        bits = bits_of(self.type)
        return None if self.count is None or bits is None else -(-self.count * bits // 8)


@dataclass(eq=False)
class Constant(Value):
    """A tensor whose values are in the file; they are read when asked for."""

    load: Callable[[], np.ndarray] = field(kw_only=True)

    @property
    def raw(self) -> bytes:
        """The bytes of the values in their order; text elements with their lengths."""
        array = self.load()
        if array.dtype.hasobject:
            return b"".join(b"%d:%b" % (len(item), item) for item in map(_encoded, array.reshape(-1)))
        return np.ascontiguousarray(array).tobytes()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of `raw`."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(eq=False)
class Node:
    """An operator at work. `ports` names the place of each operand: "0", "1", …, or a place in a body it owns.

    `attributes` has those that are left out too, with their defaults; `stated` names the ones that the file states.
    """

    op: str
    name: str
    operands: tuple[Value | None, ...]
    results: tuple[Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    port_names: Mapping[str, str] = field(default_factory=dict)
    stated: Collection[str] = ()
    region: str = ""
    version: int = 0
    macs: int | None = 0

    def __post_init__(self) -> None:
        self.ports = self.ports or tuple(map(str, range(len(self.operands))))


@dataclass(eq=False)
class Outline:
    """The nodes in an order in which they can run, with what goes in and comes out.

    `preprocessing` has, by input name, how a photo becomes the input; `facts` what else the file says of itself;
    `uncounted` the operators whose multiply-accumulates nobody counts, by how often they occur. `typed`: the types of
    results are a part of what the nodes mean, as they are in our dialects; else they only follow from the operands.
    """

    inputs: list[Value]
    outputs: list[Value]
    nodes: list[Node]
    preprocessing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    quantization: Mapping[str, Any] = field(default_factory=dict)
    uncounted: Mapping[str, int] = field(default_factory=dict)
    typed: bool = False

    @property
    def constants(self) -> list[Constant]:
        """The constants that are used, each once, in the order of their first use."""
        used = [v for node in self.nodes for v in node.operands] + list(self.outputs)
        return list(dict.fromkeys(v for v in used if isinstance(v, Constant)))

    @property
    def body_inputs(self) -> "list[Value]":
        """The tensors that no node makes: the inputs of bodies, which the nodes that own the bodies read, and state."""
        made = {*self.inputs, *self.producers}
        read = (value for node in self.nodes for value in node.operands)
        return list(dict.fromkeys(v for v in read if v is not None and v not in made and not isinstance(v, Constant)))

    @property
    def producers(self) -> dict[Value, tuple[Node, int]]:
        """By tensor, the node that makes it and the number of the result."""
        return {value: (node, index) for node in self.nodes for index, value in enumerate(node.results)}

    @property
    def users(self) -> dict[Value, list[tuple[Node, str]]]:
        """By tensor, the nodes that read it and the ports at which they do."""
        found: dict[Value, list[tuple[Node, str]]] = {}
        for node in self.nodes:
            for port, value in zip(node.ports, node.operands, strict=True):
                if value is not None:
                    found.setdefault(value, []).append((node, port))
        return found


def bits_of(type_name: str) -> int | None:
    """Return the bits of an element of a storage type (a truth value takes a byte), None where it has no fixed size."""
    if type_name == "i1":
        return _BOOL_BITS
    match = re.match(r"[a-z]+(\d+)", type_name)
    return int(match[1]) if match else None


def shape_text(value: Value) -> str:
    """Return `1x3x224x224`, `?` for sizes that are not fixed, '' for a scalar."""
    return "?" if value.shape is None else "x".join("?" if size is None else str(size) for size in value.shape)


def type_text(value: Value) -> str:
    """Return `1x32x112x112xi8 scale 0.05 zero point 3`: shape, type and quantisation, as people read it."""
    return " ".join(filter(None, ["x".join(filter(None, [shape_text(value), value.type])), quantization_text(value)]))


def quantization_text(value: Value) -> str:
    """Return `scale 0.05 zero point 3`, `32 scales along axis 0`, `range -1..1`, or ''."""
    params = value.quantization
    if params is None:
        return f"range {value.range[0]:.6g}..{value.range[1]:.6g}" if value.range else ""
    if isinstance(params.scale, tuple):
        return f"{len(params.scale)} scales along axis {params.axis}"
    return f"scale {params.scale:.6g}" + (f" zero point {params.zero_point}" if params.zero_point else "")


def _encoded(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()
