#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Show, draw and compare model files; see `model_tool.py --help`."""

import sys

from stepdown.cli.tool import run

sys.exit(run("model_tool"))
