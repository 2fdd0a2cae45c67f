#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Say which ops of a lowered network lose accuracy, why, and what helps."""

import sys

from stepdown.cli.tool import run

sys.exit(run("why_bad"))
