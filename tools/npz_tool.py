#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Compare, show and edit the tensors of npz files; see `npz_tool.py --help`."""

import sys

from stepdown.cli.tool import run

sys.exit(run("npz_tool"))
