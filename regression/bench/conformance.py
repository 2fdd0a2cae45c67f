"""Every node case of the onnx package through our importer and the reference interpreter.

    python regression/bench/conformance.py [OPERATOR ...]

Prints passed, failed and refused cases by operator and writes docs/supported_ops.md; of some operators it only prints.
The exit code is 1 where a case failed.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

REGRESSION = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REGRESSION), str(REGRESSION / "unit"), str(REGRESSION.parent / "lib")]

import onnx  # noqa: E402
from bench import supported_ops  # noqa: E402
from formats.onnx.node_cases import Ending, cases_by_operator, ending_of  # noqa: E402

from stepdown.formats.onnx.importer import refuse_unsupported  # noqa: E402
from stepdown.formats.onnx.rules import REASONS, RULES  # noqa: E402


def main() -> int:
    """Run the cases, print a line an operator, write the document."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "operators", nargs="*", metavar="OPERATOR", help="operators whose cases are run (default: all)"
    )
    chosen = options.parse_args().operators
    refuse_unsupported([])  # fills RULES
    names = chosen or sorted({*RULES, *REASONS, *cases_by_operator()}, key=str.lower)
    endings = {name: [_ending(case) for case in cases_by_operator().get(name, [])] for name in names}
    total = Counter[str]()
    print(f"{'operator':32} {'passed':>7} {'failed':>7} {'refused':>8}")
    for name in names:
        counts = Counter("passed" if e.kind == "as onnxruntime" else e.kind for e in endings[name])
        total += counts
        if counts or chosen:
            print(f"{name:32} {counts['passed']:7} {counts['failed']:7} {counts['refused']:8}")
    print(f"{'all':32} {total['passed']:7} {total['failed']:7} {total['refused']:8}")
    if not chosen:
        supported_ops.DOCUMENT.write_text(supported_ops.document(endings, onnx.__version__), encoding="utf-8")
        print(f"wrote {supported_ops.DOCUMENT}")
    return 1 if total["failed"] else 0


def _ending(case: Any) -> Ending:
    """Return how a case ended; one that fails is told at once."""
    try:
        return ending_of(case)
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        print(f"{case.name} failed: {said}", file=sys.stderr)
        return Ending("failed", said)


if __name__ == "__main__":
    sys.exit(main())
