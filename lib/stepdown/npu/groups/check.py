"""Whether ops can be a group, as their notes say."""

from stepdown.errors import InputError
from stepdown.npu.groups.layers import Group

_SIZES = 3


def check_group(group: Group, path: str) -> None:
    """Check that the ops of a group can be one.

    Raises:
        InputError: they cannot, as after a change of the network; says why.
    """
    tiles = {tuple(layer.op.note("layer_tile") or ()) for layer in group.layers}
    found = group.problem() or ("" if len(tiles) == 1 else "its ops are cut in different ways")
    noted = tiles.pop()
    if not found and noted and (len(noted) != _SIZES or min(noted) < 1):
        found = f"is cut into {list(noted)} parts"
    if found:
        number = group.layers[0].op.note("layer_group")
        raise InputError(f"group {number}: {found}", path, "run --layer-group again")
