from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

from hf_rare.errors import ConfigError
from hf_rare.settings.base import Config
from hf_rare.settings.kinds import (
    AtLeastOne,
    ColumnName,
    Fraction,
    Options,
    PathText,
    Positive,
    TagPair,
    Text,
    Texts,
    check_value,
)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (AtLeastOne, 0, "a whole number of at least 1"),
        (AtLeastOne, True, "a whole number of at least 1"),
        (AtLeastOne, 1.0, "a whole number of at least 1"),
        (AtLeastOne | None, "1", "a whole number of at least 1, or None"),
        (Positive, float("nan"), "a number above 0"),
        (Positive, True, "a number above 0"),
        (Fraction, 1.5, "a number above 0 and up to 1"),
        (bool, 1, "True or False"),
        (int, False, "a whole number"),
        (Literal["a", "b", "c"], "d", "'a', 'b' or 'c'"),
        (ColumnName, "", "a column name"),
        (ColumnName, "a\0b", "a column name"),
        (Texts, "text", "a list of strings"),
        (Texts, [""], "a list of strings"),
        (TagPair, ["<a>"], "a pair: the opening and the closing tag"),
        (Options, {1: 2}, "a dict of names and values"),
        (float, "x", "a number"),
        (Sequence[str], "text", "a list of texts"),
        (Mapping[str, Any] | None, "text", "names and values, or None"),
        (Callable[[str], str], "text", "a function"),
        (Path | None, 3, "a path, or None"),
        (Random, 3, "Random"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_was_expected(kind, value, expected):
    with pytest.raises(ConfigError) as raised:
        check_value("n", value, kind)
    assert str(raised.value) == f"n={value!r} cannot be right: expected {expected}."


def test_a_value_that_cannot_be_written_down_is_named_by_its_type():
    with pytest.raises(ConfigError, match=r"n=int cannot be right: expected a number above 0 and up to 1"):
        check_value("n", 10**5000, Fraction)


@pytest.mark.parametrize(
    ("kind", "value", "formed"),
    [
        (AtLeastOne | None, None, None),
        (Positive, 5, 5),
        (Positive, 0.5, 0.5),
        (Texts, iter(["a"]), ("a",)),
        (TagPair, ["<a>", "</a>"], ("<a>", "</a>")),
        (PathText, Path("a/b"), "a/b"),
        (Options, None, {}),
    ],
)
def test_a_value_is_brought_into_form(kind, value, formed):
    checked = check_value("n", value, kind)
    assert checked == formed
    assert type(checked) is type(formed)  # 5 stays 5 in JSON, and so in the keys of a journal


def test_settings_are_checked_by_their_annotations():
    @dataclass(frozen=True, kw_only=True)
    class Own(Config):
        words: Texts = ()
        name: Text | None = None

    assert Own(words=["a"]).to_json() == '{"name": null, "words": ["a"]}'
    with pytest.raises(ConfigError, match="name='' cannot be right: expected a text, or None"):
        Own(name="")
