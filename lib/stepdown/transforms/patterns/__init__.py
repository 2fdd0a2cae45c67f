"""Rewriting rules, one file a subject; each registers itself with `rewrite.pattern` when it is imported."""
