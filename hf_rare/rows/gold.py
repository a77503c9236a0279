"""Gold answers and options: the values of their columns, as texts."""

from collections.abc import Sequence
from typing import Any

OPTION_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def list_golds(gold: Any, options: Sequence[str] | None = None) -> list[str]:
    """List the right answers that a value stands for, as texts.

    Args:
        gold (`str`, `int`, `float`, `bool`, or a list of them):
            The value of a gold column. A whole number that is the text of no option is the number of one, from 0;
            2.0 is a whole number too.
        options (`Sequence[str]`, *optional*):
            The texts of the options, A first.

    Returns:
        `list[str]`: the answers; empty where there is none.
    """
    if isinstance(gold, list | tuple):
        return [text for item in gold for text in list_golds(item, options)]
    if isinstance(gold, bool):
        return ["true", "yes"] if gold else ["false", "no"]
    texts = [text.strip() for text in options or ()]
    if isinstance(gold, float) and gold.is_integer() and abs(gold) < 2**53 and repr(gold) not in texts:
        gold = int(gold)  # NumPy and pandas read a column of integers as floats where one is missing
    if isinstance(gold, int) and options and 0 <= gold < len(options) and str(gold) not in texts:
        return [OPTION_LETTERS[gold]]
    if isinstance(gold, int | float):
        return [] if gold != gold else [repr(gold)]
    return [gold.strip()] if isinstance(gold, str) and gold.strip() else []
