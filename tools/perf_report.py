#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Show where the time of a trace goes, or compare two; see `perf_report.py --help`."""

import sys

from stepdown.cli.tool import run

sys.exit(run("perf_report"))
