"""canonicalize: the network in its simplest form."""

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache

from stepdown.dialects.program import Program
from stepdown.dialects.text import verify
from stepdown.transforms import patterns
from stepdown.transforms.base import Pass
from stepdown.transforms.rewrite import Rewriter


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Fold batch norms, scales and constants, fuse ReLUs and pads, drop ops that change nothing."""

    def run(self, program: Program) -> None:
        """Apply every pattern to a fixed point and verify the result."""
        load_patterns()
        Rewriter(program).run()
        verify(program.module, program.path)


@cache
def load_patterns() -> None:
    """Import every module of `patterns`: each registers its own."""
    for module in pkgutil.iter_modules(patterns.__path__):
        importlib.import_module(f"{patterns.__name__}.{module.name}")
