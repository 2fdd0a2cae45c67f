"""The IR: the quantised types, the TOP dialect (what a network means), the TPU dialect (what a chip computes)."""
