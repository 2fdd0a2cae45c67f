"""The TOP dialect: what a network means, in float. One module an op family; each op is said once."""

from xdsl.ir import Dialect

from stepdown.dialects.top import activation, arithmetic, mac, source  # noqa: F401  (they register their ops)
from stepdown.dialects.top.base import TOP_OPS, TopOp

TOP = Dialect("top", list(TOP_OPS.values()))

__all__ = ["TOP", "TOP_OPS", "TopOp"]
