"""From a row to the messages of its prompt: documents in a shuffled order, numbered, in a template.

Plain values in, plain values out: no model, no tokenizer, no dataset. `budget` shortens the documents of a prompt that
is too long.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from hf_rare.prompts.templates import Template, keep_source, read_template_source
from hf_rare.rows.column_types import Kind, kinds_of_negatives
from hf_rare.rows.hard_negatives import name_columns
from hf_rare.rows.row import JudgedAnswer, Row, derive_seed, read_row
from hf_rare.settings.writers import DistillConfig

_HINT = (
    "Documents have 'number' and 'text', options have 'letter' and 'text', tags are pairs, everything else is a text."
)

_DOCUMENT = "a document that is like no other text of a template"


@dataclass(frozen=True)
class Prompt:
    """A row as the teacher gets it.

    Args:
        messages (`list[dict[str, str]]`): the messages, each with `role` and `content`.
        document_order (`list[int]`): the document at each place; 0 is the positive, i the i-th hard negative.
        documents_truncated (`int`): how many documents were shortened.
    """

    messages: list[dict[str, str]]
    document_order: list[int]
    documents_truncated: int = 0


R = TypeVar("R", bound=Row | JudgedAnswer)


class PromptBuilder(ABC, Generic[R]):
    """Reads the rows of one writer and makes their prompts.

    Attributes:
        columns (`list[str]`): the columns that are read and must be there.
        optional_columns (`list[str]`): the columns that are read where they are there.
        kinds (`Mapping[str, Kind]`): what columns are read for, of those whose type says whether they can be.
    """

    columns: list[str]
    kinds: Mapping[str, Kind] = MappingProxyType({})
    optional_columns: Sequence[str] = ()

    @abstractmethod
    def read(self, values: Mapping[str, Any]) -> R:
        """Check the values of a row, by column name.

        Raises:
            InvalidRowError: A value cannot be used; the message names the column and the reason.
        """

    @abstractmethod
    def build(self, row: R, shortened: Mapping[int, str]) -> Prompt:
        """Make the prompt of a row, with texts that stand in for some of its `documents`, by their index.

        Raises:
            TemplateError: The template cannot be filled in.
        """


class DistillPrompts(PromptBuilder[Row]):
    """The prompts of a distiller.

    Args:
        config ([`DistillConfig`]): columns, template, system prompt and seed.

    Raises:
        TemplateError: The template cannot be used.
    """

    def __init__(self, config: DistillConfig) -> None:
        gold = [config.gold_column] if config.gold_column else []
        self.config = config
        self.columns = list(dict.fromkeys([*input_columns(config), *gold]))
        self.kinds = {name: kind for name, kind in input_kinds(config).items() if name in self.columns}
        self.optional_columns = [config.options_column] if gold else []  # a gold answer may be one of them

    def read(self, values: Mapping[str, Any]) -> Row:
        """Check the values of a row, by column name."""
        return read_row(values, self.config)

    def build(self, row: Row, shortened: Mapping[int, str]) -> Prompt:
        """Make the prompt of a row, with texts that stand in for some of its documents: 0 is the positive."""
        return build_prompt(row, self.config, shortened)


def get_template(config: DistillConfig) -> Template:
    """Return the compiled template of a distiller, compiled once per process and source.

    Raises:
        TemplateError: It cannot be found, does not compile, or uses an unknown placeholder.
    """
    return _compile(keep_source(config))


@lru_cache(maxsize=16)
def _compile(config: DistillConfig) -> Template:
    sample = _make_sample(config)
    source = read_template_source(str(config.template), config.builtin_templates)
    return Template(source, _fill_in(sample, sample.documents, config), _HINT)


def _make_sample(config: DistillConfig) -> Row:
    """Make a row that has something for each placeholder."""
    return Row("text", "text", "text", ("text",), (("A", "text"),), dict.fromkeys(config.template_columns, ""))


def _fill_in(row: Row, documents: Sequence[str | None], config: DistillConfig) -> dict[str, Any]:
    """Return the values of the placeholders."""
    return {
        **row.extra,
        "question": row.question,
        "scenario": row.scenario,
        "documents": [
            {"number": number, "text": text} for number, text in enumerate(documents, start=1) if text is not None
        ],
        "options": [{"letter": letter, "text": text} for letter, text in row.options],
        "thought_tags": config.thought_tags,
        "answer_tags": config.answer_tags,
    }


def input_columns(config: DistillConfig) -> list[str]:
    """List the columns that the prompt of a row is made of: those that the template uses."""
    used = get_template(config).placeholders
    names = [config.text_column, config.question_column, *name_columns(config.hard_negatives_column)]
    names += [config.scenario_column] if config.scenario_column and "scenario" in used else []
    names += [config.options_column] if "options" in used else []
    return list(dict.fromkeys([*names, *config.template_columns]))


def input_kinds(config: DistillConfig) -> dict[str, Kind]:
    """Say what the columns of texts and of hard negatives are read for."""
    names = [config.text_column, config.question_column, config.scenario_column, *config.template_columns]
    texts: dict[str, Kind] = dict.fromkeys(filter(None, names), "texts")
    return texts | kinds_of_negatives(config.hard_negatives_column)


def shuffle_documents(row: Row, seed: int) -> list[int]:
    """Order the documents of a row by a hash of (seed, content of the row, document).

    Returns:
        `list[int]`: a permutation of 0 (the positive) to the number of hard negatives.
    """
    digest = row.digest(seed)
    return sorted(range(len(row.documents)), key=lambda document: derive_seed(digest, "document", document))


def build_prompt(row: Row, config: DistillConfig, shortened: Mapping[int, str] | None = None) -> Prompt:
    """Assemble the prompt of a row.

    Args:
        row ([`Row`]):
            The row.
        config ([`DistillConfig`]):
            Template, system prompt and seed.
        shortened (`Mapping[int, str]`, *optional*):
            Texts that stand in for documents of the row, by document: 0 is the positive.

    Returns:
        [`Prompt`]: its messages, and where the documents went.

    Raises:
        TemplateError: The template cannot be filled in.
    """
    shortened = shortened or {}
    order = shuffle_documents(row, config.seed)
    documents = [shortened.get(i, row.documents[i]) for i in order]
    return Prompt(build_messages(row, documents, config), order, len(shortened))


def build_messages(row: Row, documents: Sequence[str | None], config: DistillConfig) -> list[dict[str, str]]:
    """Write the messages of a row's prompt.

    Args:
        row ([`Row`]):
            The row.
        documents (`Sequence[str]`):
            Its documents, in the order in which they are numbered; `None` for one that is left out, so that the
            others keep their numbers.
        config ([`DistillConfig`]):
            Template and system prompt.

    Returns:
        `list[dict[str, str]]`: the messages, each with `role` and `content`.

    Raises:
        TemplateError: The template cannot be filled in.
    """
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    content = get_template(config).render(_fill_in(row, documents, config))
    return [*system, {"role": "user", "content": content}]


def counts_by_itself(config: DistillConfig) -> bool:
    """Tell whether a template numbers documents by a count of its own, which knows of no gaps.

    Where a document is left out, those behind it would get other numbers than the trace cites them by. It is told by
    what is written: the same for documents behind a gap, and something else before each of three equal ones.
    """
    two, behind_gap, three = (
        build_messages(_make_sample(config), documents, config)[-1]["content"]
        for documents in ([_DOCUMENT] * 2, [None, *[_DOCUMENT] * 2], [_DOCUMENT] * 3)
    )
    if two != behind_gap:
        return False
    pieces = three.split(_DOCUMENT)
    if len(pieces) != 4:  # documents stand in it several times, or not all of them
        source = get_template(config).source
        return "loop.index" in source or re.search(r"documents\s*\[", source) is not None
    return pieces[1] != pieces[2]
