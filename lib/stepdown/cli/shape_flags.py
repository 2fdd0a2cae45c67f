"""The flags that fix the shapes of a model's inputs."""

import argparse
import re
from collections.abc import Mapping, Sequence

from stepdown.cli.preprocess_flags import MAX_SIZE, Shape, shapes
from stepdown.errors import InputError

Sizes = tuple[int | None, ...]
_NAMED = re.compile(r"(.+?):(\d+(?:x\d+)*)(?:,|$)")
_DIM = re.compile(r"(.+?)=(\d+)(?:,|$)")


def input_shapes(text: str) -> list[Shape] | dict[str, Shape]:
    """Parse shapes in the inputs' order, as `shapes` does, or by name, `x:1x3x224x224,mask:1x10`; an argparse type."""
    if ":" not in text:
        return shapes(text)
    found = {name: tuple(map(int, sizes.split("x"))) for name, sizes in _all(_NAMED, text)}
    if not found or not all(1 <= size <= MAX_SIZE for shape in found.values() for size in shape):
        raise argparse.ArgumentTypeError(f"'{text}' is not like x:1x3x224x224,mask:1x10")
    return found


def dims(text: str) -> dict[str, int]:
    """Parse `batch=1,sequence=128`; an argparse type."""
    found = {name: int(size) for name, size in _all(_DIM, text)}
    if not found or not all(1 <= size <= MAX_SIZE for size in found.values()):
        raise argparse.ArgumentTypeError(f"'{text}' is not like batch=1,sequence=128")
    return found


def refuse_dims(given: Mapping[str, int], where: str) -> None:
    """Raise InputError where sizes are given by name to a model of a format that does not name them."""
    if given:
        raise InputError("its sizes have no names", where, "give --input_shapes instead of --dims")


def _all(pattern: re.Pattern[str], text: str) -> list[tuple[str, str]]:
    """Return the parts of a text that is nothing but such parts, else nothing."""
    found = list(pattern.finditer(text))
    whole = "".join(part[0] for part in found) == text and not text.endswith(",")
    return [(part[1], part[2]) for part in found] if whole else []


def fixed_shapes(given: Sequence[Shape] | Mapping[str, Shape], stated: Mapping[str, Sizes]) -> dict[str, Sizes]:
    """Return the shape of every input: as the flag gives it, in order or by name, else as the model states it.

    Raises:
        InputError: there is another number of inputs, or none of that name.
    """
    listed = ", ".join(stated) or "none"
    if isinstance(given, Mapping):
        if unknown := [name for name in given if name not in stated]:
            raise InputError(f"there is no input '{unknown[0]}' (there are {listed})", "--input_shapes")
        return {**stated, **given}
    if given and len(given) != len(stated):
        raise InputError(f"{len(given)} shapes for the {len(stated)} inputs ({listed})", "--input_shapes")
    return dict(zip(stated, given or stated.values(), strict=True))
