#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Say what each op costs the outputs when it alone is in INT8, or alone is not."""

import sys

from stepdown.cli.tool import run

sys.exit(run("run_sensitive_layer"))
