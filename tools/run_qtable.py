#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Choose the mode of every op under a bound on accuracy or cost."""

import sys

from stepdown.cli.tool import run

sys.exit(run("run_qtable"))
