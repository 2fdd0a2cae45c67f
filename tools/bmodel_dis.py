#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Print the commands of a model file; see `bmodel_dis.py --help`."""

import sys

from stepdown.cli.tool import run

sys.exit(run("bmodel_dis"))
