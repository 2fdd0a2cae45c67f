"""Lowering by kind: how TOP ops of each kind become TPU ops of a mode."""
