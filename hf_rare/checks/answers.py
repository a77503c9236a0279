"""Whether an answer agrees with the gold answer: plain values in, a verdict with its reason out.

The way of an answer: citations are dropped (`answer_citations`), what it states is found (`answer_statements`), and
read as what the gold answer is: an option, yes or no, several values, a number, a formula, or a text. What a dataset
looks like, and which traces are asked about, is left to `verify`.
"""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hf_rare.checks.answer_forms import is_date, is_yes_or_no, read_yes_or_no
from hf_rare.checks.answer_groups import Group, is_same_group, read_gold_group, read_group
from hf_rare.checks.answer_numbers import (
    has_unit,
    is_formula,
    is_gold_formula,
    read_gold_number,
    read_number,
    read_one_number,
    read_quantity,
)
from hf_rare.checks.answer_options import Options, name_in_statement, name_options
from hf_rare.checks.answer_statements import Statements, find_gold_statement, find_statements, is_readable
from hf_rare.checks.answer_texts import is_same_text
from hf_rare.checks.formulas import UnreadFormulaError, is_same_formula
from hf_rare.checks.number_forms import Number
from hf_rare.errors import ConfigError
from hf_rare.rows.columns import OUTCOMES, Outcome
from hf_rare.rows.gold import list_golds, pair_options
from hf_rare.settings.writers import Check

CHECKS: tuple[Check, ...] = typing.get_args(Check)

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
    options: Sequence[str] | Options | Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> Verdict:
    r"""Compare an answer with the gold answer.

    Args:
        gold (`str`, `int`, `float`, `bool`, `Decimal`, `date`, or a list of them):
            The gold answer, or several that are right. For `True` yes is right too, for `False` no.
        answer (`str`):
            The answer, or a text that states it ("the answer is ...", `\boxed{...}`); citations are no part of it.
            Where it is empty, what the trace states last, or else its last line.
        trace (`str`, *optional*):
            The trace.
        check (`str`, *optional*, defaults to `"auto"`):
            How to compare. `"choice"`: by the key of an option, or its text. `"number"`: within the tolerance (whole
            numbers exactly), units aside; of a percentage and a number, 50% agrees with 50 and with 0.5. `"text"`:
            the same words after [`normalize_answer`], or the same date. `"math"`: the same formula by math-verify, or
            the same numbers, pairs and intervals. `"auto"`: a choice where there are options and the gold answer is
            one of them, else whatever the gold answer is.
        options (`Sequence[str]` or `Mapping`, *optional*):
            The texts of the options, A first, or the text by key.
        tolerance (`float`, *optional*, defaults to 1e-6):
            The largest relative difference of numbers that agree.

    Returns:
        [`Verdict`]: `right` where the answer agrees with a gold answer; `unchecked` where there is no gold answer, no
        text, or one of them cannot be read as the check needs it; else `wrong`.

    Raises:
        ConfigError: `check` or `tolerance` cannot be right.
        HfRareError: The process that compares formulas does not start.

    Example:
        >>> check_answer("B", "The answer is (B).", options=["Rome", "Paris"]).outcome
        'right'
    """
    check_settings(check, tolerance)
    pairs = _pair(options)
    golds = list_golds(gold, pairs)
    if not golds:
        return Verdict("unchecked", "there is no gold answer")
    if not answer.strip() and not trace.strip():
        return Verdict("unchecked", "there is neither an answer nor a trace")
    verdicts = [_compare(text, answer, trace, check, pairs, tolerance) for text in golds]
    return min(verdicts, key=lambda verdict: OUTCOMES.index(verdict.outcome))


def check_settings(check: str, tolerance: float) -> None:
    """Raise [`ConfigError`] for a check that does not exist, or a tolerance below 0."""
    if check not in CHECKS:
        raise ConfigError(f"check={check!r} cannot be right: expected one of {', '.join(map(repr, CHECKS))}.")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance={tolerance!r} cannot be right: expected a number from 0 to less than 1.")


def _pair(options: Any) -> list[tuple[str, str]] | None:
    is_paired = isinstance(options, list | tuple) and options and all(isinstance(one, tuple) for one in options)
    pairs = options if is_paired else pair_options(options) if options else None
    return [(key, "" if text is None else str(text)) for key, text in pairs] if pairs else None


def _compare(gold: str, answer: str, trace: str, check: Check, options: Options | None, tolerance: float) -> Verdict:
    expected = gold if check == "text" else find_gold_statement(gold) or gold
    if check == "choice" or (check == "auto" and options and _name_right(expected, options)):
        return _compare_choices(expected, find_statements(answer, trace), options)
    group = read_gold_group(expected) if check in ("auto", "math") and not is_date(expected) else None
    statements = find_statements(answer, trace, keep_intervals=group is not None)
    if not statements.whole and not statements.stated:
        return Verdict("wrong", f"there is no answer beside the citations in {_quote(answer or trace)}")
    if check == "number":
        return _compare_numbers(read_one_number(expected), expected, statements, tolerance)
    if group is not None:
        return _compare_groups(group, expected, statements, tolerance)
    number = read_gold_number(expected) if check in ("auto", "math") else None
    if number is not None:
        return _compare_numbers(number, expected, statements, tolerance)
    if check == "math" or (check == "auto" and is_gold_formula(expected)):
        return _compare_formulas(expected, statements)
    if check == "auto" and is_yes_or_no(expected):
        return _compare_yes_or_no(expected, statements)
    if is_same_text(expected, statements):
        return Verdict("right", f"the answer is {_quote(gold)}")
    if check == "auto" and (quantity := read_quantity(expected)) is not None:
        return _compare_quantities(*quantity, gold, statements, tolerance)
    return _reject(statements, gold)


def _compare_quantities(right: Number, unit: str, gold: str, statements: Statements, tolerance: float) -> Verdict:
    """Compare a number with its unit; another unit is another answer."""
    number = read_number(statements).number
    if number is not None and _agree(number, right, tolerance) and has_unit(statements.best, unit):
        return Verdict("right", f"the answer is {_quote(gold)}")
    return _reject(statements, gold)


def _reject(statements: Statements, gold: str) -> Verdict:
    """Say that an answer is wrong, or unchecked where it is in a writing that no reader knows."""
    if not statements.stated and not is_readable(statements.whole, gold):
        return Verdict("unchecked", f"no answer can be read in {_quote(statements.whole)}")
    return Verdict("wrong", f"the answer is {_quote(statements.best)}, not {_quote(gold)}")


def _compare_choices(gold: str, statements: Statements, options: Options | None) -> Verdict:
    right = _name_right(gold, options)
    if not right:
        return Verdict("unchecked", f"the gold answer {_quote(gold)} is neither a letter nor the text of an option")
    named = name_options(statements, options)
    if not named:
        is_read = not statements.whole or is_readable(statements.whole, gold)
        return Verdict("wrong" if is_read else "unchecked", f"no option is named in {_quote(statements.best)}")
    names = " and ".join(sorted(named))
    if named <= right:
        return Verdict("right", f"the answer is {names}")
    return Verdict("wrong", f"the answer names {names}, and right is {' or '.join(sorted(right))}")


def _name_right(gold: str, options: Options | None) -> set[str]:
    """Name the key of the gold answer, or those of several options that read the same; none where it is unclear."""
    keys = name_in_statement(gold, options or [(letter, "") for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"])
    texts = {text.strip().casefold().rstrip(".") for key, text in options if key in keys} if options else keys
    return keys if len(texts) == 1 else set()


def _compare_yes_or_no(gold: str, statements: Statements) -> Verdict:
    right = read_yes_or_no(gold)
    for text in [*statements.stated, *statements.bold, statements.whole]:
        if (given := read_yes_or_no(text)) is not None:
            word = "yes" if given else "no"
            return Verdict("right" if given == right else "wrong", f"the answer is {word}")
    return _reject(statements, gold)


def _compare_groups(gold: Group, text: str, statements: Statements, tolerance: float) -> Verdict:
    for statement in [*statements.stated, *statements.bold, statements.whole]:
        given = read_group(statement, gold) if statement else None
        if given is None:
            continue
        try:
            agree = is_same_group(given, gold, lambda one, other: _is_same_value(one, other, tolerance))
        except (TimeoutError, UnreadFormulaError) as err:
            return Verdict("unchecked", str(err))
        if agree:
            return Verdict("right", f"the answer is {_quote(text)}")
        break
    return _reject(statements, text)


def _is_same_value(gold: str, given: str, tolerance: float) -> bool:
    right, number = read_gold_number(gold), read_one_number(given)
    if right is not None and number is not None and not is_formula(given):
        return _agree(number, right, tolerance)
    return gold.replace(" ", "") == given.replace(" ", "") or bool(is_same_formula(gold, given, tolerance=tolerance))


def _compare_numbers(right: Number | None, gold: str, statements: Statements, tolerance: float) -> Verdict:
    if right is None:
        return Verdict("unchecked", f"the gold answer {_quote(gold)} is not one number")
    reading = read_number(statements, _is_year(right))
    if reading.number is not None:
        if _agree(reading.number, right, tolerance):
            return Verdict("right", f"the answer is {reading.number.value}")
        return Verdict("wrong", f"the answer is {reading.number.value}, not {right.value}")
    if reading.formula:
        return _compare_value(right, reading.formula, tolerance)
    if any(_agree(number, right, tolerance) for number in reading.others):
        return Verdict("unchecked", f"which number is the answer cannot be told in {_quote(statements.best)}")
    if reading.is_unread:
        return Verdict("unchecked", f"no number can be read in {_quote(statements.best)}")
    return Verdict("wrong", f"{reading.problem} in {_quote(statements.best)}")


def _is_year(number: Number) -> bool:
    return number.value == number.value.to_integral_value() and 1000 <= number.value < 2200


def _compare_value(right: Number, formula: str, tolerance: float) -> Verdict:
    try:
        agree = is_same_formula(str(right.value), formula, tolerance=tolerance)
    except (TimeoutError, UnreadFormulaError) as err:
        return Verdict("unchecked", str(err))
    return Verdict(
        "right" if agree else "wrong", f"the answer is {_quote(formula)}, {'' if agree else 'not '}{right.value}"
    )


def _compare_formulas(gold: str, statements: Statements) -> Verdict:
    texts = (
        [*statements.stated[:1], statements.whole] if statements.stated else [*statements.bold[:1], statements.whole]
    )
    try:
        for text in dict.fromkeys(filter(None, texts)):
            if text.replace(" ", "").strip("$.") == gold.replace(" ", "").strip("$."):
                return Verdict("right", f"the answer is {_quote(gold)}")
            agree = is_same_formula(gold, text)
            if agree is None:
                return Verdict("unchecked", f"the gold answer {_quote(gold)} is no formula")
            if agree:
                return Verdict("right", f"the answer is {_quote(gold)}")
            if statements.stated and text == statements.stated[0]:
                break
    except (TimeoutError, UnreadFormulaError) as err:
        return Verdict("unchecked", str(err))
    return _reject(statements, gold)


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
