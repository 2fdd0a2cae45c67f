"""Which tensor of TARGET is compared with which of REFERENCE, and what becomes of all the others.

The rules, by which nothing is left out in silence:

1. A TARGET tensor is compared with the REFERENCE tensor of its name, else with the one that it is a view of (`X_f32`
   with `X`), else with one that is a view of it. Where there is none, it is missing, except where the metadata of
   TARGET says that it is internal: that the source model has no such tensor.
2. A network output that either file's metadata lists is missing where neither it nor a view of it was compared.
3. A REFERENCE tensor that TARGET lacks is missing, except where it is a view of a compared one, where the metadata of
   TARGET says that it was fused into one of its tensors, or where TARGET is a dump of network outputs only. A file is
   that where each of its tensors is a network output (by its own metadata, else by REFERENCE's) or a view of one.
4. `excepts` leaves out a tensor with its views; `only` leaves out all but the named ones with theirs.
"""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from stepdown.files.npz import NpzMetadata

# Finding the closest name is slow, and more hints than this nobody reads.
_MAX_HINTS = 8
_HINT_CUTOFF = 0.3


class Names:
    """The tensor names of a dump, in its order, with what its metadata says about them."""

    def __init__(self, tensors: Iterable[str], metadata: NpzMetadata | None = None) -> None:
        self.tensors = tuple(tensors)
        self.present = frozenset(self.tensors)
        self.metadata = metadata or NpzMetadata()
        self._base = {name: known.view_of for name, known in self.metadata.tensors.items() if known.view_of}
        self._view = {base: name for name, base in self._base.items() if name in self.present}
        known = self.metadata.tensors
        self.fused = {gone: name for name in self.tensors if name in known for gone in known[name].fused}
        """The tensors that were fused, each with the stored tensor that swallowed it."""

    def base(self, name: str) -> str:
        """Return the tensor that `name` is a view of, or `name`."""
        return self._base.get(name, name)

    def find(self, name: str, base: str) -> str:
        """Return the tensor to compare with a tensor `name` that is a view of `base`; empty where there is none."""
        candidates = (name, base, self._view.get(name, ""))
        return next((c for c in candidates if c in self.present), "")


@dataclass(frozen=True)
class Pair:
    """A tensor and the one to compare it with; a name is empty where a file lacks it, and `missing` says why."""

    target: str
    reference: str
    missing: str = ""

    @property
    def name(self) -> str:
        """The name that is printed."""
        return self.target or self.reference


@dataclass
class Pairing:
    """Every tensor of both files, each under exactly one heading."""

    pairs: list[Pair] = field(default_factory=list)
    internal: list[str] = field(default_factory=list)
    fused: dict[str, str] = field(default_factory=dict)
    views: list[str] = field(default_factory=list)
    not_dumped: list[str] = field(default_factory=list)
    excepted: list[str] = field(default_factory=list)
    not_asked: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def pair_names(target: Names, reference: Names, excepts: Collection[str] = (), only: Collection[str] = ()) -> Pairing:
    """Pair the tensors of two dumps by the rules of this module."""
    return _Matcher(target, reference, frozenset(excepts), frozenset(only)).pairing


class _Matcher:
    def __init__(self, target: Names, reference: Names, excepts: frozenset[str], only: frozenset[str]) -> None:
        self.target, self.reference = target, reference
        self.excepts, self.only = excepts, only
        self.outputs = tuple(dict.fromkeys(target.metadata.outputs + reference.metadata.outputs))
        self.output_bases = {self._base(name) for name in self.outputs}
        self.hints = _MAX_HINTS
        self.pairing = Pairing()
        self._pair_targets()
        self._place_references()
        self._demand_named()
        self._warn()

    def _base(self, name: str) -> str:
        """Return the tensor that `name` repeats, by either file's metadata."""
        base = self.target.base(name)
        return base if base != name else self.reference.base(name)

    def _left_out(self, name: str) -> bool:
        """File a tensor that the user left out under its heading."""
        names = {name, self._base(name)}
        if names & self.excepts:
            heading = self.pairing.excepted
        elif self.only and not names & self.only:
            heading = self.pairing.not_asked
        else:
            return False
        if name not in heading:
            heading.append(name)
        return True

    def _pair_targets(self) -> None:
        for name in self.target.tensors:
            if not self._left_out(name):
                found = self.reference.find(name, self.target.base(name))
                if not found and self._is_internal(name):
                    self.pairing.internal.append(name)
                else:
                    self.pairing.pairs.append(Pair(name, found, "" if found else self._why_not_in_reference(name)))

    def _is_internal(self, name: str) -> bool:
        """Tell whether a tensor that REFERENCE lacks need not be there."""
        base = self._base(name)
        known = self.target.metadata.tensors
        marked = any(one in known and known[one].internal for one in (name, base))
        return marked and base not in self.output_bases and not self.only

    def _place_references(self) -> None:
        """File every REFERENCE tensor that no TARGET tensor was paired with."""
        paired = {pair.reference for pair in self.pairing.pairs}
        compared = self._compared()
        partial = self._has_only_outputs()
        for name in self.reference.tensors:
            if name in paired or self._left_out(name):
                continue
            if self._base(name) in compared:
                self.pairing.views.append(name)
            elif self._base(name) in self.output_bases:
                self.pairing.pairs.append(Pair("", name, f"a network output that is not in TARGET{self._hint(name)}"))
            elif name in self.target.fused:
                self.pairing.fused[name] = self.target.fused[name]
            elif partial:
                self.pairing.not_dumped.append(name)
            else:
                why = f"not in TARGET, and none of its tensors says that it was fused{self._hint(name)}"
                self.pairing.pairs.append(Pair("", name, why))

    def _compared(self) -> set[str]:
        """Return the tensors that are compared, in whatever type, by the name that they are views of."""
        pairs = [pair for pair in self.pairing.pairs if not pair.missing]
        return {self._base(name) for pair in pairs for name in (pair.target, pair.reference)}

    def _has_only_outputs(self) -> bool:
        outputs = self.target.metadata.outputs or self.reference.metadata.outputs
        bases = {self._base(name) for name in outputs}
        return bool(bases) and all(self._base(name) in bases for name in self.target.tensors)

    def _demand_named(self) -> None:
        """Report what must be compared and is in neither file: network outputs, or what `only` names."""
        placed = {self._base(pair.name) for pair in self.pairing.pairs} | self._compared() | set(self.pairing.fused)
        for name in sorted(self.only) or self.outputs:
            names = {name, self._base(name)}
            if not names & (placed | self.excepts):
                what = "a network output that" if name in self.outputs else "it"
                self.pairing.pairs.append(Pair(name, "", f"{what} is in neither file"))

    def _warn(self) -> None:
        everything = self.target.present | self.reference.present
        known = everything | {self._base(name) for name in everything}
        for name in sorted(self.excepts - known):
            self.pairing.warnings.append(f"--excepts {name}: neither file has it")
        for name in self.outputs:
            if {name, self._base(name)} & self.excepts:
                self.pairing.warnings.append(f"--excepts {name}: a network output is left out")

    def _why_not_in_reference(self, name: str) -> str:
        if name in self.reference.fused:
            return f"not in REFERENCE, which fused it into '{self.reference.fused[name]}'; are the two files swapped?"
        return f"not in REFERENCE{self._hint(name, self.reference)}"

    def _hint(self, name: str, names: Names | None = None) -> str:
        """Return the closest name in `names` (TARGET's by default), for the first few missing tensors."""
        self.hints -= 1
        tensors = (names or self.target).tensors if self.hints >= 0 else ()
        found = difflib.get_close_matches(name, tensors, 1, _HINT_CUTOFF)
        return f"; the closest name there is '{found[0]}'" if found else ""
