"""Sections while a model file is made: equal ones are kept once."""

import hashlib
from collections.abc import Iterator, Mapping

from stepdown.files.names import free_name
from stepdown.model.container import Content


class SectionStore(Mapping[str, Content]):
    """Sections by name, to which others are added."""

    def __init__(self) -> None:
        self._held: dict[str, Content] = {}
        self._names: dict[tuple[str, bytes], str] = {}

    def put(self, wanted: str, content: Content) -> str:
        """Keep `content` and return its name: that of an equal section of the same kind, else `wanted`, or numbered.

        The kind is what stands before the slash of a name: `weight` in `weight/conv1`.
        """
        key = wanted.partition("/")[0], hashlib.sha256(content).digest()
        if key not in self._names:
            self._names[key] = free_name(wanted, self._held)
            self._held[self._names[key]] = content
        return self._names[key]

    def __getitem__(self, name: str) -> Content:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
