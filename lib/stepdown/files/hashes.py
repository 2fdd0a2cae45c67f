"""SHA-256 of files."""

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
