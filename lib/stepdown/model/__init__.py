"""The model file `.bmodel`: its schema, reader and writer (docs/model_file.md). It imports no IR and no chip."""

from stepdown.model.file import ModelFile, read_model_file, write_model_file
from stepdown.model.schema import (
    CommandRange,
    Network,
    Provenance,
    Region,
    Stage,
    Step,
    Stream,
    Subnet,
    Tensor,
    Weight,
)
from stepdown.model.sections import SectionStore

__all__ = [
    "CommandRange",
    "ModelFile",
    "Network",
    "Provenance",
    "Region",
    "SectionStore",
    "Stage",
    "Step",
    "Stream",
    "Subnet",
    "Tensor",
    "Weight",
    "read_model_file",
    "write_model_file",
]
