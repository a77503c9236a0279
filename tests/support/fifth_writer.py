"""A writer that is not one of the library's, as someone would add it: a class, its settings, and an entry."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import datasets

from hf_rare.prompts.item_prompt import ItemPrompts
from hf_rare.rows.columns import ITEM_COLUMNS, STRING, name_features
from hf_rare.rows.row import read_document
from hf_rare.settings.writers import ItemConfig
from hf_rare.writers.items import ItemWriter
from hf_rare.writers.registry import WriterEntry
from hf_rare.writers.result import Layout


@dataclass(frozen=True, kw_only=True)
class TitleConfig(ItemConfig):
    """What gets a title.

    Args:
        text_column (`str`): Column with the document.
        title_column (`str`): Column for the title.
        template (`str` or `Path`): Prompt template.
        num_words (`int`): How long it may be.
    """

    placeholders = ("document", "num_words")

    text_column: str = "text"
    title_column: str = "title"
    template: str | Path = "A title of {{ num_words }} words for: {{ document }}"
    num_words: int = 5


class TitleWriter(ItemWriter[TitleConfig, str]):
    """Writes a title for each document."""

    config_type = TitleConfig
    kind = "titles"
    noun = "title"
    item_name: ClassVar[str] = "titles"
    items_wanted: ClassVar[int] = 1

    @property
    def output_prefix(self):
        return self.config.title_column

    @property
    def output_features(self):
        name = self.config.title_column
        return datasets.Features({name: STRING, **name_features(name, ITEM_COLUMNS)})

    def _make_prompts(self):
        column = self.config.text_column
        return ItemPrompts(self.config, [column], lambda values: read_document(values, column))

    def _parse(self, text, row, is_cut):
        return [text.strip()] if text.strip() else []

    def _key(self, item):
        return item

    def _lay_out(self, results):
        name, settled = self.config.title_column, [self._settle(result) for result in results]
        rows = [
            {name: "".join(found.items), **{name + ending: value for ending, value in values.items()}}
            for found, values in settled
        ]
        return Layout(
            {column: [row[column] for row in rows] for column in self.output_features}, [found for found, _ in settled]
        )


ENTRY = WriterEntry(
    module=__name__,
    name="TitleWriter",
    config=TitleConfig,
    variable="title_fn",
    title="Documents with titles",
    description="Each document was given to a model, which was asked for a title.",
    before="near_duplicates",
    command="write titles for documents",
)
