"""One row of input, checked: plain values in, a [`Row`] or a [`JudgedAnswer`] out, or the reason why not."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_rare.rows.gold import check_gold_value, list_golds, pair_options
from hf_rare.rows.hard_negatives import list_cell
from hf_rare.settings.writers import DistillConfig


class InvalidRowError(Exception):
    """Why a row cannot be used. It stays inside the library: the row gets the status `invalid_input`."""


@dataclass(frozen=True)
class Row:
    """The content of one row.

    Args:
        question (`str`): the question.
        scenario (`str`): the situation it is about; may be empty.
        positive (`str`): the document that helps.
        hard_negatives (`tuple[str, ...]`): documents that only look as if they did; may be empty.
        options (`tuple[tuple[str, str], ...]`): letter and text of each choice; empty unless the template uses them.
        extra (`dict[str, str]`): the further columns that the template may use.
        gold (`tuple[str, ...]`): the right answers, where they are to be checked; no part of the prompt, and so not of
            the digest.
    """

    question: str
    scenario: str
    positive: str
    hard_negatives: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    gold: tuple[str, ...] = ()
    _digests: dict[int, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def documents(self) -> tuple[str, ...]:
        """The positive, then the hard negatives: document 0 is the positive."""
        return (self.positive, *self.hard_negatives)

    def digest(self, seed: int) -> bytes:
        """Hash `seed` and all that a prompt is made of, once: 16 bytes that depend on nothing else."""
        if seed not in self._digests:
            self._digests[seed] = self._hash(seed)
        return self._digests[seed]

    def _hash(self, seed: int) -> bytes:
        options = [text for option in self.options for text in option]
        extra = [text for item in sorted(self.extra.items()) for text in item]
        return _hash_texts([str(seed), self.question, self.scenario], self.documents, options, extra)


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer that is to be judged by the gold one.

    Args:
        question (`str`): what was asked.
        gold (`str`): the right answer; no part of the digest.
        answer (`str`): the answer that is judged.
        extra (`dict[str, str]`): the further columns that the template may use.
    """

    question: str
    gold: str
    answer: str
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def documents(self) -> tuple[str]:
        """What may be shortened where the prompt is too long: the answer."""
        return (self.answer,)

    def digest(self, seed: int) -> bytes:
        """Hash `seed`, the question and the answer: 16 bytes that depend on nothing else."""
        extra = [text for item in sorted(self.extra.items()) for text in item]
        return _hash_texts([str(seed), self.question, ""], self.documents, [], extra)


def _hash_texts(*lists: Sequence[str]) -> bytes:
    """Hash lists of texts, so that no other lists have the same hash."""
    hasher = hashlib.blake2b(digest_size=16)
    for texts in lists:
        hasher.update(len(texts).to_bytes(8, "little"))
        for text in texts:
            data = text.encode()
            hasher.update(len(data).to_bytes(8, "little"))
            hasher.update(data)
    return hasher.digest()


def derive_seed(digest: bytes, purpose: str, index: int) -> int:
    """Derive a seed of 63 bits from a row's digest, for one purpose and one index."""
    data = f"{purpose} {index}".encode()
    return int.from_bytes(hashlib.blake2b(data, key=digest, digest_size=8).digest(), "little") >> 1


def read_row(values: Mapping[str, Any], config: DistillConfig) -> Row:
    """Check the values of one row.

    Args:
        values (`Mapping[str, Any]`):
            Value by column name. Columns that the template does not use may be missing.
        config ([`DistillConfig`]):
            Names of the columns.

    Returns:
        [`Row`]: its content.

    Raises:
        InvalidRowError: A value cannot be used; the message names the column and the reason.
        ColumnError: The gold column holds what cannot be a gold answer.
    """
    options, scenario = _read_options(values.get(config.options_column), config.options_column), config.scenario_column
    gold = values.get(config.gold_column) if config.gold_column else None
    check_gold_value(gold, config.gold_column or "")
    return Row(
        question=_read_text(values.get(config.question_column), config.question_column),
        scenario=_read_optional_text(values.get(scenario), scenario) if scenario else "",
        positive=_read_text(values.get(config.text_column), config.text_column),
        hard_negatives=read_negatives(values, config.hard_negatives_column),
        options=options,
        extra=read_extra(values, config.template_columns),
        gold=tuple(list_golds(gold, options)),
    )


def read_negatives(values: Mapping[str, Any], columns: str | Sequence[str] | None) -> tuple[str, ...]:
    """Read the hard negatives of a row: those of a column of lists, or the texts of several columns.

    Raises:
        InvalidRowError: A value cannot be used.
    """
    if isinstance(columns, str):
        return _read_texts(values.get(columns), columns)
    return tuple(text for name in columns or () for text in _read_texts(list_cell(values.get(name)), name))


def read_document(values: Mapping[str, Any], text_column: str, template_columns: Sequence[str] = ()) -> Row:
    """Check the values of a row that is a document alone, about which nothing was asked yet.

    Raises:
        InvalidRowError: A value cannot be used.
    """
    return Row("", "", _read_text(values.get(text_column), text_column), extra=read_extra(values, template_columns))


def read_pair(
    values: Mapping[str, Any], text: str, question: str, scenario: str, template_columns: Sequence[str] = ()
) -> Row:
    """Check the values of a row that is a question and its positive, by the names of their columns.

    Raises:
        InvalidRowError: A value cannot be used.
    """
    return Row(
        _read_text(values.get(question), question),
        _read_optional_text(values.get(scenario), scenario),
        _read_text(values.get(text), text),
        extra=read_extra(values, template_columns),
    )


def read_judged(
    values: Mapping[str, Any], question: str, gold: str, answer: str, template_columns: Sequence[str] = ()
) -> JudgedAnswer:
    """Check the values of a row that is an answer and the gold answer, by their columns' names.

    Raises:
        InvalidRowError: A value cannot be used.
    """
    return JudgedAnswer(
        question=_read_text(values.get(question), question),
        answer=_read_text(values.get(answer), answer),
        extra=read_extra(values, template_columns),
        gold=_read_text(values.get(gold), gold),
    )


def read_extra(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Read the further columns that a template may use: texts, empty where they are null.

    Raises:
        InvalidRowError: A value is no text.
    """
    return {name: _read_optional_text(values.get(name), name) for name in names}


def _read_text(value: Any, name: str) -> str:
    text = _read_optional_text(value, name)
    if not text.strip():
        raise InvalidRowError(f"{name} is {'null' if value is None else 'empty'}; expected a text")
    return text


def _read_optional_text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRowError(f"{name} is of type {type(value).__name__}; expected a text")
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise InvalidRowError(
            f"{name} is not valid Unicode: lone surrogate {value[err.start]!a} at character {err.start}"
        ) from err
    return value


def _read_texts(value: Any, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise InvalidRowError(f"{name} is of type {type(value).__name__}; expected a list of texts")
    return tuple(_read_text(item, f"{name}[{i}]") for i, item in enumerate(value))


def _read_options(value: Any, name: str) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    pairs = pair_options(value)
    if pairs is None:
        raise InvalidRowError(f"{name} is of type {type(value).__name__}; expected up to 26 texts, or texts by letter")
    return tuple((key, _read_text(text, f"{name}[{key!r}]")) for key, text in pairs)
