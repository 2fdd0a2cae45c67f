#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Turn photos into a network's input tensors."""

import sys

from stepdown.cli.tool import run

sys.exit(run("prepare_input"))
