"""Where tensors come from: the network's inputs, its weights, and the absent operand."""

from typing import Any, Self

from xdsl.ir import Attribute, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.fields import Bool, Float, Floats, Ints, Str
from stepdown.dialects.op import Arrays, Kind, location
from stepdown.dialects.top.base import TopOp, top_op
from stepdown.dialects.types import NONE, Shape


@top_op
class Input(TopOp):
    """A network input. Its attributes say how an image becomes this tensor (see `stepdown.data.preprocess`)."""

    kind = Kind.SOURCE
    preprocess = Bool(False)
    resize_dims = Ints(())
    resize_method = Str("bilinear")
    keep_aspect_ratio = Bool(False)
    keep_ratio_mode = Str("letterbox")
    pad_value = Float(0.0)
    pad_type = Str("center")
    mean = Floats(())
    scale = Floats(())
    pixel_format = Str("rgb")
    channel_format = Str("nchw")

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the function argument."""
        return [input]

    def compute(self, input: Any) -> Arrays:
        """Return the argument."""
        return [input]


@top_op
class Weight(TopOp):
    """A constant stored under `key` in the module's weight file."""

    kind = Kind.SOURCE
    inputs = ()
    key = Str()

    @classmethod
    def of(cls, key: str, type: Attribute) -> Self:
        """Make the op that reads the weight `key`."""
        attributes = {"key": cls.fields["key"].encode(key)}
        return cls.create(result_types=[type], attributes=attributes, location=location([key]))

    def infer(self) -> list[Attribute]:
        """Return the type the op was made with: nothing but the file says it."""
        if len(self.results) != 1:
            raise VerifyException("a weight has one result")
        return [self.results[0].type]


@top_op
class Absent(TopOp):
    """An absent optional operand."""

    kind = Kind.SOURCE
    inputs = ()

    @classmethod
    def make(cls) -> Self:
        """Make the op."""
        return cls.create(result_types=[NONE])

    def verify_(self) -> None:
        """Check that there is nothing in it."""
        if self.operands or [r.type for r in self.results] != [NONE]:
            raise VerifyException("top.None has one result of type none and no operands")


Absent.name = "top.None"


def weight_key(value: SSAValue) -> str | None:
    """Return the weight-file key of a value, None where it is not a weight."""
    return value.owner.key if isinstance(value.owner, Weight) else None
