#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Measure networks in many ways, and write a report."""

import sys

from stepdown.cli.tool import run

sys.exit(run("run_experiments"))
