"""A TFLite model as plain Python: what the flatbuffer says, decoded and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepdown.numerics.quantize import QuantParams


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    `shape` is what the file states (it may be wrong for computed tensors), `open_axes` are those it leaves open;
    `array` is set for constants: float16 as stored, 4-bit integers one a byte, sparse ones made dense.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    array: np.ndarray | None = None
    params: QuantParams | None = None
    open_axes: tuple[int, ...] = ()
    is_variable: bool = False


@dataclass(frozen=True)
class Operator:
    """One operator: inputs are tensor indices, −1 for an absent one; options by their schema name (`StrideW`)."""

    op_type: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class Subgraph:
    """The tensors and operators of one graph, in the order of execution."""

    name: str
    tensors: list[Tensor]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]


@dataclass(frozen=True)
class Model:
    """A model: its main graph comes first."""

    path: str
    version: int
    description: str
    subgraphs: list[Subgraph]

    @property
    def main(self) -> Subgraph:
        """The graph that is run."""
        return self.subgraphs[0]

    @property
    def is_quantised(self) -> bool:
        """Tell whether integers flow between the operators: some computed tensor is stored quantised."""
        made = {i for op in self.main.operators for i in op.outputs}
        return any(self.main.tensors[i].params is not None for i in made)
