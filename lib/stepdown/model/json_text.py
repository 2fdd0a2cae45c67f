"""JSON in one spelling when written, and without ambiguity when read: no name twice, no NaN, nothing too deep."""

import json
import math
from collections import Counter
from typing import Any, NoReturn


def json_bytes(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON with sorted names; equal values give equal bytes.

    Raises:
        ValueError: it holds a number that is not finite, or text that UTF-8 cannot hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is malformed, has a name twice in one object or a number that is not finite, or nests too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nests too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"has the name {twice[:80]!r} twice")
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"holds {word}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds {text[:40]}, which is too large")
    return value
