"""What a column holds, in every type that Arrow has for it, and whether that is what it is read for."""

from collections.abc import Mapping
from typing import Any, Literal

import datasets

from hf_rare.compat.datasets import is_json
from hf_rare.errors import ColumnError

Kind = Literal["texts", "lists of texts", "texts or lists of texts", "whole numbers", "lists of whole numbers"]
"""What a column is read for, in words."""

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
    """Return what the lists of a column hold, or what the column holds where it has none."""
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


def kinds_of_negatives(setting: str | tuple[str, ...] | None) -> dict[str, Kind]:
    """Say what the columns of hard negatives are read for: one alone holds lists, each of several may hold texts."""
    if isinstance(setting, str):
        return {setting: "lists of texts"}
    return dict.fromkeys(setting or (), "texts or lists of texts")


def check_types(features: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Raise [`ColumnError`] where a column holds something else than it is read for; one that is missing does not.

    Args:
        features (`Mapping[str, Any]`): the types of the columns.
        kinds (`Mapping[str, Kind]`): what columns are read for.
    """
    for name, kind in kinds.items():
        if name in features and not _is_of(kind, features[name]):
            raise ColumnError(
                f"The column {name!r} holds {describe(features[name])}; expected {kind}."
                f"{_advise(name, kind, features[name])}"
            )


def _is_of(kind: Kind, feature: Any) -> bool:
    if getattr(feature, "dtype", None) == "null" or is_json(feature):  # which may be anything
        return True
    if kind.startswith("lists of ") and not is_list(feature):
        return False
    if kind in ("texts", "whole numbers") and is_list(feature):
        return False
    item = item_of(feature)
    return is_json(item) or (is_integer if kind.endswith("whole numbers") else is_text)(item)


def _advise(name: str, kind: Kind, feature: Any) -> str:
    """Say how a column becomes what it is read for, where there is a short way."""
    if kind == "lists of texts" and is_text(feature):
        return (
            f" One text in each row? Make it a list: dataset.map(lambda row: {{{name!r}: [row[{name!r}]]}}). As hard "
            f"negatives, columns of texts can be named in a list: hard_negatives_column=[{name!r}], or more names, "
            f"and on the command line --hard-negatives-column '[\"{name}\"]', or several names."
        )
    if kind == "lists of texts" and is_list(feature) and isinstance(feature.feature, dict):
        key = next((key for key, value in feature.feature.items() if is_text(value)), "text")
        return (
            f" Take the text of each: dataset.map(lambda row: {{{name!r}: [one[{key!r}] for one in row[{name!r}]]}})."
        )
    if kind in ("texts", "texts or lists of texts") and isinstance(feature, datasets.Value):
        return f" Convert it: dataset.cast_column({name!r}, datasets.Value('string'))."
    if kind == "texts" and is_list(feature) and is_text(feature.feature):
        return f" Take one text of each row: dataset.map(lambda row: {{{name!r}: row[{name!r}][0]}})."
    return ""
