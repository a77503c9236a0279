"""What a column holds, in every type that Arrow has for it: texts of three kinds, lists of three kinds."""

from typing import Any

import datasets

TEXTS = ("string", "large_string", "string_view", "null")
"""Types of texts; a column of nothing but nulls may have become any of them."""
_WORDS = {
    "string": "texts",
    "large_string": "texts",
    "string_view": "texts",
    "null": "nothing",
    "bool": "true or false",
}


def is_list(feature: Any) -> bool:
    """Tell whether a column holds lists, of one length or of many."""
    return isinstance(feature, datasets.List | datasets.LargeList)


def item_of(feature: Any) -> Any:
    """Give what the lists of a column hold, or what the column holds where it has none."""
    return feature.feature if is_list(feature) else feature


def is_text(feature: Any) -> bool:
    """Tell whether a column holds texts."""
    return getattr(feature, "dtype", None) in TEXTS


def is_integer(feature: Any) -> bool:
    """Tell whether a column holds whole numbers."""
    return str(getattr(feature, "dtype", "")).startswith(("int", "uint", "null"))


def describe(feature: Any) -> str:
    """Say in words what a column holds."""
    if is_list(feature):
        return f"lists of {describe(feature.feature)}"
    if isinstance(feature, dict):
        return "objects"
    dtype = str(getattr(feature, "dtype", type(feature).__name__))
    return _WORDS.get(dtype, dtype)
