"""From a question and its positive to the messages that ask for hard negatives: plain values in, plain values out."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hf_rare.prompts import Prompt
from hf_rare.rows import Row
from hf_rare.templates import Template, read_template_source
from hf_rare.writer_config import NegativeConfig

BUILTIN_NEGATIVE_TEMPLATES = ("hard-negatives",)


@lru_cache(maxsize=16)
def get_negative_template(config: NegativeConfig) -> Template:
    """Give the compiled template, compiled once per process.

    Raises:
        TemplateError: It cannot be found, does not compile, or uses an unknown placeholder.
    """
    sample = Row("text", "text", "text", extra=dict.fromkeys(config.template_columns, ""))
    source = read_template_source(str(config.template), BUILTIN_NEGATIVE_TEMPLATES)
    return Template(source, _fill_in(sample, sample.positive, config), "Every value but num_negatives is a text.")


def build_negative_prompt(row: Row, config: NegativeConfig, shortened: Mapping[int, str]) -> Prompt:
    """Assemble the prompt that asks for hard negatives.

    Args:
        row ([`Row`]):
            Question, scenario and positive.
        config ([`NegativeConfig`]):
            Template and system prompt.
        shortened (`Mapping[int, str]`):
            Under 0 a text that stands in for the positive, where it is too long.

    Returns:
        [`Prompt`]: its messages.

    Raises:
        TemplateError: The template cannot be filled in.
    """
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    content = get_negative_template(config).render(_fill_in(row, shortened.get(0, row.positive), config))
    return Prompt([*system, {"role": "user", "content": content}], [0], len(shortened))


def _fill_in(row: Row, document: str, config: NegativeConfig) -> dict[str, Any]:
    values = {"question": row.question, "scenario": row.scenario, "document": document}
    return {**row.extra, **values, "num_negatives": config.num_negatives}
