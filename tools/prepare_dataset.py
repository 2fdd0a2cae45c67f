#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Choose sample files of a folder and list them."""

import sys

from stepdown.cli.tool import run

sys.exit(run("prepare_dataset"))
