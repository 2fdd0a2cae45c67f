"""Passes that end at machine code."""
