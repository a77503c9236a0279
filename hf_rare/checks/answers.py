"""Whether an answer agrees with the gold answer: plain values in, a verdict with its reason out.

`answer_forms` reads the forms that answers have, `math_answers` compares formulas; what a dataset looks like, and
which traces are asked about, is left to `verifying`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from hf_rare.checks.answer_forms import (
    Number,
    find_stated_answer,
    is_number,
    list_candidates,
    name_letters,
    normalize_answer,
    read_numbers,
    read_single_number,
)
from hf_rare.checks.formulas import is_same_formula
from hf_rare.errors import ConfigError
from hf_rare.rows.columns import OUTCOMES, Outcome
from hf_rare.rows.gold import list_golds

Check = Literal["auto", "choice", "text", "number", "math"]
CHECKS: tuple[Check, ...] = ("auto", "choice", "text", "number", "math")

TOLERANCE = 1e-6
"""The largest difference of numbers that agree, as a share of the larger one."""


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right.

    Args:
        outcome (`str`): `right`, `wrong`, or `unchecked` where there is nothing to compare.
        reason (`str`): why, in words.
    """

    outcome: Outcome
    reason: str


def check_answer(
    gold: Any,
    answer: str,
    trace: str = "",
    *,
    check: Check = "auto",
    options: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> Verdict:
    r"""Compare an answer with the gold answer.

    Args:
        gold (`str`, `int`, `float`, `bool`, or a list of them):
            The gold answer, or several that are right. For `True` yes is right too, for `False` no.
        answer (`str`):
            The answer; where it is empty, what the trace states last ("the answer is ...", `\boxed{...}`), or else its
            last line.
        trace (`str`, *optional*):
            The trace.
        check (`str`, *optional*, defaults to `"auto"`):
            How to compare. `"choice"`: by the letter of an option, or its text. `"number"`: within the tolerance
            (whole numbers exactly), units aside; of a percentage and a number, 50% agrees with 50 and with 0.5.
            `"text"`: the same words after [`normalize_answer`]. `"math"`: the same formula by
            math-verify. `"auto"`: a choice where there are options and the gold answer is one of them, a number where
            it is one, else a text.
        options (`Sequence[str]`, *optional*):
            The texts of the options, A first.
        tolerance (`float`, *optional*, defaults to 1e-6):
            The largest relative difference of numbers that agree.

    Returns:
        [`Verdict`]: `right` where the answer agrees with a gold answer; `unchecked` where there is no gold answer, no
        text, or the gold answer cannot be read as the check needs it; else `wrong`.

    Raises:
        ConfigError: `check` or `tolerance` cannot be right.
        MissingPackageError: `check="math"`, and math-verify is not installed.
        HfRareError: `check="math"`, and the process that compares formulas does not start.

    Example:
        >>> check_answer("B", "The answer is (B).", options=["Rome", "Paris"]).outcome
        'right'
    """
    check_settings(check, tolerance)
    golds = list_golds(gold, options)
    if not golds:
        return Verdict("unchecked", "there is no gold answer")
    candidates = list_candidates(answer, trace)
    if not candidates:
        return Verdict("unchecked", "there is neither an answer nor a trace")
    verdicts = [_compare(text, candidates, _choose_check(text, check, options), options, tolerance) for text in golds]
    return min(verdicts, key=lambda verdict: OUTCOMES.index(verdict.outcome))


def check_settings(check: str, tolerance: float) -> None:
    """Raise [`ConfigError`] for a check that does not exist, or a tolerance below 0."""
    if check not in CHECKS:
        raise ConfigError(f"check={check!r} cannot be right: expected one of {', '.join(map(repr, CHECKS))}.")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance={tolerance!r} cannot be right: expected a number from 0 to less than 1.")


def _choose_check(gold: str, check: Check, options: Sequence[str] | None) -> Check:
    if check != "auto":
        return check
    if options and _name_right_letters(gold, options):
        return "choice"
    return "number" if is_number(gold) else "text"


def _compare(
    gold: str, candidates: list[str], check: Check, options: Sequence[str] | None, tolerance: float
) -> Verdict:
    if check == "choice":
        return _compare_choices(gold, candidates, options)
    if check == "number":
        return _compare_numbers(gold, candidates, tolerance)
    if check == "math":
        return _compare_formulas(find_stated_answer(gold) or gold, candidates)
    words = normalize_answer(gold)
    if any(normalize_answer(text) == words for text in candidates):
        return Verdict("right", f"the answer is {_quote(gold)}")
    return Verdict("wrong", f"the answer is {_quote(candidates[0])}, not {_quote(gold)}")


def _compare_choices(gold: str, candidates: list[str], options: Sequence[str] | None) -> Verdict:
    right = _name_right_letters(gold, options)
    if not right:
        return Verdict("unchecked", f"the gold answer {_quote(gold)} is neither a letter nor the text of an option")
    named = next(filter(None, (name_letters(text, options) for text in candidates)), set())
    if not named:
        return Verdict("wrong", f"no option is named in {_quote(candidates[0])}")
    names = " and ".join(sorted(named))
    if named <= right:
        return Verdict("right", f"the answer is {names}")
    return Verdict("wrong", f"the answer names {names}, and right is {' or '.join(sorted(right))}")


def _name_right_letters(gold: str, options: Sequence[str] | None) -> set[str]:
    """Name the letter of the gold answer, or those of several options that read the same; none where it is unclear."""
    letters = name_letters(find_stated_answer(gold) or gold, options)
    texts = {normalize_answer(options[ord(letter) - ord("A")]) for letter in letters} if options else letters
    return letters if len(texts) == 1 else set()


def _compare_numbers(gold: str, candidates: list[str], tolerance: float) -> Verdict:
    right = read_single_number(find_stated_answer(gold) or gold)
    if right is None:
        return Verdict("unchecked", f"the gold answer {_quote(gold)} is not one number")
    given = next(filter(None, map(read_single_number, candidates)), None)
    if given is None:
        count = len(read_numbers(candidates[0]))
        return Verdict(
            "wrong", f"there {'are several numbers' if count else 'is no number'} in {_quote(candidates[0])}"
        )
    if _agree(given, right, tolerance):
        return Verdict("right", f"the answer is {given.value}")
    return Verdict("wrong", f"the answer is {given.value}, not {right.value}")


def _compare_formulas(gold: str, candidates: list[str]) -> Verdict:
    try:
        agree = [is_same_formula(gold, text) for text in candidates[:2]]  # a sentence around a formula may hide it
    except TimeoutError as err:
        return Verdict("wrong", str(err))
    if agree[0] is None:
        return Verdict("unchecked", f"the gold answer {_quote(gold)} is no formula")
    if any(agree):
        return Verdict("right", f"the answer is {_quote(gold)}")
    return Verdict("wrong", f"the answer is {_quote(candidates[0])}, not {_quote(gold)}")


def _agree(given: Number, right: Number, tolerance: float) -> bool:
    pairs = [(given.value, right.value)]
    if given.is_percent != right.is_percent:
        pairs.append((given.value / 100, right.value) if given.is_percent else (given.value, right.value / 100))
    for one, other in pairs:
        if one == other:
            return True
        is_whole = one == one.to_integral_value() and other == other.to_integral_value()
        if not is_whole and abs(one - other) <= Decimal(str(tolerance)) * max(abs(one), abs(other)):
            return True
    return False


def _quote(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
