"""Whether two formulas are the same, by math-verify in a process of its own, which is ended when it takes too long.

That works in threads, in the workers of `map` and under any signal handler, where math-verify's own time-outs do not.
A pool of processes would stop working in a script without `if __name__ == "__main__"`, after a fork, and in a daemon.
"""

import atexit
import contextlib
import json
import os
import re
import selectors
import subprocess
import sys
import threading

from hf_rare.errors import HfRareError

TIMEOUT = 10.0
"""Seconds that one comparison may take."""

START_TIMEOUT = 120.0
"""Seconds that the process may take to import sympy and to answer for the first time."""

_SIGNS = [
    (re.compile(r"√\s*\(([^()]*)\)|√\s*(\d+(?:\.\d+)?|[a-zA-Z])"), lambda match: rf"\sqrt{{{match[1] or match[2]}}}"),
    (re.compile(r"\^\s*([-+]?\d+|[-+][a-zA-Z])"), lambda match: f"^{{{match[1]}}}"),
    *(
        (re.compile(sign), lambda _, command=command: rf"{command} ")
        for sign, command in {
            "π": r"\pi", "∞": r"\infty", "×|·|⋅": r"\times", "÷": r"\div", "≤": r"\leq", "≥": r"\geq", "≠": r"\neq",
            "±": r"\pm", "∪": r"\cup", "∩": r"\cap", "∈": r"\in", "θ": r"\theta", "°": r"^\circ",
        }.items()
    ),
]  # fmt: skip


class UnreadFormulaError(ValueError):
    """What a model wrote is no formula that can be read. It stays inside the library: the answer is `unchecked`."""


def is_same_formula(
    gold: str, answer: str, timeout: float = TIMEOUT, *, tolerance: float | None = None
) -> bool | None:
    r"""Tell whether an answer is the gold formula, in whatever form: `\frac{1}{2}` is `0.5`, `x+1` is `1+x`.

    Args:
        gold (`str`): the gold answer, with or without `$`.
        answer (`str`): the answer.
        timeout (`float`, *optional*, defaults to 10): seconds it may take.
        tolerance (`float`, *optional*): by what share the value of the answer may differ from that of the gold answer,
            where these are not both whole numbers. By default they are equal.

    Returns:
        `bool`; `None` where the gold answer is no formula.

    Raises:
        UnreadFormulaError: The answer is no formula.
        HfRareError: The process cannot start.
        TimeoutError: It takes longer, or the process died of it.
    """
    return worker.compare(to_latex(gold), to_latex(answer), timeout, tolerance)


def to_latex(text: str) -> str:
    r"""Write the signs of a formula as LaTeX, which is what math-verify reads: √9 as `\sqrt{9}`, π as `\pi`."""
    for pattern, replacement in _SIGNS:
        text = pattern.sub(replacement, text)
    return text


class Worker:
    """The one process for formulas of this process, started on first use and again after it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_registered = False

    def compare(self, gold: str, answer: str, timeout: float, tolerance: float | None = None) -> bool | None:
        """Compare two formulas; see [`is_same_formula`]."""
        with self._lock:
            if self._process is None:
                self._register()
                command = [sys.executable, "-m", "hf_rare.checks.formula_worker"]
                try:
                    self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                    self._ask(self._process, ("1", "1", None), START_TIMEOUT)
                except OSError as err:  # a TimeoutError too
                    raise HfRareError(
                        f"Formulas are compared in a process of its own, and it does not start: {err}. Run "
                        f"`{' '.join(command)}` to see why."
                    ) from err
            return self._ask(self._process, (gold, answer, tolerance), timeout)

    def _ask(
        self, process: subprocess.Popen[bytes], asked: tuple[str, str, float | None], timeout: float
    ) -> bool | None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process for formulas was started without pipes")
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                line = process.stdout.readline() if selector.select(timeout) else b""
        except BrokenPipeError:
            line = b""
        if not line:
            self.stop()
            raise TimeoutError(f"the formulas could not be compared within {timeout:g} seconds")
        agree = json.loads(line)
        if agree == "answer":
            raise UnreadFormulaError(f"no formula can be read in {asked[1]!r}")
        return None if agree == "gold" else bool(agree)

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # of what was not written any more
                        pipe.close()
            process.wait()

    def _register(self) -> None:
        if not self._is_registered:
            atexit.register(self.stop)
            os.register_at_fork(after_in_child=self.forget)
            self._is_registered = True

    def forget(self) -> None:
        """Leave the process to the parent: a forked child starts its own."""
        self._lock, self._process = threading.Lock(), None


worker = Worker()
