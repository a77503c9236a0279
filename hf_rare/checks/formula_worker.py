"""Compares formulas in a process of its own, one JSON line in and one out: `python -m hf_rare.checks.formula_worker`.

math-verify and sympy can take for ever on a formula, and their own time-outs need the main thread's alarm; here a
caller ends the process instead.
"""

import json
import logging
import sys


def main() -> None:
    """Answer each line `[gold, answer]` with whether they agree, or which of them, `"gold"` or `"answer"`, is none."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)  # that there is no time-out
    for line in sys.stdin:
        gold, answer = json.loads(line)
        try:
            expected, given = _read(gold, parse), _read(answer, parse)
            unread = "" if expected and given else "answer" if expected else "gold"
            agree = unread or bool(verify(expected, given, timeout_seconds=None))
        except Exception:  # whatever sympy raises on what a model wrote
            agree = "answer"
        print(json.dumps(agree), flush=True)


def _read(text: str, parse: object) -> list[object]:
    """Read a formula: a text without marks around it is one as a whole, or else holds one."""
    marked = any(mark in text for mark in ("$", "\\(", "\\[", "\\boxed"))
    read: list[object] = [] if marked else parse(f"${text}$", parsing_timeout=None)  # type: ignore[operator]
    return read or parse(text, parsing_timeout=None)  # type: ignore[operator]


if __name__ == "__main__":
    main()
