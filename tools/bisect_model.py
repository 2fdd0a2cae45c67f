#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Find the first op, or the first pass, that leaves tolerance."""

import sys

from stepdown.cli.tool import run

sys.exit(run("bisect_model"))
