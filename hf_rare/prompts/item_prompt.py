"""From a row to the messages that ask for questions, hard negatives or a verdict: plain values in, plain values out.

Such a prompt has one document: the positive, or the answer that is judged. It alone is shortened.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hf_rare.prompts.prompt import Prompt
from hf_rare.prompts.templates import Template, read_template_source
from hf_rare.rows.row import Row
from hf_rare.settings.writers import ItemConfig


@lru_cache(maxsize=16)
def get_item_template(config: ItemConfig) -> Template:
    """Give the compiled template, compiled once per process.

    Raises:
        TemplateError: It cannot be found, does not compile, or uses an unknown placeholder.
    """
    sample = Row("text", "text", "text", extra=dict.fromkeys(config.template_columns, ""), gold=("text",))
    source = read_template_source(str(config.template), config.builtin_templates)
    return Template(source, _fill_in(sample, sample.positive, config), "Counts are numbers, all else is a text.")


def build_item_prompt(row: Row, config: ItemConfig, shortened: Mapping[int, str]) -> Prompt:
    """Assemble a prompt.

    Args:
        row ([`Row`]):
            The row. Its `positive` is the document, or the answer that is judged.
        config ([`ItemConfig`]):
            Template and system prompt.
        shortened (`Mapping[int, str]`):
            Under 0 a text that stands in for the document, where it is too long.

    Returns:
        [`Prompt`]: its messages.

    Raises:
        TemplateError: The template cannot be filled in.
    """
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    content = get_item_template(config).render(_fill_in(row, shortened.get(0, row.positive), config))
    return Prompt([*system, {"role": "user", "content": content}], [0], len(shortened))


def _fill_in(row: Row, document: str, config: ItemConfig) -> dict[str, Any]:
    """Give the values of the placeholders that the settings offer."""
    values = {
        "question": row.question,
        "scenario": row.scenario,
        "document": document,
        "answer": document,
        "gold": " or ".join(row.gold),
    }
    counts = {name: getattr(config, name) for name in config.placeholders if name.startswith("num_")}
    return {**row.extra, **{name: (values | counts)[name] for name in config.placeholders}}
