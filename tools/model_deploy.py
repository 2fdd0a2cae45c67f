#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Lower a TOP module for a chip and check it, by running the small tools."""

import sys

from stepdown.cli.tool import run

sys.exit(run("model_deploy"))
