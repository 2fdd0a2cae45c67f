"""fuse-pads: what canonicalize does with Pads before windows, alone: of stored integers it is exact as well."""

from dataclasses import dataclass

from stepdown.dialects.program import Program
from stepdown.dialects.text import verify
from stepdown.transforms.base import Pass
from stepdown.transforms.patterns.padding import fuse_pad_into_average, fuse_pad_into_conv, fuse_pad_into_max
from stepdown.transforms.rewrite import Rewriter

_PATTERNS = {
    "top.Conv": fuse_pad_into_conv,
    "top.AveragePool": fuse_pad_into_average,
    "top.MaxPool": fuse_pad_into_max,
}


@dataclass(frozen=True)
class FusePads(Pass):
    """Let convolutions and pools pad: Pads with zeros before them become padding of theirs."""

    def run(self, program: Program) -> None:
        """Rewrite a TOP program, with quantised types or without."""
        graph = Rewriter(program)
        for op in program.ops:
            if op.name in _PATTERNS:
                _PATTERNS[op.name](graph, op)
        graph.note_names()
        verify(program.module, program.path)
