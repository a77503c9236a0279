"""From an answer and the gold answer to the messages that ask whether they agree: plain values in and out."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hf_rare.prompts import Prompt
from hf_rare.rows import Row
from hf_rare.templates import Template, read_template_source
from hf_rare.writer_config import JudgeConfig

BUILTIN_JUDGE_TEMPLATES = ("judge",)


@lru_cache(maxsize=16)
def get_judge_template(config: JudgeConfig) -> Template:
    """Give the compiled template, compiled once per process.

    Raises:
        TemplateError: It cannot be found, does not compile, or uses an unknown placeholder.
    """
    sample = Row("text", "", "text", extra=dict.fromkeys(config.template_columns, ""), gold=("text",))
    source = read_template_source(str(config.template), BUILTIN_JUDGE_TEMPLATES)
    return Template(source, _fill_in(sample, sample.positive), "Every value is a text.")


def build_judge_prompt(row: Row, config: JudgeConfig, shortened: Mapping[int, str]) -> Prompt:
    """Assemble the prompt that asks a judge.

    Args:
        row ([`Row`]):
            The question, the gold answer, and the answer as `positive`.
        config ([`JudgeConfig`]):
            Template and system prompt.
        shortened (`Mapping[int, str]`):
            Under 0 a text that stands in for the answer, where it is too long.

    Returns:
        [`Prompt`]: its messages.

    Raises:
        TemplateError: The template cannot be filled in.
    """
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    content = get_judge_template(config).render(_fill_in(row, shortened.get(0, row.positive)))
    return Prompt([*system, {"role": "user", "content": content}], [0], len(shortened))


def _fill_in(row: Row, answer: str) -> dict[str, Any]:
    return {**row.extra, "question": row.question, "gold": " or ".join(row.gold), "answer": answer}
