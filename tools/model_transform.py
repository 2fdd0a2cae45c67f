#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Import a model into the TOP dialect and check it; see `model_transform.py --help`."""

import sys

from stepdown.cli.tool import run

sys.exit(run("model_transform"))
