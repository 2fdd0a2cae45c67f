"""The editing commands of npz_tool.py: extract, remove, insert, merge, rename, reshape, permute.

A file changed in place is replaced by its successor in one step, so it is never lost or half written.
"""

import argparse
import math
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import numpy as np

from stepdown.cli.npz_columns import counted, integers, split_names
from stepdown.cli.npz_draft import Draft
from stepdown.errors import InputError
from stepdown.files.npz import NpzFile, TensorInfo, closest


def extract(args: argparse.Namespace) -> int:
    """Write the named tensors of a file to another."""
    with closing(NpzFile(args.file)) as file:
        draft = Draft.of(file)
        draft.keep(split_names(args.names, file))
        draft.write(args.out)
    return _done(args.out, f"{counted(len(draft.readers), 'tensor')} extracted")


def remove(args: argparse.Namespace) -> int:
    """Remove tensors from a file."""
    with _changed(args) as (file, draft):
        gone = split_names(args.names, file)
        draft.keep([name for name in file if name not in gone])
    return _done(args.output or args.file, f"{counted(len(gone), 'tensor')} removed, {len(draft.readers)} left")


def insert(args: argparse.Namespace) -> int:
    """Insert all tensors of one file into another."""
    with closing(NpzFile(args.source)) as source, _changed(args) as (_, draft):
        again = draft.add(Draft.of(source), args.overwrite, args.source)
        count = len(source) - again
    return _done(args.output or args.file, f"{counted(count, 'tensor')} inserted, {again} there already")


def merge(args: argparse.Namespace) -> int:
    """Merge files into one."""
    with ExitStack() as stack:
        files = [stack.enter_context(closing(NpzFile(path))) for path in args.files]
        draft = Draft.of(files[0])
        for file in files[1:]:
            draft.add(Draft.of(file), args.overwrite, file.path)
        draft.write(args.out)
    return _done(args.out, f"{counted(len(draft.readers), 'tensor')} from {counted(len(files), 'file')}")


def rename(args: argparse.Namespace) -> int:
    """Rename a tensor."""
    with _changed(args) as (file, draft):
        _demand(file, args.name)
        if args.new in file or not args.new:
            raise InputError(
                f"cannot take the name '{args.new}'", file.path, "use a new name, or remove that tensor first"
            )
        draft.rename(args.name, args.new)
    return _done(args.output or args.file, f"'{args.name}' is now '{args.new}'")


def reshape(args: argparse.Namespace) -> int:
    """Change the shape of a tensor."""
    with _changed(args) as (file, draft):
        old = _demand(file, args.name)
        new = _complete(integers(args.shape, "shape"), old, f"{file.path}: tensor '{args.name}'")
        _change_shape(draft, args.name, old, new, file.path)
    return _done(args.output or args.file, f"'{args.name}' {old} is now {new}")


def permute(args: argparse.Namespace) -> int:
    """Permute the axes of a tensor."""
    with _changed(args) as (file, draft):
        old = _demand(file, args.name)
        order = integers(args.order, "order")
        if sorted(order) != list(range(len(old))):
            axes = ",".join(map(str, range(len(old))))
            raise InputError(f"order {args.order} does not name each axis of {old} once", file.path, f"permute {axes}")
        read, meaning = draft.readers[args.name], draft.meanings.get(args.name)
        draft.put(args.name, lambda: np.transpose(read(), order), _permuted(meaning, order))
    return _done(args.output or args.file, f"'{args.name}' {old} is now {tuple(old[i] for i in order)}")


@contextmanager
def _changed(args: argparse.Namespace) -> Iterator[tuple[NpzFile, Draft]]:
    """Open `args.file` as a draft and write it, to `args.output` or in place, when the block ends without an error."""
    with closing(NpzFile(args.file)) as file:
        draft = Draft.of(file)
        yield file, draft
        draft.write(args.output or args.file)


def _demand(file: NpzFile, name: str) -> tuple[int, ...]:
    """Return the shape of a tensor that must exist."""
    if name not in file:
        raise InputError(f"has no tensor '{name}'", file.path, closest(name, file))
    return file.header(name)[0]


def _complete(shape: tuple[int, ...], old: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Replace a −1 in `shape` by what remains; raise InputError where the number of elements would change."""
    count, known = math.prod(old), math.prod(size for size in shape if size != -1)
    if shape.count(-1) == 1 and known and count % known == 0:
        shape = tuple(count // known if size == -1 else size for size in shape)
    if min(shape, default=1) < 0 or math.prod(shape) != count:
        raise InputError(
            f"shape {old} with {count} elements cannot become {shape}", where, "keep the number of elements"
        )
    return shape


def _change_shape(draft: Draft, name: str, old: tuple[int, ...], new: tuple[int, ...], where: str) -> None:
    read, meaning = draft.readers[name], draft.meanings.get(name)
    if meaning:
        meaning = replace(meaning, layout="", axis=_moved_axis(meaning, old, new, where, name))
    draft.put(name, lambda: read().reshape(new), meaning)


def _moved_axis(meaning: TensorInfo, old: tuple[int, ...], new: tuple[int, ...], where: str, name: str) -> int | None:
    """Return where the axis of the scales lies after a reshape that keeps it whole."""
    if meaning.axis is None or not old:
        return None
    axis = meaning.axis % len(old)
    before = math.prod(old[:axis])
    for i, size in enumerate(new):
        if size == old[axis] and math.prod(new[:i]) == before:
            return i
    raise InputError(
        f"tensor '{name}' has scales along axis {axis}, which shape {new} breaks up", where, "keep that axis"
    )


def _permuted(meaning: TensorInfo | None, order: tuple[int, ...]) -> TensorInfo | None:
    if meaning is None:
        return None
    axis = None if meaning.axis is None else order.index(meaning.axis % len(order))
    layout = "".join(meaning.layout[i] for i in order) if len(meaning.layout) == len(order) else ""
    return replace(meaning, axis=axis, layout=layout)


def _done(path: str, what: str) -> int:
    print(f"{what}; wrote {path}")
    return 0
