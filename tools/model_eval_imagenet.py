#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Run a model file of any kind on given inputs; see `model_eval_imagenet.py --help`."""

import sys

from stepdown.cli.tool import run

sys.exit(run("model_eval_imagenet"))
