"""docs/native.md tells which ops have code, as the registry of kernels does."""

from bench import native_ops


def test_the_table_is_that_of_the_registry() -> None:
    assert native_ops.table() in native_ops.DOCUMENT.read_text(encoding="utf-8"), f"run {native_ops.COMMAND}"
