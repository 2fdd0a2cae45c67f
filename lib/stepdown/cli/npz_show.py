"""The showing commands of npz_tool.py: dump, statistic, check_nan_inf, get_shape."""

import argparse
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np

from stepdown.cli.npz_columns import aligned, count_of, counted, split_names
from stepdown.compare.decode import PLAIN, real_values, storage_text
from stepdown.compare.judge import non_finite_text
from stepdown.compare.statistics import Statistics, channel_statistics, statistics
from stepdown.compare.top import top_indices
from stepdown.errors import InputError
from stepdown.files.npz import NpzFile, TensorInfo, closest

_IMAGE_CHANNELS = 3
_SHOWN = 6


def dump(args: argparse.Namespace) -> int:
    """List the tensors of a file, or show one."""
    with closing(NpzFile(args.file)) as file:
        meanings = _meanings(file)
        if args.name is None:
            return _list(file, meanings, args.json)
        if args.name not in file:
            raise InputError(f"has no tensor '{args.name}'", file.path, _closest_view(args.name, file, meanings))
        stored, meaning = file[args.name], meanings.get(args.name)
    real = _numbers(real_values(stored, meaning or PLAIN, f"{args.file}: tensor '{args.name}'"), args.file, args.name)
    top = top_indices(real, count_of(args.top, "K")) if args.top is not None else None
    if args.json:
        return _print_json(_as_json(args.name, stored, real, meaning, top))
    if top is None:
        _print_values(stored, real, args.all)
    print(f"shape {stored.shape}")
    print(f"dtype {stored.dtype}")
    if storage_text(meaning):
        print(f"storage {storage_text(meaning)}")
    _print_top(top, stored, real) if top is not None else _print_statistics(real)
    return 0


def statistic(args: argparse.Namespace) -> int:
    """Print statistics of tensors, or of each index along an axis of them."""
    found: dict[str, Statistics] = {}
    with closing(NpzFile(args.file)) as file:
        meanings = _meanings(file)
        for name in split_names(args.names, file) or file:
            real = real_values(file[name], meanings.get(name, PLAIN), f"{file.path}: tensor '{name}'")
            if args.names or real.dtype.kind in "biuf":
                found |= _rows(name, _numbers(real, file.path, name), args.axis, file.path)
    if args.json:
        return _print_json({name: _statistics_json(s) for name, s in found.items()})
    columns: dict[str, Callable[[Statistics], Any]] = {
        "min": lambda s: s.minimum, "max": lambda s: s.maximum, "mean": lambda s: s.mean, "std": lambda s: s.std,
        "var": lambda s: s.variance, "abs_mean": lambda s: s.abs_mean, "range": lambda s: s.span,
        "zeros": lambda s: s.zeros, "NaN": lambda s: s.nan, "inf": lambda s: s.inf, "count": lambda s: s.count,
    }  # fmt: skip
    rows = [[name, *(_number(of(s)) for of in columns.values())] for name, s in found.items()]
    print("\n".join(aligned([["name", *columns], *rows], right=range(1, len(columns) + 1))))
    return 0


def check_nan_inf(args: argparse.Namespace) -> int:
    """Report the tensors that hold NaN or infinities; 1 where there are any."""
    found = {}
    with closing(NpzFile(args.file)) as file:
        meanings = _meanings(file)
        for name in file:
            real = real_values(file[name], meanings.get(name, PLAIN), f"{file.path}: tensor '{name}'")
            text = non_finite_text(real)
            if text:
                index = np.unravel_index(int(np.argmin(np.isfinite(real))), real.shape)
                found[name] = f"{text} of {real.size}, first at {tuple(map(int, index))}"
        count = len(file)
    if args.json:
        _print_json({"passed": not found, "checked": count, "not_finite": found})
        return 1 if found else 0
    for name, text in found.items():
        print(f"{name}: {text}")
    print(f"{counted(count, 'tensor')} checked, {len(found)} with NaN or infinities")
    print(f"check_nan_inf {'FAILED' if found else 'PASSED'}.")
    return 1 if found else 0


def get_shape(args: argparse.Namespace) -> int:
    """Print the shape of a tensor as `[1,3,224,224]`."""
    with closing(NpzFile(args.file)) as file:
        (name,) = split_names([args.name], file)
        print(f"[{','.join(map(str, file.header(name)[0]))}]")
    return 0


def _meanings(file: NpzFile) -> dict[str, TensorInfo]:
    return file.metadata.tensors if file.metadata else {}


def _list(file: NpzFile, meanings: dict[str, TensorInfo], as_json: bool) -> int:
    headers = {name: file.header(name) for name in file}
    if as_json:
        return _print_json(
            {
                name: {
                    "shape": shape,
                    "dtype": str(dtype),
                    "storage": asdict(meanings[name]) if name in meanings else None,
                }
                for name, (shape, dtype) in headers.items()
            }
        )
    rows = [
        [name, str(shape), str(dtype), storage_text(meanings.get(name))] for name, (shape, dtype) in headers.items()
    ]
    print("\n".join(aligned(rows)) if rows else f"{file.path} holds no tensor")
    return 0


def _closest_view(name: str, file: NpzFile, meanings: dict[str, TensorInfo]) -> str:
    """Return the hint at the tensor that the absent `name` is another type of, else at the closest name."""
    views = [view for view, meaning in meanings.items() if meaning.view_of == name and view in file]
    views += [view for view in (f"{name}_f32", name.removesuffix("_f32")) if view in file]
    if not views:
        return closest(name, file)
    storage = storage_text(meanings.get(views[0])) or str(file.header(views[0])[1])
    return f"the same values are there as '{views[0]}' ({storage}): dump {views[0]}"


def _numbers(real: np.ndarray, path: str, name: str) -> np.ndarray:
    if real.dtype.kind not in "biuf":
        raise InputError(
            f"tensor '{name}' holds {real.dtype}, not real numbers", path, "dump the file to see its types"
        )
    return real


def _print_values(stored: np.ndarray, real: np.ndarray, everything: bool) -> None:
    with np.printoptions(precision=9, threshold=stored.size + 1 if everything else 1000, linewidth=120):
        if real is not stored:
            print(f"stored\n{stored}\nreal")
        print(real)


def _print_top(top: list[int], stored: np.ndarray, real: np.ndarray) -> None:
    print(f"Show Top-K {len(top)}")
    for index in top:
        both = "" if real is stored else f" stored {stored.flat[index]!s}"
        print(f"({index}, {real.flat[index]!s}){both}")


def _print_statistics(real: np.ndarray) -> None:
    """Print the statistics: of each channel for a picture x[N, 3, H, W], else of the whole tensor."""
    channels = real.ndim == 4 and real.shape[1] == _IMAGE_CHANNELS
    parts = channel_statistics(real, 1) if channels else [statistics(real)]
    lines = {
        "max": [p.maximum for p in parts], "min": [p.minimum for p in parts], "mean": [p.mean for p in parts],
        "abs mean fp32": [p.abs_mean for p in parts], "std fp32": [p.std for p in parts],
    }  # fmt: skip
    if any(p.mean is None for p in parts):
        print("no finite element" if real.size else "no element")
    else:
        for what, values in lines.items():
            print(f"{what} {_channels(values) if channels else _number(values[0])}")
    if non_finite_text(real):
        print(f"not finite {non_finite_text(real)}")


def _channels(values: list[Any]) -> str:
    return np.array2string(np.asarray(values), precision=_SHOWN, floatmode="maxprec", max_line_width=120)


def _number(value: Any) -> str:
    """Return a stored element in full, a computed one with nine digits."""
    if value is None:
        return "-"
    return f"{value:.9g}" if type(value) is float else str(value)


def _rows(name: str, real: np.ndarray, axis: int | None, path: str) -> dict[str, Statistics]:
    if axis is None:
        return {name: statistics(real)}
    if not -real.ndim <= axis < real.ndim:
        raise InputError(f"tensor '{name}' of shape {real.shape} has no axis {axis}", path, "give another --axis")
    return {f"{name}[{i}]": s for i, s in enumerate(channel_statistics(real, axis))}


def _as_json(
    name: str, stored: np.ndarray, real: np.ndarray, meaning: TensorInfo | None, top: list[int] | None
) -> dict[str, Any]:
    result: dict[str, Any] = {"name": name, "shape": stored.shape, "dtype": str(stored.dtype)}
    result["storage"] = asdict(meaning) if meaning else None
    if top is None:
        return result | _statistics_json(statistics(real))
    return result | {"top": [{"index": i, "value": real.flat[i].item(), "stored": stored.flat[i].item()} for i in top]}


def _statistics_json(s: Statistics) -> dict[str, Any]:
    extremes = {key: None if value is None else value.item() for key, value in (("min", s.minimum), ("max", s.maximum))}
    computed = {"mean": s.mean, "std": s.std, "var": s.variance, "abs_mean": s.abs_mean, "range": s.span}
    return {**extremes, **computed, "zeros": s.zeros, "nan": s.nan, "inf": s.inf, "count": s.count}


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=1, ensure_ascii=False))
    return 0
