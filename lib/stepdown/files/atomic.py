"""Files that appear whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stepdown.errors import InputError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block ends without an error.

    Two runs that write the same file leave the whole result of one of them, never a mixture.

    Raises:
        InputError: the folder does not exist, or `path` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError("is a directory", str(target), "give the name of a file to write")
    if not target.parent.is_dir():
        raise InputError("the folder to write into does not exist", str(target.parent), "create it first")
    if target.exists() and not target.is_file():  # /dev/null, a pipe: nothing to replace
        yield target
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:  # a full disk does not say which file it was
        error.filename = error.filename or str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
