"""Comparing: how alike two tensors and two dumps are, and the report writers that show it."""
