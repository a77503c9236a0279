"""What becomes of a row: the settings of those who let a model write columns.

They know nothing of models, datasets or files; how a model is loaded, decodes and runs is set in `generation` and
`run`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from hf_rare.errors import ConfigError
from hf_rare.settings.base import Config
from hf_rare.settings.kinds import AtLeastOne, ColumnName, ColumnNames, Fraction, TagPair, TemplateText, Text, Texts

Check = Literal["auto", "choice", "number", "text", "math"]
"""How an answer is compared with the gold one."""


OF_ROWS = (
    "text_column",
    "question_column",
    "scenario_column",
    "hard_negatives_column",
    "options_column",
    "output_column",
)
"""Settings of a distiller that name columns of every row."""

OF_TEXT = (
    *OF_ROWS,
    "template",
    "template_columns",
    "system_prompt",
    "thought_tags",
    "answer_tags",
    "seed",
)
"""Settings of a distiller that prompts are made and completions are read by."""


SHOWN_COLUMNS = (
    *("output_column", "text_column", "question_column", "scenario_column", "hard_negatives_column"),
    "gold_column",
)
"""Settings of a distiller that name what is shown of a row."""


@dataclass(frozen=True, kw_only=True)
class WriterConfig(Config):
    """What all settings of a [`ColumnWriter`] share.

    Args:
        template_columns (`list[str]`, *optional*, defaults to none):
            Further input columns that the template may use as placeholders, each a string.
        system_prompt (`str`, *optional*):
            Text of the system message. Models whose chat template has no system role get it in front of the question.
        thought_tags (pair of `str`, *optional*, defaults to `("<think>", "</think>")`):
            What encloses the thought in a completion. The default also stands for the markers of models that write
            others, such as the channels of GPT-OSS and Gemma 4 or the `[THINK]` of Magistral: whichever a completion
            has, or its chat template has opened, are taken, and the log says so. Tags that are set win.
        seed (`int`, *optional*, defaults to 0):
            Seed of all that is drawn, together with the content of each row.
    """

    builtin_templates: ClassVar[tuple[str, ...]] = ()
    """Names that `template` may be. Their files lie in `hf_rare/prompts/jinja`."""

    template: TemplateText
    template_columns: Texts = ()
    system_prompt: Text | None = None
    thought_tags: TagPair = ("<think>", "</think>")
    seed: int = 0

    @property
    def attempts(self) -> int:
        """How often a row is tried until its completion will do."""
        return 1

    @property
    def samples_per_attempt(self) -> int:
        """How many completions a row gets at a time."""
        return 1

    @property
    def asks_for_more(self) -> bool:
        """Whether several attempts were asked for, of which there is one where the model does not sample."""
        return self.attempts > 1

    @property
    def needs_sampling(self) -> str:
        """The setting, with its value, that asks for different completions of a row; empty where none does.

        Attempts that stand in for one that has failed are none of it: without sampling each row has one.
        """
        return ""


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
        hard_negatives_column (`str` or `list[str]`, *optional*, defaults to `"hard_negatives"`):
            Column with the hard negatives, a list of strings; empty or null where there are none. Or several columns,
            each a string, such as `("neg1", "neg2", "neg3")`: cells that are null or empty are left out. `None` where
            no row has any.
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
            completion tokens) hold lists of this length; see `expand`. More than 1 needs a model that samples.
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
            with `gold_column` (RARE, section 3), else 1. Where the model does not sample, further attempts would be
            the same text: with `gold_column` more than 1 is an error, and otherwise each row is tried once.
        fallback (`"first"`, `"last"` or `"none"`, *optional*, defaults to `"first"`):
            Which trace a row keeps when no attempt will do: the first (RARE), the last, or none, as a row that failed.
        keep_attempts (`bool`, *optional*, defaults to `False`):
            Whether all attempts of a row are kept, as with `num_samples`, instead of one: what preference training
            learns from.
    """

    builtin_templates = ("rare", "rare-qa", "plain")
    templates_with_answer: ClassVar[tuple[str, ...]] = ("rare-qa",)
    """Built-in templates that ask for the answer in tags, so that a completion without one is `unparsed`."""

    text_column: ColumnName = "text"
    question_column: ColumnName = "question"
    scenario_column: ColumnName | None = "scenario"
    hard_negatives_column: ColumnNames | None = "hard_negatives"
    options_column: ColumnName = "options"
    output_column: ColumnName = "reasoning"
    columns: Literal["full", "minimal"] = "full"
    template: TemplateText = "rare"
    answer_tags: TagPair = ("<answer>", "</answer>")
    require_answer: bool | None = None
    num_samples: AtLeastOne = 1
    expand: bool = False
    gold_column: ColumnName | None = None
    check: Check = "auto"
    max_attempts: AtLeastOne | None = None
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
    def needs_sampling(self) -> str:
        """The setting that asks for several samples of a row, or for draws until one is right; else empty."""
        if self.num_samples > 1:
            return f"num_samples={self.num_samples}"
        if self.gold_column and (self.max_attempts or 1) > 1:
            return f"max_attempts={self.max_attempts}"
        return "keep_attempts=True" if self.keep_attempts and self.attempts > 1 else ""

    @property
    def has_many_traces(self) -> bool:
        """Whether a row may have several traces."""
        return self.num_samples > 1 or self.keep_attempts

    def __post_init__(self) -> None:
        super().__post_init__()
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
    max_attempts: AtLeastOne = 3

    @property
    def attempts(self) -> int:
        """How often a row is tried until there is all that was asked for."""
        return self.max_attempts

    @property
    def asks_for_more(self) -> bool:
        """Whether attempts were asked for: by default they are there for those who sample."""
        return self.max_attempts != ItemConfig.max_attempts


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

    text_column: ColumnName = "text"
    question_column: ColumnName = "question"
    scenario_column: ColumnName = "scenario"
    template: TemplateText = "questions"
    num_questions: AtLeastOne = 1
    expand: bool = False


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

    text_column: ColumnName = "text"
    question_column: ColumnName = "question"
    scenario_column: ColumnName = "scenario"
    hard_negatives_column: ColumnName = "hard_negatives"
    template: TemplateText = "hard-negatives"
    num_negatives: AtLeastOne = 1
    duplicate_threshold: Fraction | None = 0.5


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

    question_column: ColumnName = "question"
    gold_column: ColumnName = "gold"
    answer_column: ColumnName = "answer"
    output_column: ColumnName = "verdict"
    template: TemplateText = "judge"
