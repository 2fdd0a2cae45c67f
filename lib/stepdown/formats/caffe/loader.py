"""Reading Caffe's two files: the description of a net (prototxt, text) and its trained weights (caffemodel)."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.errors import InputError, UnsupportedModel
from stepdown.formats.caffe.schema import blobs_class, net_class

MAX_TEXT_BYTES = 64 << 20
_MAX_REASON = 200
_PLACE = "give the file that Caffe trains or deploys with"
# The names that string types got where they are not those of the old enum in another spelling.
_MODERN_TYPES = {
    "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "BNLL": "BNLL", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN", "MVN": "MVN", "RELU": "ReLU", "SOFTMAX_LOSS": "SoftmaxWithLoss", "TANH": "TanH",
}  # fmt: skip
_LEGACY_DIMS = ("num", "channels", "height", "width")


@dataclass(frozen=True)
class Blob:
    """One array of a layer; its values stay as they lie in the file until asked for."""

    message: Any
    layer: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes that the file states; older files always state four."""
        if self.message.HasField("shape"):
            return tuple(self.message.shape.dim)
        return tuple(getattr(self.message, name) for name in _LEGACY_DIMS)

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the values as float32 in `shape`, from which the stated one differs by leading ones at most.

        Raises:
            InputError: the file states another shape, or does not hold as many values.
        """
        if _without_leading_ones(self.shape) != _without_leading_ones(shape):
            raise InputError(f"has the shape {_text(self.shape)}, the layer wants {_text(shape)}", self.layer)
        kind = np.dtype("<f8" if self.message.double_data else "<f4")
        chunks = self.message.double_data or self.message.data
        held = sum(map(len, chunks))
        if held != math.prod(shape) * kind.itemsize:
            raise InputError(f"holds {held // kind.itemsize} values, its shape is {_text(shape)}", self.layer)
        with np.errstate(over="ignore"):
            return np.frombuffer(b"".join(chunks), kind).astype(np.float32).reshape(shape)


Blobs = Mapping[str, list[Blob]]


def load_net(path: str | os.PathLike[str]) -> Any:
    """Read a prototxt; layers in the format of 2014 (`layers`, types in capitals) become those of today.

    Raises:
        InputError: no such file, or not the text of a net; the line is told.
        UnsupportedModel: it is in the format of 2013.
    """
    from google.protobuf import text_format

    text = _text_of(Path(path))
    try:
        net = text_format.Parse(text, net_class()(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise InputError(_reason(error), f"{path}:{error.GetLine() or 1}") from None
    except RecursionError:
        raise InputError("braces are nested too deeply for the description of a net", str(path)) from None
    except ValueError as error:
        raise InputError(f"not the text of a Caffe net ({error})", str(path)) from None
    _upgrade(net, str(path))
    if not net.layer:
        raise InputError("describes no layers", str(path), _PLACE)
    return net


def load_blobs(path: str | os.PathLike[str]) -> Blobs:
    """Read the blobs of a caffemodel, by layer name.

    Raises:
        InputError: no such file, not a caffemodel, truncated, or two layers with blobs share a name.
    """
    raw = _existing(Path(path)).read_bytes()
    try:
        net = blobs_class().FromString(raw)
    except Exception:  # protobuf raises its own
        raise InputError("not a caffemodel, or truncated", str(path)) from None
    found = [(name, blobs) for name, blobs in _layers(net) if blobs]
    if not found:
        raise InputError("not a caffemodel: it holds no layers with weights", str(path))
    if twice := [name for name, count in Counter(name for name, _ in found).items() if count > 1]:
        raise InputError(f"has the weights of two layers '{twice[0]}'", str(path))
    return {
        name: [Blob(blob, f"{path}: layer '{name}': blob {i}") for i, blob in enumerate(blobs)] for name, blobs in found
    }


def _layers(net: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and blobs of the layers in all three formats."""
    for layer in net.layer:
        yield layer.name, layer.blobs
    for layer in net.layers:
        inner = layer.layer if layer.HasField("layer") else layer
        yield inner.name, inner.blobs


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError("is a directory" if path.is_dir() else "no such file", str(path))
    return path


def _text_of(path: Path) -> str:
    if _existing(path).stat().st_size > MAX_TEXT_BYTES:
        raise InputError(f"is larger than {MAX_TEXT_BYTES >> 20} MiB: not the description of a net", str(path), _PLACE)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("is not text: not the description of a net", str(path), _PLACE) from None


def _reason(error: Exception) -> str:
    """Return what the parser says, on one line: without the place, the line it quotes and our names for messages."""
    text = " ".join(str(error).split()).replace("stepdown.netparameter.", "")
    said = re.sub(r"^\d+:\d+ : ('.*': )?", "", text)
    return f"not the text of a Caffe net: {said[:_MAX_REASON]}"


def _upgrade(net: Any, path: str) -> None:
    """Turn `layers` into `layer`."""
    if net.layers and net.layer:
        raise InputError("has both `layer` and `layers`", path, "use one of them")
    for old in net.layers:
        if old.HasField("layer"):
            raise UnsupportedModel(
                "is in Caffe's format of 2013 (V0)", path, "convert it with Caffe's upgrade_net_proto_text"
            )
        _upgrade_layer(old, net.layer.add())


def _upgrade_layer(old: Any, new: Any) -> None:
    fields = [field for field, _ in old.ListFields() if field.name not in ("type", "layer")]
    for field in fields:
        value = getattr(old, field.name)
        if field.is_repeated:
            getattr(new, field.name).MergeFrom(value)
        elif field.message_type:
            getattr(new, field.name).CopyFrom(value)
        else:
            setattr(new, field.name, value)
    label = old.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number[old.type].name
    new.type = _MODERN_TYPES.get(label, label.title().replace("_", ""))


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one value"
