"""The TOP dialect: what a network means, in float. One module an op family; each op is said once."""

import importlib
import pkgutil

from xdsl.ir import Dialect

from stepdown.dialects.top.base import TOP_OPS, TopOp

for _family in pkgutil.iter_modules(__path__):  # each registers its ops
    importlib.import_module(f"{__name__}.{_family.name}")

TOP = Dialect("top", list(TOP_OPS.values()))

__all__ = ["TOP", "TOP_OPS", "TopOp"]
