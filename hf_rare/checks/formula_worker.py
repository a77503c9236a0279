"""Compares formulas in a process of its own, one JSON line in and one out: `python -m hf_rare.checks.formula_worker`.

math-verify and sympy can take for ever on a formula, and their own time-outs need the main thread's alarm; here a
caller ends the process instead.
"""

import json
import logging
import math
import sys
from typing import Any


def main() -> None:
    """Answer each line `[gold, answer, tolerance]`: whether they agree, or which is none, `"gold"` or `"answer"`."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)  # that there is no time-out
    for line in sys.stdin:
        gold, answer, tolerance = json.loads(line)
        try:
            expected, given = _read(gold, parse), _read(answer, parse)
            unread = "" if expected and given else "answer" if expected else "gold"
            agree = unread or bool(verify(expected, given, timeout_seconds=None))
            if agree is False and tolerance is not None:
                agree = _is_near(expected[0], given[0], tolerance)
        except Exception:  # whatever sympy raises on what a model wrote
            agree = "answer"
        print(json.dumps(agree), flush=True)


def _is_near(gold: Any, answer: Any, tolerance: float) -> bool:
    """Tell whether two values that are not both whole differ by at most a share; `False` where one is no value."""
    try:
        one, other = float(gold), float(answer)
    except (TypeError, ValueError, OverflowError):  # it has unknowns, or is a set, an equation or too large
        return False
    is_whole = one.is_integer() and other.is_integer()
    return not is_whole and math.isclose(one, other, rel_tol=tolerance)


def _read(text: str, parse: object) -> list[Any]:
    """Read a formula: a text without marks around it is one as a whole, or else holds one."""
    marked = any(mark in text for mark in ("$", "\\(", "\\[", "\\boxed"))
    read: list[Any] = [] if marked else parse(f"${text}$", parsing_timeout=None)  # type: ignore[operator]
    return read or parse(text, parsing_timeout=None)  # type: ignore[operator]


if __name__ == "__main__":
    main()
