"""Kinds of values that settings can have: what pydantic checks, and the form that a value is brought into.

A kind is an annotation, such as `num_samples: AtLeastOne = 1`. The text in it says what was expected where a value is
of another kind. Settings that do not go together are found out where they stand.
"""

import functools
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BeforeValidator, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from hf_rare.errors import ConfigError
from hf_rare.text import shorten


def check_value(name: str, value: Any, kind: Any) -> Any:
    """Check the value of a setting or of an argument.

    Args:
        name (`str`): the setting, for the message.
        value: its value.
        kind: an annotation, such as `bool`, a class, or one of this module. A `bool` is no number, and a text no list.

    Returns:
        The value, in the form that the kind brings it into.

    Raises:
        ConfigError: It is of another kind.
    """
    try:
        return _make_adapter(kind).validate_python(value, strict=True)
    except ValidationError as err:
        try:
            given = shorten(repr(value), 500)
        except (ValueError, RecursionError):  # a number of thousands of digits, a list in itself
            given = type(value).__name__
        raise ConfigError(f"{name}={given} cannot be right: expected {_describe(kind)}.") from err


@functools.cache
def _make_adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))


def _describe(kind: Any) -> str:
    """Say what is expected of a value of this kind."""
    members, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin is Annotated:
        texts = [text for text in members[1:] if isinstance(text, str)]
        return texts[-1] if texts else _describe(members[0])
    if origin is Literal:
        *others, last = map(repr, members)
        return f"{', '.join(others)} or {last}"
    if origin in (typing.Union, types.UnionType):
        *texts, last = map(_describe, members)
        return f"{', '.join(texts)}, or {last}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "names and values"
    if isinstance(origin, type) and issubclass(origin, Collection):
        return "a list of texts" if members[:1] == (str,) else "a list"
    return _NAMED.get(origin or kind, getattr(kind, "__name__", str(kind)))


_NAMED = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    type(None): "None",
    Callable: "a function",
}
"""What values of other kinds are called."""


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _as_dict(value: Any) -> Any:
    return dict(value or {}) if value is None or isinstance(value, Mapping) else value


AtLeastZero = Annotated[int, Ge(0), "a whole number of at least 0"]
AtLeastOne = Annotated[int, Ge(1), "a whole number of at least 1"]
Positive = Annotated[int | float, Gt(0), "a number above 0"]
Fraction = Annotated[int | float, Gt(0), Le(1), "a number above 0 and up to 1"]

Places = Annotated[tuple[AtLeastOne, ...], BeforeValidator(_as_tuple), "a list of whole numbers of at least 1"]

Text = Annotated[str, MinLen(1), "a text"]
ColumnName = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$"), "a column name"]
"""Arrow ends a name at a NUL."""
ColumnNames = Annotated[
    ColumnName | Annotated[tuple[ColumnName, ...], MinLen(1)],
    BeforeValidator(_as_tuple),
    "a column name, or a list of them",
]
PathText = Annotated[str, BeforeValidator(_as_text)]
"""A path becomes a text."""
TemplateText = Annotated[Text | Path, BeforeValidator(_as_text), "a name, a path or Jinja source"]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_tuple), "a list of strings"]
TagPair = Annotated[tuple[Text, Text], BeforeValidator(_as_tuple), "a pair: the opening and the closing tag"]

Options = Annotated[dict[str, Any], BeforeValidator(_as_dict), "a dict of names and values"]
