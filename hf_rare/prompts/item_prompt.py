"""From a row to the messages that ask for questions, hard negatives or a verdict: plain values in, plain values out.

Such a prompt has one document: the positive, or the answer that is judged. It alone is shortened.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from hf_rare.prompts.prompt import Prompt, PromptBuilder, R
from hf_rare.prompts.templates import Template, read_template_source
from hf_rare.rows.row import JudgedAnswer, Row
from hf_rare.settings.writers import ItemConfig


class ItemPrompts(PromptBuilder[R]):
    """The prompts of those who ask for something small in JSON.

    Args:
        config ([`ItemConfig`]): template, system prompt and further columns.
        columns (`Sequence[str]`): the columns that are read, beside the further ones.
        read (`Callable`): checks the values of a row; it raises [`InvalidRowError`].

    Raises:
        TemplateError: The template cannot be used.
    """

    def __init__(self, config: ItemConfig, columns: Sequence[str], read: Callable[[Mapping[str, Any]], R]) -> None:
        get_item_template(config)  # a wrong template is found out now
        self.config = config
        self.columns = list(dict.fromkeys([*columns, *config.template_columns]))
        self.kinds = dict.fromkeys(self.columns, "texts")
        self._read = read

    def read(self, values: Mapping[str, Any]) -> R:
        """Check the values of a row, by column name."""
        return self._read(values)

    def build(self, row: R, shortened: Mapping[int, str]) -> Prompt:
        """Make the prompt of a row; under 0 a text may stand in for its document."""
        return build_item_prompt(row, self.config, shortened)


@lru_cache(maxsize=16)
def get_item_template(config: ItemConfig) -> Template:
    """Return the compiled template, compiled once per process.

    Raises:
        TemplateError: It cannot be found, does not compile, or uses an unknown placeholder.
    """
    sample = _fill_in(config, dict.fromkeys(config.template_columns, ""), dict.fromkeys(config.placeholders, "text"))
    source = read_template_source(str(config.template), config.builtin_templates)
    return Template(source, sample, "Counts are numbers, all else is a text.")


def build_item_prompt(row: Row | JudgedAnswer, config: ItemConfig, shortened: Mapping[int, str]) -> Prompt:
    """Assemble a prompt.

    Args:
        row ([`Row`] or [`JudgedAnswer`]):
            The row.
        config ([`ItemConfig`]):
            Template and system prompt.
        shortened (`Mapping[int, str]`):
            Under 0 a text that stands in for the document, or for the answer, where it is too long.

    Returns:
        [`Prompt`]: its messages.

    Raises:
        TemplateError: The template cannot be filled in.
    """
    document = shortened.get(0, row.documents[0])
    if isinstance(row, JudgedAnswer):
        values = {"question": row.question, "gold": row.gold, "answer": document}
    else:
        values = {"question": row.question, "scenario": row.scenario, "document": document}
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    content = get_item_template(config).render(_fill_in(config, row.extra, values))
    return Prompt([*system, {"role": "user", "content": content}], [0], len(shortened))


def _fill_in(config: ItemConfig, extra: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the placeholders that the settings offer."""
    counts = {name: getattr(config, name) for name in config.placeholders if name.startswith("num_")}
    values = {**texts, **counts}
    return {**extra, **{name: values[name] for name in config.placeholders}}
