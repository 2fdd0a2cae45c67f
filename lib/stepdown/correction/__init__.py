"""Techniques that lower the error of a quantised network by what calibration samples show: passes and their maths."""
