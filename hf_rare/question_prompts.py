"""From a document to the messages that ask for questions about it: plain values in, plain values out."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hf_rare.prompts import Prompt
from hf_rare.rows import Row
from hf_rare.templates import Template, read_template_source
from hf_rare.writer_config import QuestionConfig

BUILTIN_QUESTION_TEMPLATES = ("questions",)


@lru_cache(maxsize=16)
def get_question_template(config: QuestionConfig) -> Template:
    """Give the compiled template, compiled once per process.

    Raises:
        TemplateError: It cannot be found, does not compile, or uses an unknown placeholder.
    """
    sample = Row("", "", "text", extra=dict.fromkeys(config.template_columns, ""))
    source = read_template_source(str(config.template), BUILTIN_QUESTION_TEMPLATES)
    return Template(source, _fill_in(sample, sample.positive, config), "Every value but num_questions is a text.")


def build_question_prompt(row: Row, config: QuestionConfig, shortened: Mapping[int, str]) -> Prompt:
    """Assemble the prompt that asks for questions about a document.

    Args:
        row ([`Row`]):
            The document, as `positive`.
        config ([`QuestionConfig`]):
            Template and system prompt.
        shortened (`Mapping[int, str]`):
            Under 0 a text that stands in for the document, where it is too long.

    Returns:
        [`Prompt`]: its messages.

    Raises:
        TemplateError: The template cannot be filled in.
    """
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    content = get_question_template(config).render(_fill_in(row, shortened.get(0, row.positive), config))
    return Prompt([*system, {"role": "user", "content": content}], [0], len(shortened))


def _fill_in(row: Row, document: str, config: QuestionConfig) -> dict[str, Any]:
    return {**row.extra, "document": document, "num_questions": config.num_questions}
