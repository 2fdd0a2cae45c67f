"""What passes that look at samples have in common: which samples, and what the module must be before."""

from dataclasses import dataclass

from stepdown.correction.samples import ProgramSamples, open_samples
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class SamplingPass(Pass):
    """A pass that is shown samples: of a folder or a list, as run_calibration.py chooses them."""

    dataset: str = ""
    data_list: str = ""
    input_num: int = 0
    seed: int = 0

    def samples(self, program: Program) -> ProgramSamples:
        """Return the samples.

        Raises:
            InputError: neither or both of folder and list are given, or they do not fit the program.
        """
        return open_samples(program, self.dataset, self.data_list, self.input_num, self.seed)

    def check_float(self, program: Program) -> None:
        """Raise InputError where the module is not in float TOP."""
        if program["state"] != State.TOP_F32:
            raise InputError(f"--{self.pass_name()} needs a float module", program.path, "put it before calibration")
