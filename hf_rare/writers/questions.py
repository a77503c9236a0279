"""Questions about documents: what a document is asked for before negatives are mined and a teacher reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets

from hf_rare.prompts.item_prompt import ItemPrompts
from hf_rare.prompts.json_items import find_items
from hf_rare.rows.columns import COMPLETION_TOKENS, INTEGER, ITEM_COLUMNS, SAMPLE, STRING, name_features
from hf_rare.rows.row import Row, read_document
from hf_rare.settings.writers import QuestionConfig
from hf_rare.text import split_words
from hf_rare.writers.items import Found, ItemWriter
from hf_rare.writers.result import Layout, Result


@dataclass(frozen=True)
class Question:
    """A question and the situation that it is about."""

    question: str
    scenario: str = ""


class QueryGenerator(ItemWriter[QuestionConfig, Question]):
    """Writes a question, and the scenario it is about, for each document: pass it to `map(query_fn, batched=True)`.

    The model is asked for JSON. It is read leniently: with a thought before it, in fences, with text around it, under
    other names of questions, as `hard_query` is one, and not quite valid; keywords, sources, drafts and refusals
    beside them are no questions. A document that yields too few questions is tried again with another seed, and the
    questions of all attempts count. New columns, by default all (see [`QuestionConfig`]):

    - `question`, `scenario` (`str`, or lists of them with `num_questions`): empty where there is none, never null.
    - `question_status` (`str`): `ok` with at least one question, or else `unparsed`, `truncated`, `invalid_input`,
      `prompt_too_long`, `failed`.
    - `question_error` (`str`): why it is not `ok`, or how many questions are missing.
    - `question_completion_tokens` (`int64`): tokens generated in all attempts; with `expand` in the first row of a
      document, and 0 in its others.
    - `question_prompt_tokens` (`int64`): tokens of the prompt.
    - `question_attempts` (`int64`): how often the document was tried.

    Everything else is as with [`ReasonDistiller`]: journal, limits, statuses, many
    processes, and texts that do not depend on the batch.

    Args:
        generator ([`Generator`]):
            What writes: a [`TransformersGenerator`], or another [`Generator`].
        **settings:
            The settings of [`QuestionConfig`] and
            [`RunConfig`].

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        TemplateError: The template cannot be used.

    Example:
        >>> query_fn = QueryGenerator.from_pretrained("Qwen/Qwen3-8B", num_questions=3, expand=True)
        >>> questions = corpus.map(query_fn, batched=True)
    """

    config_type = QuestionConfig
    kind = "questions"
    doing = "Asking"

    @property
    def output_prefix(self) -> str:
        """How the names of the new columns but the scenario's begin."""
        return self.config.question_column

    @property
    def output_features(self) -> datasets.Features:
        """The new columns and their types, in order."""
        config, prefix = self.config, self.config.question_column
        text = STRING if config.num_questions == 1 or config.expand else datasets.List(STRING)
        features = {config.question_column: text, config.scenario_column: text}
        if config.columns == "full":
            features |= name_features(prefix, ITEM_COLUMNS)
        if config.expand:
            features[prefix + SAMPLE] = INTEGER
        return datasets.Features(features)

    @property
    def items_wanted(self) -> int:
        """How many questions each document should have."""
        return self.config.num_questions

    @property
    def item_name(self) -> str:
        """What several of them are called, in errors."""
        return "questions"

    def _make_prompts(self) -> ItemPrompts[Row]:
        column, extra = self.config.text_column, self.config.template_columns
        return ItemPrompts(self.config, [column], lambda values: read_document(values, column, extra))

    def _parse(self, text: str, row: Row, is_cut: bool) -> list[Question]:
        return parse_questions(text, is_cut)

    def _key(self, item: Question) -> str:
        return f"{item.scenario} {item.question}"

    def _lay_out(self, results: Sequence[Result[Found[Question]]]) -> Layout:
        config, rows, repeats = self.config, list[dict[str, Any]](), list[int]()
        settled = [self._settle(result) for result in results]
        for found, own_values in settled:
            values = {config.question_column + ending: value for ending, value in own_values.items()}
            items = found.items
            if config.num_questions > 1 and not config.expand:
                questions, scenarios = [item.question for item in items], [item.scenario for item in items]
                rows.append({**values, config.question_column: questions, config.scenario_column: scenarios})
                continue
            repeats.append(len(items) or 1)
            for number, item in enumerate(items or [Question("")]):
                own = {config.question_column: item.question, config.scenario_column: item.scenario}
                rows.append({**values, **own, config.question_column + SAMPLE: number})
                values[config.question_column + COMPLETION_TOKENS] = 0  # so that their sum is what was generated
        columns = {name: [row[name] for row in rows] for name in self.output_features}
        return Layout(columns, [found for found, _ in settled], repeats if config.expand else None)


def make_question_schema(num_questions: int = 1, max_length: int | None = None) -> dict[str, Any]:
    """Make the JSON schema of what the built-in template asks for, for decoding that is held to it.

    Args:
        num_questions (`int`, *optional*, defaults to 1):
            How many questions there must be.
        max_length (`int`, *optional*):
            Most characters of a question, and of a scenario.

    Returns:
        `dict`: the schema.

    Example:
        >>> schema = make_question_schema(max_length=800)
        >>> query_fn = QueryGenerator.from_pretrained("Qwen/Qwen3-8B", json_schema=schema)
    """
    text: dict[str, Any] = {"type": "string", "minLength": 1}
    if max_length is not None:
        text["maxLength"] = max_length
    question = {
        "type": "object",
        "properties": {"scenario": text, "question": text},
        "required": ["scenario", "question"],
        "additionalProperties": False,
    }
    questions = {"type": "array", "items": question, "minItems": num_questions, "maxItems": num_questions}
    return {
        "type": "object",
        "properties": {"questions": questions},
        "required": ["questions"],
        "additionalProperties": False,
    }


def parse_questions(text: str, is_cut: bool = False) -> list[Question]:
    """Find the questions in what a model wrote.

    Args:
        text (`str`):
            The text, without the thought.
        is_cut (`bool`, *optional*, defaults to `False`):
            Whether its end is missing: then the last question is left out where it is not whole.

    Returns:
        `list[Question]`: the questions, in order; those without any word are left out.
    """
    questions = []
    for item in find_items(text, ("question", "query"), is_cut):
        values = item if isinstance(item, Mapping) else {"question": item}
        question = next(value for name in ("question", "query") if isinstance(value := values.get(name), str))
        scenario = next((values[name] for name in ("scenario", "situation") if values.get(name)), "")
        if split_words(question):  # and not the dots of the prompt
            questions.append(Question(question.strip(), scenario.strip() if isinstance(scenario, str) else ""))
    return questions
