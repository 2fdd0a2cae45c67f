"""What a model file was made of, told without the machine that it was made on."""

import os
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from stepdown import __version__
from stepdown.files.hashes import sha256_file
from stepdown.files.names import free_name
from stepdown.model.schema import Provenance

_PACKAGES = ("numpy", "xdsl")
_FOLDERS = re.compile(r"[^\s=,:;'\"\[\](){}]*[/\\]")


def provenance(inputs: Iterable[str | os.PathLike[str]], flags: Iterable[str]) -> Provenance:
    """Return the hashes of input files by name, the versions of what made the file, and flags without folders.

    Equal files and flags give an equal result in every folder.
    """
    hashes: dict[str, str] = {}
    for path in inputs:
        hashes[free_name(Path(path).name, hashes)] = sha256_file(path)
    tools = {"stepdown": __version__, **{package: version(package) for package in _PACKAGES}}
    return Provenance(hashes, tools, tuple(_FOLDERS.sub("", flag) for flag in flags))
