"""Fuzzing of every reader: `python regression/fuzz/run.py --help`."""
