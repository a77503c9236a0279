"""Gold answers and options: the values of their columns, as texts."""

import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import datasets
import pyarrow as pa

from hf_rare.errors import ColumnError

OPTION_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

OptionPairs = Sequence[tuple[str, str]]
"""Key and text of each option, in the order in which they are shown."""

_PAIRED = (("label", "text"), ("key", "value"), ("letter", "text"), ("key", "text"))
"""Names under which structs hold the key and the text of an option."""

_EXPECTED = (
    "a text, a number, a boolean, a date, a class label, a list of these, or a struct with the list 'text' as in SQuAD"
)


def pair_options(value: Any) -> list[tuple[str, Any]] | None:
    """Pair the options of a row with their keys.

    Args:
        value (`list` or `Mapping`):
            Up to 26 texts, which get the letters from A on; a struct of key to text, in which null stands under the
            keys that other rows have; a struct of two lists, `label` and `text`; or a list of structs with these.

    Returns:
        `list[tuple[str, Any]]`: key and text, in their order; `None` where the value is nothing of the kind.
    """
    if isinstance(value, Mapping):
        for key, text in _PAIRED:
            if isinstance(value.get(key), list | tuple) and isinstance(value.get(text), list | tuple):
                return [(str(one), other) for one, other in zip(value[key], value[text], strict=False)]
        return [(str(key), text) for key, text in value.items() if text is not None]
    if not isinstance(value, list | tuple):
        return None
    if value and all(isinstance(item, Mapping) for item in value):
        for key, text in _PAIRED:
            if all(key in item and text in item for item in value):
                return [(str(item[key]), item[text]) for item in value]
        return None
    return list(zip(OPTION_LETTERS, value, strict=False)) if len(value) <= len(OPTION_LETTERS) else None


def list_golds(gold: Any, options: Sequence[str] | OptionPairs | None = None) -> list[str]:
    """List the right answers that a value stands for, as texts.

    Args:
        gold (`str`, `int`, `float`, `bool`, `Decimal`, `date`, a list of them, or a struct as in SQuAD):
            The value of a gold column. A whole number is the key of an option, or its text, or else its number, from
            0; 2.0 is a whole number too.
        options (`Sequence[tuple[str, str]]`, *optional*):
            Key and text of each option, or the texts alone, A first.

    Returns:
        `list[str]`: the answers; empty where there is none.
    """
    pairs = [
        pair if isinstance(pair, tuple) else (OPTION_LETTERS[i % 26], pair) for i, pair in enumerate(options or ())
    ]
    if isinstance(gold, Mapping):
        gold = gold.get("text") if isinstance(gold.get("text"), list | tuple) else None
    if isinstance(gold, list | tuple):
        return list(dict.fromkeys(text for item in gold for text in list_golds(item, pairs)))
    if isinstance(gold, bool):
        return ["true", "yes"] if gold else ["false", "no"]
    if isinstance(gold, datetime.datetime):
        is_day = gold.timetz().replace(tzinfo=None) == datetime.time()
        return [gold.date().isoformat() if is_day else gold.isoformat(" ")]
    if isinstance(gold, datetime.date | datetime.time):
        return [gold.isoformat()]
    if isinstance(gold, Decimal):
        return [f"{gold:f}"] if gold.is_finite() else []
    texts = [text.strip() for _, text in pairs if isinstance(text, str)]
    if isinstance(gold, float) and gold.is_integer() and abs(gold) < 2**53 and repr(gold) not in texts:
        gold = int(gold)  # NumPy and pandas read a column of integers as floats where one is missing
    if isinstance(gold, int) and pairs and str(gold) not in texts:
        keys = [key for key, _ in pairs]
        if str(gold) not in keys and not any(key.isdigit() for key in keys) and 0 <= gold < len(pairs):
            return [keys[gold]]
    if isinstance(gold, int | float):
        return [] if gold != gold else [repr(gold)]
    return [gold.strip()] if isinstance(gold, str) and gold.strip() else []


def can_be_gold(value: Any) -> bool:
    """Tell whether a value can be a gold answer, or null."""
    if isinstance(value, Mapping):
        return isinstance(value.get("text"), list | tuple) and all(map(can_be_gold, value["text"]))
    if isinstance(value, list | tuple):
        return all(map(can_be_gold, value))
    plain = (str, int, float, bool, Decimal, datetime.date, datetime.time)
    return value is None or isinstance(value, plain)


def check_gold_value(value: Any, column: str) -> None:
    """Raise [`ColumnError`] for a value that cannot be a gold answer."""
    if not can_be_gold(value):
        name = f"a struct of {', '.join(map(repr, value))}" if isinstance(value, Mapping) else type(value).__name__
        raise ColumnError(f"The column {column!r} cannot hold gold answers: it holds {name}; expected {_EXPECTED}.")


def check_gold_feature(features: datasets.Features | None, column: str) -> None:
    """Raise [`ColumnError`] where the type of a column says that it cannot hold gold answers."""
    feature = (features or {}).get(column)
    if feature is not None and not _is_gold_feature(feature):
        raise ColumnError(f"The column {column!r} cannot hold gold answers: it is {feature}; expected {_EXPECTED}.")


def _is_gold_feature(feature: Any) -> bool:
    if isinstance(feature, datasets.Value):
        return not any(part in feature.dtype for part in ("binary", "duration"))
    if isinstance(feature, datasets.List | datasets.LargeList):
        return isinstance(feature.feature, datasets.Value | datasets.ClassLabel) and _is_gold_feature(feature.feature)
    if isinstance(feature, Mapping):
        text = feature.get("text")
        return isinstance(text, datasets.List | datasets.LargeList) and _is_gold_feature(text)
    return isinstance(feature, datasets.ClassLabel)


def read_features(batch: Any) -> datasets.Features | None:
    """Read the types of the columns that a batch of `Dataset.map` brings along; `None` where it brings none."""
    if isinstance(batch, pa.Table):
        try:
            return datasets.Features.from_arrow_schema(batch.schema)
        except ValueError:  # a table that no dataset has made may have types that none can have
            return None
    features = getattr(getattr(batch, "formatter", None), "features", None)
    return features if isinstance(features, datasets.Features) else None


def name_label(value: Any, names: Sequence[str] | None, options: OptionPairs | None = None) -> Any:
    """Return the name of a class label, or, where there are options and it names none, the number as it is.

    A number below 0 is no label: there is no gold answer then, as `datasets` writes it.
    """
    if isinstance(value, list | tuple):
        return [name_label(item, names, options) for item in value]
    if names is None or isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return value
    if value < 0:
        return None
    name = names[int(value)] if value < len(names) else ""
    known = {text.strip().casefold() for pair in options or () for text in pair if isinstance(text, str)}
    return name if name and (not known or name.strip().casefold() in known) else value


def label_names(features: datasets.Features | None, column: str) -> list[str] | None:
    """List the names of a column of class labels; `None` where it is none."""
    feature = (features or {}).get(column)
    feature = feature.feature if isinstance(feature, datasets.List | datasets.LargeList) else feature
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) and feature.names else None
