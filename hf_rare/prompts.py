"""From a row to the messages of its prompt: documents in a shuffled order, numbered, in a Jinja template.

Plain values in, plain values out: no model, no tokenizer, no dataset. `budget` shortens the documents of a prompt that
is too long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hf_rare.config import DistillConfig
from hf_rare.errors import TemplateError
from hf_rare.rows import Row, derive_seed

BUILTIN_TEMPLATES = ("rare", "rare-qa", "plain")
PLACEHOLDERS = ("question", "scenario", "documents", "options", "thought_tags", "answer_tags")


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


class PromptTemplate:
    """A compiled prompt template.

    Args:
        config ([`DistillConfig`]):
            Names the template, the further columns it may use, and the tags.

    Attributes:
        source (`str`): the Jinja source.
        placeholders (`frozenset[str]`): the placeholders it uses.

    Raises:
        TemplateError: The template cannot be found, does not compile, or uses an unknown placeholder.
    """

    def __init__(self, config: DistillConfig) -> None:
        self._config = config
        self.source = read_template_source(str(config.template))
        environment = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        available = (*PLACEHOLDERS, *config.template_columns)
        try:
            used = jinja2.meta.find_undeclared_variables(environment.parse(self.source))
            self._template = environment.from_string(self.source)
        except jinja2.TemplateSyntaxError as err:
            raise TemplateError(f"The template does not compile: {err.message} (line {err.lineno}).") from err
        if unknown := sorted(used - set(available) - set(environment.globals)):
            raise TemplateError(
                f"The template uses {', '.join(map(repr, unknown))}; available are {', '.join(map(repr, available))}. "
                "Further columns go into template_columns=[...]."
            )
        self.placeholders = frozenset(used & set(available))
        sample = Row("text", "text", "text", ("text",), (("A", "text"),), dict.fromkeys(config.template_columns, ""))
        self.render(sample, sample.documents)  # attributes that do not exist show only now

    def render(self, row: Row, documents: Sequence[str]) -> str:
        """Fill in the template.

        Args:
            row ([`Row`]): the row.
            documents (`Sequence[str]`): the text of its documents in the order in which they are numbered.

        Returns:
            `str`: the text of the user message.

        Raises:
            TemplateError: The template asks a value for something that it does not have, or for something unsafe.
        """
        values: dict[str, Any] = {
            **row.extra,
            "question": row.question,
            "scenario": row.scenario,
            "documents": [{"number": number, "text": text} for number, text in enumerate(documents, start=1)],
            "options": [{"letter": letter, "text": text} for letter, text in row.options],
            "thought_tags": self._config.thought_tags,
            "answer_tags": self._config.answer_tags,
        }
        try:
            return self._template.render(values).strip()
        except Exception as err:  # a template can raise anything that its filters and tests raise
            raise TemplateError(
                f"The template cannot be filled in: {err}. Documents have 'number' and 'text', options have 'letter' "
                "and 'text', tags are pairs, everything else is a text."
            ) from err


def read_template_source(template: str) -> str:
    """Find the Jinja source that `template` means: a built-in name, the source itself, or the path of a file.

    Raises:
        TemplateError: It is none of these.
    """
    if template in BUILTIN_TEMPLATES:
        return resources.files("hf_rare").joinpath("templates", f"{template}.jinja").read_text(encoding="utf-8")
    if "{{" in template or "{%" in template:
        return template
    try:
        source = Path(template).read_text(encoding="utf-8")
    except (OSError, ValueError) as err:
        raise TemplateError(
            f"template={template!r} is neither a built-in template ({', '.join(BUILTIN_TEMPLATES)}), nor Jinja "
            f"source, nor a file that can be read ({err})."
        ) from err
    if "{{" not in source and "{%" not in source:
        raise TemplateError(f"The template file {template!r} has no placeholder, such as {{{{ question }}}}.")
    return source


@lru_cache(maxsize=16)
def get_template(config: DistillConfig) -> PromptTemplate:
    """Give the compiled [`PromptTemplate`], compiled once per process."""
    return PromptTemplate(config)


def input_columns(config: DistillConfig) -> list[str]:
    """List the columns that the prompt of a row is made of: those that the template uses."""
    used = get_template(config).placeholders
    names = [config.text_column, config.question_column, config.hard_negatives_column]
    names += [config.scenario_column] if "scenario" in used else []
    names += [config.options_column] if "options" in used else []
    return list(dict.fromkeys([*names, *config.template_columns]))


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


def build_messages(row: Row, documents: Sequence[str], config: DistillConfig) -> list[dict[str, str]]:
    """Write the messages of a row's prompt.

    Args:
        row ([`Row`]):
            The row.
        documents (`Sequence[str]`):
            Its documents, in the order in which they are numbered.
        config ([`DistillConfig`]):
            Template and system prompt.

    Returns:
        `list[dict[str, str]]`: the messages, each with `role` and `content`.

    Raises:
        TemplateError: The template cannot be filled in.
    """
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    return [*system, {"role": "user", "content": get_template(config).render(row, documents)}]
