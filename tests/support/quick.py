"""Parameters of a test of which some run in the quick suite, and all in the slow one."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def mostly_slow(values: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """Mark values as slow, but for some that stand for all.

    Args:
        values: the parameters.
        quick: those that the quick suite has; each must be one of them.
    """
    values = list(values)
    assert set(quick) <= set(values), set(quick) - set(values)
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]
