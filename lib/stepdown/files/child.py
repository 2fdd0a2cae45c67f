"""Child processes for libraries that may abort on bad input: their environment and their limits."""

import os
import resource
from pathlib import Path

# The libraries of a child map some gigabytes of addresses before they read anything.
MEMORY_LIMIT_BYTES = 8 << 30
MEMORY_PER_MODEL_BYTE = 16


def environment() -> dict[str, str]:
    """Return the environment in which a child finds this package."""
    package = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))}


def limit_process(model_bytes: int) -> None:
    """Limit the memory of this process by the size of the model that it reads, and let it leave no core file."""
    memory = MEMORY_LIMIT_BYTES + MEMORY_PER_MODEL_BYTE * model_bytes
    for kind, value in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (value, value))
