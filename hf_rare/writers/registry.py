"""All writers in one table, for those who meet them by kind: recipes, cards, pipelines, the command line.

A further writer is a class, with its settings, and an entry here.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hf_rare.settings.writers import DistillConfig, JudgeConfig, NegativeConfig, QuestionConfig, WriterConfig


@dataclass(frozen=True, kw_only=True)
class WriterEntry:
    """What is known of a writer without importing it.

    Args:
        module (`str`): the module that has it.
        name (`str`): the name of its class, a [`ColumnWriter`].
        config (`type`): its settings; those of a recipe stand in a section named by the kind.
        variable (`str`): what code on a card calls it.
        title (`str`): what its rows are, as the title of a card.
        description (`str`): what was asked of the model, in a sentence, for a card.
        before (`str`, *optional*): the stage of a pipeline that it runs before, as a stage named by its kind; `""` for
            a last one. `None` where it is no stage, or one that does not always have a model.
        command (`str`, *optional*): what `hf-rare KIND` does, for its help; `None` where there is no such command.
        settings_title (`str`): what the settings of that command are about.
    """

    module: str
    name: str
    config: type[WriterConfig]
    variable: str
    title: str
    description: str
    before: str | None = None
    command: str | None = None
    settings_title: str = "columns and prompt"

    def load(self) -> Any:
        """Import the class."""
        return getattr(import_module(self.module), self.name)

    @property
    def home(self) -> str:
        """Where people import it from: the library's own are at its root."""
        return "hf_rare" if self.module.startswith("hf_rare.") else self.module


WRITERS: dict[str, WriterEntry] = {
    "distill": WriterEntry(
        module="hf_rare.writers.distill",
        name="ReasonDistiller",
        config=DistillConfig,
        variable="distill_fn",
        title="Distilled reasoning over retrieved documents",
        description="Each row was given to the teacher as a prompt with the question, the scenario and a numbered "
        "list of documents in an order shuffled by the row's own content; the teacher reasoned over them.",
        before="verify",
        command="add reasoning traces to a dataset",
        settings_title="columns, prompt and samples",
    ),
    "questions": WriterEntry(
        module="hf_rare.writers.questions",
        name="QueryGenerator",
        config=QuestionConfig,
        variable="query_fn",
        title="Questions about documents",
        description="Each document was given to a model, which was asked for questions about it, each with the "
        "situation that it is about.",
        before="near_duplicates",
        command="write questions about documents",
        settings_title="columns, prompt and questions",
    ),
    "negatives": WriterEntry(
        module="hf_rare.writers.negatives",
        name="NegativeWriter",
        config=NegativeConfig,
        variable="negative_fn",
        title="Questions with hard negatives",
        description="Each question was given to a model with the document that settles it; the model was asked for "
        "documents that only look as if they settled it (hard negatives).",
    ),
    "judge": WriterEntry(
        module="hf_rare.writers.judge",
        name="AnswerJudge",
        config=JudgeConfig,
        variable="judge",
        title="Answers that a model has judged",
        description="Each question was given to a model with its right answer and with another answer; the model was "
        "asked whether they say the same.",
    ),
}
"""The writers by kind."""
