"""The part of the packaging that TOML cannot say: every tool is installed as a command. See pyproject.toml."""

import os
from pathlib import Path

from setuptools import setup

setup(scripts=sorted(str(tool) for tool in Path("tools").iterdir() if tool.is_file() and os.access(tool, os.X_OK)))
