"""What becomes of a row: the settings of those who let a model write columns.

They know nothing of models, datasets or files; how a model is loaded, decodes and runs is set in `config`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from hf_rare.errors import ConfigError
from hf_rare.settings.base import Config, check_choice, check_setting


@dataclass(frozen=True, kw_only=True)
class WriterConfig(Config):
    """What all settings of a [`ColumnWriter`] share.

    Args:
        template_columns (`list[str]`, *optional*, defaults to none):
            Further input columns that the template may use as placeholders, each a string.
        system_prompt (`str`, *optional*):
            Text of the system message. Models whose chat template has no system role get it in front of the question.
        thought_tags (pair of `str`, *optional*, defaults to `("<think>", "</think>")`):
            What encloses the thought in a completion.
        seed (`int`, *optional*, defaults to 0):
            Seed of all that is drawn, together with the content of each row.
    """

    optional_columns: ClassVar[tuple[str, ...]] = ()
    """Settings that name a column, or none."""

    builtin_templates: ClassVar[tuple[str, ...]] = ()
    """Names that `template` may be. Their files lie in `hf_rare/prompts/jinja`."""

    template: str | Path
    template_columns: tuple[str, ...] = ()
    system_prompt: str | None = None
    thought_tags: tuple[str, str] = ("<think>", "</think>")
    seed: int = 0

    @property
    def attempts(self) -> int:
        """How often a row is tried until its completion will do."""
        return 1

    @property
    def samples_per_attempt(self) -> int:
        """How many completions a row gets at a time."""
        return 1

    def __post_init__(self) -> None:
        for name in self.names():
            if name.endswith("_column"):
                kinds = (str, type(None)) if name in self.optional_columns else str
                check_setting(self, name, kinds, "a column name", lambda value: value != "")
        check_setting(self, "template", (str, Path), "a name, a path or Jinja source", lambda value: str(value) != "")
        object.__setattr__(self, "template", str(self.template))
        for name in ("template_columns", "thought_tags", "answer_tags"):
            if name not in self.names():
                continue
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, Iterable):
                raise ConfigError(f"{name}={value!r} is not a list of strings.")
            object.__setattr__(self, name, tuple(value))
            is_right = _is_list_of_texts if name == "template_columns" else _is_pair_of_texts
            expected = "a list of strings" if name == "template_columns" else "a pair: the opening and the closing tag"
            check_setting(self, name, tuple, expected, is_right)
        check_setting(self, "system_prompt", (str, type(None)), "a text, or None for none", lambda value: value != "")
        check_setting(self, "seed", int, "a whole number")


@dataclass(frozen=True, kw_only=True)
class DistillConfig(WriterConfig):
    """What becomes of a row: its columns, its prompt, and how the completion is read.

    Args:
        text_column (`str`, *optional*, defaults to `"text"`):
            Column with the positive document, a string.
        question_column (`str`, *optional*, defaults to `"question"`):
            Column with the question, a string.
        scenario_column (`str`, *optional*, defaults to `"scenario"`):
            Column with the situation the question is about, a string; empty or null where there is none. `None`
            where no row has one.
        hard_negatives_column (`str`, *optional*, defaults to `"hard_negatives"`):
            Column with the hard negatives, a list of strings; empty or null where there are none.
        options_column (`str`, *optional*, defaults to `"options"`):
            Column with the choices of a multiple-choice question, a list of strings or a struct of key to string. The
            key, such as E or 3, is the letter of the option in the prompt, and what an answer names it by.
            Read only when the template uses `options`, or a gold answer is checked that may be one of them.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Column for the reasoning trace, and prefix of the other new columns (`reasoning_answer`, ...).
        columns (`"full"` or `"minimal"`, *optional*, defaults to `"full"`):
            `"minimal"` adds the reasoning trace alone.
        template (`str` or `Path`, *optional*, defaults to `"rare"`):
            Prompt template: `"rare"` (weigh the documents, cite them, reason, answer), `"rare-qa"` (multiple choice
            with `<think>` and `<answer>`), `"plain"` (question and documents only), the path of a Jinja file, or Jinja
            source. Placeholders: `question`, `scenario`, `documents` (each with `number` and `text`), `options`
            (each with `letter` and `text`), `thought_tags`, `answer_tags`, and the names in `template_columns`.
        answer_tags (pair of `str`, *optional*, defaults to `("<answer>", "</answer>")`):
            What encloses the final answer in a completion.
        require_answer (`bool`, *optional*):
            Whether a completion without an answer is `unparsed`. By default only for `template="rare-qa"`.
        num_samples (`int`, *optional*, defaults to 1):
            Completions for each row. From 2 on, the columns that differ between samples (trace, answer, status, error,
            completion tokens) hold lists of this length; see `expand`.
        expand (`bool`, *optional*, defaults to `False`):
            One row per sample instead of lists: every row is repeated `num_samples` times, with plain columns and the
            number of the sample, from 0, in `reasoning_sample`. Input columns are repeated too, so that no id is lost:
            `map(remove_columns=...)` cannot drop them; `distill_fn.apply(ds, remove_columns=...)` can.
        gold_column (`str`, *optional*):
            Column with the right answer, in whatever form `check` understands: a text, a number, a boolean, a date, a
            class label (its name, or the number of an option from 0), or a list of right answers. With it, traces are
            drawn until one has this answer (rejection sampling), and `reasoning_verdict` says of each trace whether it
            is `right`, `wrong` or `unchecked` (a row without a gold answer).
        check (`str`, *optional*, defaults to `"auto"`):
            How an answer is compared with the gold one: `"choice"`, `"number"`, `"text"`, `"math"`, or `"auto"`; see
            [`check_answer`].
        max_attempts (`int`, *optional*):
            How often a row is tried until a trace is `ok` and, with `gold_column`, has the right answer. By default 8
            with `gold_column` (RARE, section 3), else 1.
        fallback (`"first"`, `"last"` or `"none"`, *optional*, defaults to `"first"`):
            Which trace a row keeps when no attempt will do: the first (RARE), the last, or none, as a row that failed.
        keep_attempts (`bool`, *optional*, defaults to `False`):
            Whether all attempts of a row are kept, as with `num_samples`, instead of one: what preference training
            learns from.
    """

    optional_columns = ("scenario_column", "gold_column")
    builtin_templates = ("rare", "rare-qa", "plain")
    templates_with_answer: ClassVar[tuple[str, ...]] = ("rare-qa",)
    """Built-in templates that ask for the answer in tags, so that a completion without one is `unparsed`."""

    text_column: str = "text"
    question_column: str = "question"
    scenario_column: str | None = "scenario"
    hard_negatives_column: str = "hard_negatives"
    options_column: str = "options"
    output_column: str = "reasoning"
    columns: Literal["full", "minimal"] = "full"
    template: str | Path = "rare"
    answer_tags: tuple[str, str] = ("<answer>", "</answer>")
    require_answer: bool | None = None
    num_samples: int = 1
    expand: bool = False
    gold_column: str | None = None
    check: Literal["auto", "choice", "number", "text", "math"] = "auto"
    max_attempts: int | None = None
    fallback: Literal["first", "last", "none"] = "first"
    keep_attempts: bool = False

    @property
    def attempts(self) -> int:
        """How often a row is tried until its trace will do."""
        return self.max_attempts or (8 if self.gold_column else 1)

    @property
    def samples_per_attempt(self) -> int:
        """How many completions a row gets at a time."""
        return self.num_samples

    @property
    def needs_answer(self) -> bool:
        """Whether a completion without an answer is `unparsed`."""
        return self.template in self.templates_with_answer if self.require_answer is None else self.require_answer

    @property
    def has_many_traces(self) -> bool:
        """Whether a row may have several traces."""
        return self.num_samples > 1 or self.keep_attempts

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "columns", ("full", "minimal"))
        check_choice(self, "check", ("auto", "choice", "number", "text", "math"))
        check_choice(self, "fallback", ("first", "last", "none"))
        check_setting(self, "require_answer", (bool, type(None)), "True, False or None")
        check_setting(self, "num_samples", int, "a number of at least 1", lambda value: value >= 1)
        if self.max_attempts is not None:
            check_setting(self, "max_attempts", int, "a number of at least 1, or None", lambda value: value >= 1)
        for name in ("expand", "keep_attempts"):
            check_setting(self, name, bool, "True or False")
        if self.num_samples > 1 and self.attempts > 1:
            raise ConfigError(
                f"num_samples={self.num_samples} and {self.attempts} attempts (gold_column, max_attempts) do not go "
                "together. Draw a fixed number of traces and check them with `verify`, or draw until one will do and "
                "pass keep_attempts=True."
            )


@dataclass(frozen=True, kw_only=True)
class ItemConfig(WriterConfig):
    """What the settings of those share that ask for something small in JSON, which may take several attempts.

    Args:
        columns (`"full"` or `"minimal"`, *optional*, defaults to `"full"`):
            `"minimal"` adds what was asked for alone, without the columns that say how it came about.
        max_attempts (`int`, *optional*, defaults to 3):
            How often a row is tried until there is all that was asked for (ReasonIR and the RARE operators: 3). What
            earlier attempts have brought counts too.
    """

    placeholders: ClassVar[tuple[str, ...]] = ()
    """What the template may use, beside the names in `template_columns`."""

    columns: Literal["full", "minimal"] = "full"
    max_attempts: int = 3

    @property
    def attempts(self) -> int:
        """How often a row is tried until there is all that was asked for."""
        return self.max_attempts

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "columns", ("full", "minimal"))
        check_setting(self, "max_attempts", int, "a number of at least 1", lambda value: value >= 1)


@dataclass(frozen=True, kw_only=True)
class QuestionConfig(ItemConfig):
    """What is asked about a document, and where it goes.

    Args:
        text_column (`str`, *optional*, defaults to `"text"`):
            Column with the document, a string.
        question_column (`str`, *optional*, defaults to `"question"`):
            Column for the question, and prefix of the other new columns (`question_status`, ...).
        scenario_column (`str`, *optional*, defaults to `"scenario"`):
            Column for the situation that the question is about; empty where the model gives none.
        template (`str` or `Path`, *optional*, defaults to `"questions"`):
            Prompt template: `"questions"` (questions that take reasoning, each with a situation, as JSON), the path of
            a Jinja file, or Jinja source. Placeholders: `document`, `num_questions`, and the names in
            `template_columns`.
        num_questions (`int`, *optional*, defaults to 1):
            Questions about each document. From 2 on, question and scenario hold lists of at most this length; see
            `expand`.
        expand (`bool`, *optional*, defaults to `False`):
            One row per question instead of lists, with its number, from 0, in `question_sample`. A document without a
            question keeps one row. Input columns are repeated too, as with `ReasonDistiller`.
    """

    builtin_templates = ("questions",)
    placeholders = ("document", "num_questions")

    text_column: str = "text"
    question_column: str = "question"
    scenario_column: str = "scenario"
    template: str | Path = "questions"
    num_questions: int = 1
    expand: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(self, "expand", bool, "True or False")
        check_setting(self, "num_questions", int, "a number of at least 1", lambda value: value >= 1)


@dataclass(frozen=True, kw_only=True)
class NegativeConfig(ItemConfig):
    """What a model is given to write hard negatives, and where they go.

    Args:
        text_column (`str`, *optional*, defaults to `"text"`):
            Column with the positive document, a string.
        question_column (`str`, *optional*, defaults to `"question"`):
            Column with the question, a string.
        scenario_column (`str`, *optional*, defaults to `"scenario"`):
            Column with the situation the question is about, a string; empty or null where there is none.
        hard_negatives_column (`str`, *optional*, defaults to `"hard_negatives"`):
            Column for the hard negatives, a list of strings, and prefix of the other new columns.
        template (`str` or `Path`, *optional*, defaults to `"hard-negatives"`):
            Prompt template: `"hard-negatives"`, the path of a Jinja file, or Jinja source. Placeholders: `question`,
            `scenario`, `document` (the positive), `num_negatives`, and the names in `template_columns`.
        num_negatives (`int`, *optional*, defaults to 1):
            Hard negatives of each row (ReasonIR: 1).
        duplicate_threshold (`float`, *optional*, defaults to 0.5):
            A text that is the positive again is no negative; see
            [`MiningConfig`].
    """

    builtin_templates = ("hard-negatives",)
    placeholders = ("question", "scenario", "document", "num_negatives")

    text_column: str = "text"
    question_column: str = "question"
    scenario_column: str = "scenario"
    hard_negatives_column: str = "hard_negatives"
    template: str | Path = "hard-negatives"
    num_negatives: int = 1
    duplicate_threshold: float | None = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(self, "num_negatives", int, "a number of at least 1", lambda value: value >= 1)
        if self.duplicate_threshold is not None:
            expected = "a number above 0 and up to 1, or None"
            check_setting(self, "duplicate_threshold", (int, float), expected, lambda value: 0 < value <= 1)


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(ItemConfig):
    """What a judge compares, and where its verdict goes.

    Args:
        question_column (`str`, *optional*, defaults to `"question"`):
            Column with the question, a string.
        gold_column (`str`, *optional*, defaults to `"gold"`):
            Column with the right answer, a string.
        answer_column (`str`, *optional*, defaults to `"answer"`):
            Column with the answer that is judged, a string.
        output_column (`str`, *optional*, defaults to `"verdict"`):
            Column for the verdict, and prefix of the other new columns.
        template (`str` or `Path`, *optional*, defaults to `"judge"`):
            Prompt template: `"judge"`, the path of a Jinja file, or Jinja source. Placeholders: `question`, `gold`,
            `answer`, and the names in `template_columns`.
    """

    builtin_templates = ("judge",)
    placeholders = ("question", "gold", "answer")

    question_column: str = "question"
    gold_column: str = "gold"
    answer_column: str = "answer"
    output_column: str = "verdict"
    template: str | Path = "judge"


def _is_list_of_texts(value: tuple[Any, ...]) -> bool:
    return all(isinstance(item, str) and item for item in value)


def _is_pair_of_texts(value: tuple[Any, ...]) -> bool:
    return len(value) == 2 and _is_list_of_texts(value)
