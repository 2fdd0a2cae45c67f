"""Passes of tpuc-opt that read calibration samples, one a file."""
