"""Places of a network's tensors in the global memory of a chip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import SSAValue

from stepdown.chips import Chip
from stepdown.dialects.program import Program
from stepdown.errors import InputError, ResourceError, StepError
from stepdown.npu.addresses.allocate import Plan, allocate
from stepdown.npu.addresses.exact import Limits
from stepdown.npu.addresses.interval import place_problem, taken
from stepdown.npu.addresses.live import Tenant, tenants

GLOBAL_BYTES = "module.global_bytes"
NOWHERE = -1
"""The address of a value that never lies in global memory."""


@dataclass(frozen=True)
class Assignment:
    """Addresses of the values that lie in global memory, how many bytes these take, and how good that is."""

    addresses: Mapping[SSAValue, int]
    bytes: int
    plan: Plan | None = None

    def __str__(self) -> str:
        """Return the line that is printed of it."""
        assert self.plan is not None
        bound, count = self.plan.live_set, len(self.plan.addresses)
        gap = 100 * (self.bytes - bound) / bound if bound else 0.0
        told = (
            f"global memory: {self.bytes:,} bytes in {count} tensors, live-set lower bound {bound:,}, gap {gap:.1f} %"
        )
        if self.bytes == bound:
            return told
        if self.plan.is_optimal:
            return f"{told} (optimal: proved by the solver)"
        left = 100 * (self.bytes - self.plan.proved) / self.plan.proved
        return f"{told} (proved gap {left:.1f} %: nothing takes less than {self.plan.proved:,})"


def assign(program: Program, chip: Chip, limits: Limits | None = None) -> Assignment:
    """Return places for all values of a program that lie in global memory.

    Raises:
        InputError: the ops of a layer group or of a subnet do not follow each other.
        ResourceError: they take more memory than the chip has.
    """
    found = tenants(program)
    plan = allocate([each.interval for each in found], chip.alignment_bytes, limits)
    addresses = {v: at for each, at in zip(found, plan.addresses, strict=True) for v in each.values}
    check(found, addresses, chip, program.path)
    return Assignment(addresses, plan.bytes, plan)


def check(found: Sequence[Tenant], addresses: Mapping[SSAValue, int], chip: Chip, path: str) -> int:
    """Check the places of values: each has one, aligned, and no two in use together have a common byte.

    Returns the bytes that they take.

    Raises:
        StepError: they do not; a bug of whoever chose them.
        ResourceError: they take more memory than the chip has.
    """
    for each in found:
        if len({addresses.get(value, NOWHERE) for value in each.values}) > 1:
            raise StepError(f"{each.names} are one tensor under several shapes, and lie in several places", path)
    intervals = [each.interval for each in found]
    places = [addresses.get(each.values[0], NOWHERE) for each in found]
    if problem := place_problem(intervals, places, chip.alignment_bytes):
        raise StepError(problem.told([each.names for each in found]), path)
    if (size := taken(intervals, places, chip.alignment_bytes)) > chip.global_memory_bytes:
        what = f"its tensors take {size} bytes of global memory, and chip {chip.name} has {chip.global_memory_bytes}"
        raise ResourceError(what, path)
    return size


def write(program: Program, made: Assignment) -> None:
    """Note the addresses on the ops of a program, and how much memory they take."""
    for op in program.ops:
        if not op.name.endswith((".Weight", ".None")):
            op.set_note("address", [made.addresses.get(value, NOWHERE) for value in op.results])
    program.module.attributes[GLOBAL_BYTES] = IntegerAttr(made.bytes, i64)


def noted(program: Program, chip: Chip) -> Assignment | None:
    """Return the places that are noted on a program, None where there are none.

    Raises:
        InputError: they are not all there, or two that are in use together overlap.
        ResourceError: they take more memory than the chip has.
    """
    attribute = program.module.attributes.get(GLOBAL_BYTES)
    if attribute is None:
        return None
    found = tenants(program)
    notes: dict[SSAValue, int] = {
        v: at for op in program.ops for v, at in zip(op.results, op.note("address") or (), strict=False)
    }
    addresses = {value: notes.get(value, NOWHERE) for each in found for value in each.values}
    try:
        size = check(found, addresses, chip, program.path)
        if not isinstance(attribute, IntegerAttr) or attribute.value.data < size:
            raise StepError(f"{GLOBAL_BYTES} is {attribute}, and its tensors take {size} bytes", program.path)
    except ResourceError:
        raise
    except StepError as error:
        raise InputError(error.what, error.where, "run --address-assign on it again") from None
    return Assignment(addresses, attribute.value.data)
