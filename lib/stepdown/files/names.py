"""Names of what lies together in a file: each once."""

from collections.abc import Container


def free_name(wanted: str, taken: Container[str]) -> str:
    """Return `wanted`, or a numbered name where it is taken."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name
