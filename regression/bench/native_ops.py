"""The table of ops with code in docs/native.md, from the registries of ops and kernels: `--write` puts it there."""

import re
import sys
from pathlib import Path

from stepdown.dialects.op import Kind
from stepdown.dialects.top import TOP_OPS
from stepdown.native.kernels import base
from stepdown.native.network import FREE

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "native.md"
COMMAND = "python regression/bench/native_ops.py --write"
HEAD = "| kind | ops with code |\n|---|---|\n"
_KINDS = {
    Kind.MAC: "sums of products", Kind.LUT: "functions of one element", Kind.ELTWISE: "of several, with integer code",
    Kind.MOVE: "moves", Kind.POOL: "windows", Kind.REDUCE: "reductions", Kind.FLOAT: "others",
}  # fmt: skip


def table() -> str:
    """Return the table: the ops of each kind that have a kernel or need none; in the last row all others."""
    known = base.kernel_names() | set(FREE)
    ops = {name: op.kind for name, op in TOP_OPS.items() if op.kind in _KINDS}
    rows = [(text, [n for n, kind in ops.items() if kind is each and n in known]) for each, text in _KINDS.items()]
    rows.append(("without code", [name for name in ops if name not in known]))
    return HEAD + "".join(f"| {text} | {', '.join(sorted(names))} |\n" for text, names in rows)


def main() -> None:
    """Print the table, or write it into the document."""
    if "--write" not in sys.argv:
        print(table())
        return
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(re.sub(re.escape(HEAD) + r"(\|.*\n)*", lambda _: table(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
