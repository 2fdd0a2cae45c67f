#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Collect the range of every tensor over a set of samples."""

import sys

from stepdown.cli.tool import run

sys.exit(run("run_calibration"))
