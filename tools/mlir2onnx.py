#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Write a TOP module back as an ONNX model; see `mlir2onnx.py --help`."""

import sys

from stepdown.cli.tool import run

sys.exit(run("mlir2onnx"))
