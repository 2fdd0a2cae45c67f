"""The command-line tools: one module a tool, with `parser()` and `run(args)`; `tool.py` runs them."""
