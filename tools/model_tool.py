#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Show, draw, compare, combine and strip model files; see `model_tool.py --help`."""

import sys

from stepdown.cli.tool import run

sys.exit(run("model_tool"))
