"""What a tensor of a program means, as dumps and model files say it."""

from dataclasses import replace

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, fused_of, internal_of, layout_of
from stepdown.dialects.types import quant_of, shape_of, storage_of
from stepdown.files.npz import TensorInfo

_CHANNELS_FIRST = {3: "NCW", 4: "NCHW", 5: "NCDHW"}
"""By rank, the letters of the dimensions of a tensor that is stored channels first."""


def layout_name(order: tuple[int, ...]) -> str:
    """Return `NHWC` for the order (0, 2, 3, 1) that brings a tensor from channels first to last, '' for any other."""
    stored = _CHANNELS_FIRST.get(len(order), "")
    return "".join(stored[i] for i in order) if stored and order == (0, *range(2, len(order)), 1) else ""


def tensor_info(value: SSAValue) -> TensorInfo:
    """Return what a tensor of a program holds once it is dumped, in the source model's layout."""
    op, params = value.owner, quant_of(value)
    assert isinstance(op, TensorOp)
    named = TensorInfo(
        storage_of(value), fused=tuple(fused_of(op)), view_of=_view_of(value), internal=internal_of(value),
        layout=layout_name(layout_of(value)),
    )  # fmt: skip
    if params is None:
        return named
    if params.axis is None:
        return replace(named, scale=params.scale, zero_point=params.zero_point)  # type: ignore[arg-type]
    axis = (layout_of(value) or range(len(shape_of(value)))).index(params.axis)
    return replace(named, scale=list(params.scale), zero_point=params.zero_point, axis=axis)  # type: ignore[arg-type]


def _view_of(value: SSAValue) -> str:
    if not isinstance(value.owner, TensorOp) or not value.owner.name.startswith("tpu."):
        return ""
    from stepdown.dialects.tpu import view_of

    return view_of(value)
