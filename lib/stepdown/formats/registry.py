"""The registry of a format's import rules: the name of an operator → how it becomes TOP ops.

Rows of one-to-one operators are in tables; the rest are functions decorated with `@rule("Name", …)`, one module a
family, `*_rules.py` in the format's folder.
"""

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from xdsl.ir import SSAValue

from stepdown.errors import UnsupportedModel

Rule = Callable[[Any], SSAValue | Sequence[SSAValue]]
"""Takes the format's `Node`, returns the values of its outputs."""

R = TypeVar("R", bound=Rule)


class Registry:
    """The rules of the format whose package is `package`; what it calls an operator is `noun`."""

    def __init__(self, package: str, noun: str, fix: str) -> None:
        self._package, self._noun, self._fix = package, noun, fix
        self._loaded = False
        self.rules: dict[str, Rule] = {}
        """Every operator that we import."""
        self.reasons: dict[str, str] = {}
        """Why we refuse some operators whatever the model."""

    def rule(self, *names: str) -> Callable[[R], R]:
        """Register the import rule of some operators."""

        def register(function: R) -> R:
            self.rules.update(dict.fromkeys(names, function))
            return function

        return register

    def refuse(self, reason: str, *names: str) -> None:
        """Note why some operators are never imported."""
        self.reasons.update(dict.fromkeys(names, reason))

    def load(self) -> None:
        """Import every `*_rules` module of the format's folder: each registers the operators it knows."""
        if self._loaded:
            return
        for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
            if module.name.endswith("_rules"):
                importlib.import_module(f"{self._package}.{module.name}")
        self._loaded = True

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise UnsupportedModel naming **every** operator that has no import rule, with how often it occurs."""
        self.load()
        missing = Counter(name for name in names if name not in self.rules)
        if not missing:
            return
        listed = ", ".join(
            f"{name or 'no type'} ×{count}" + (f" ({self.reasons[name]})" if name in self.reasons else "")
            for name, count in sorted(missing.items())
        )
        raise UnsupportedModel(f"unsupported {self._noun}: {listed}", fix=self._fix)
