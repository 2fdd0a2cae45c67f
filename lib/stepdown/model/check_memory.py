"""What must hold of the memory map: everything lies inside a memory, and nothing lies on a weight."""

from collections.abc import Iterator, Mapping

from stepdown.model.arrays import MAX_RANK
from stepdown.model.schema import GLOBAL, NPU, Region, Stage, Tensor


def memory_problems(stage: Stage, section_bytes: Mapping[str, int]) -> Iterator[str]:
    """Yield what is wrong with the addresses of a stage; `section_bytes` has the size of every section."""
    yield from (f"memory '{name}' has {size} bytes" for name, size in stage.memory_bytes.items() if size < 0)
    tensors = {tensor.name: tensor for tensor in stage.tensors}
    known = {"", *tensors, *(weight.name for weight in stage.weights)}
    for region in stage.memory:
        where = f"the region of '{region.name}' at {region.address} in '{region.memory}'"
        if region.name not in known:
            yield f"{where} belongs to nothing"
        yield from (f"{where} {problem}" for problem in _region_problems(region, stage))
        if region.name in tensors:
            yield from (f"{where} {problem}" for problem in _tile_problems(region, tensors[region.name]))
    yield from _weight_problems(stage, section_bytes)
    yield from _boundary_problems(stage)


def _region_problems(region: Region, stage: Stage) -> Iterator[str]:
    size = stage.memory_bytes.get(region.memory)
    if size is None:
        yield "lies in a memory without a size"
    elif region.address < 0 or region.bytes < 0 or region.address + region.bytes > size:
        yield f"has {region.bytes} bytes, and the memory ends at {size}"
    last = len(stage.steps) - 1 if stage.steps else region.last
    if not 0 <= region.first <= region.ready <= region.last <= last:
        yield f"is in use in the steps {region.first}, {region.ready}, {region.last} of {last + 1}"


def _tile_problems(region: Region, tensor: Tensor) -> Iterator[str]:
    """Yield what is wrong with the part of a tensor that a region has."""
    rank = len(tensor.shape)
    if len(region.origin) != len(region.shape) or len(region.shape) not in (0, rank):
        yield f"has a part of {len(region.shape)} dimensions of a tensor of {rank}"
        return
    if region.strides and len(region.strides) != rank:
        yield f"has {len(region.strides)} strides for {rank} dimensions"
    if any(
        start < 0 or size < 0 or start + size > whole
        for start, size, whole in zip(region.origin, region.shape, tensor.shape, strict=False)
    ):
        yield f"has the part {region.origin[:MAX_RANK]}, {region.shape[:MAX_RANK]} of {tensor.shape}"


def _weight_problems(stage: Stage, section_bytes: Mapping[str, int]) -> Iterator[str]:
    """Yield weights outside global memory, and whatever else lies where a weight does."""
    weights, size = [], stage.memory_bytes.get(GLOBAL, 0)
    for weight in stage.weights:
        if weight.address is None:
            yield f"weight '{weight.name}' has no address"
            return
        end = weight.address + section_bytes[weight.section]
        if weight.address < 0 or end > size:
            yield f"weight '{weight.name}' ends at {end}, and global memory at {size}"
        weights.append((weight.address, end, weight.name, weight.section))
    regions = [region for region in stage.memory if region.memory == GLOBAL]
    others = [(region.address, region.address + region.bytes, region.name, "") for region in regions]
    yield from _overlaps(weights, others)


_Span = tuple[int, int, str, str]


def _overlaps(weights: list[_Span], others: list[_Span]) -> Iterator[str]:
    """Yield what lies on a weight: another weight that is not the same bytes at the same place, or a region."""
    end, owner = 0, ("", "", -1)
    free_end, free_name = 0, ""
    for start, stop, name, section in sorted(span for span in (*weights, *others) if span[0] < span[1]):
        if start < end and (section, start) != owner[1:]:
            yield f"'{name}' and weight '{owner[0]}' lie at the same address {start}"
        if section and start < free_end:
            yield f"'{free_name}' and weight '{name}' lie at the same address {start}"
        if section and stop > end:
            end, owner = stop, (name, section, start)
        if not section and stop > free_end:
            free_end, free_name = stop, name


def _boundary_problems(stage: Stage) -> Iterator[str]:
    """Yield the tensors that go into or come out of commands and have no place in global memory."""
    placed = {region.name for region in stage.memory if region.memory == GLOBAL and not region.shape}
    for subnet in stage.subnets:
        for name in (*subnet.inputs, *subnet.outputs) if subnet.kind == NPU else ():
            if name not in placed:
                yield f"'{name}', which a subnet of commands reads or makes, has no place in global memory"
