"""Hard negatives that a model writes, as ReasonIR does beside those it mines (arXiv 2504.20595, section 3)."""

from collections.abc import Sequence

import datasets

from hf_rare.prompts.item_prompt import ItemPrompts, get_item_template
from hf_rare.prompts.json_items import find_items
from hf_rare.rows.columns import ITEM_COLUMNS, STRING, name_features
from hf_rare.rows.row import Row, read_pair
from hf_rare.settings.writers import NegativeConfig
from hf_rare.text import sign, split_words
from hf_rare.writers.items import Found, ItemWriter
from hf_rare.writers.result import Layout, Result

_NAMES = ("document", "hard_negative_document", "hard_negative", "text", "passage")


class NegativeWriter(ItemWriter[NegativeConfig, str]):
    """Writes hard negatives for each question: texts that look relevant and do not help. Pass it to `map`.

    The model gets question, scenario and positive. What is the positive again, or nearly, does not count; a row with
    too few is tried again with another seed. New columns, by default all of them (see [`NegativeConfig`]):
    `hard_negatives` (`list[str]`), and `hard_negatives_status`, `_error`, `_completion_tokens`, `_prompt_tokens` and
    `_attempts`, as [`QueryGenerator`] has them.

    Args:
        generator ([`Generator`]):
            What writes.
        **settings:
            The settings of [`NegativeConfig`] and
            [`RunConfig`].

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        TemplateError: The template cannot be used.
    """

    config_type = NegativeConfig
    kind = "negatives"
    doing = "Writing hard negatives"

    @property
    def output_prefix(self) -> str:
        """How the names of the new columns begin."""
        return self.config.hard_negatives_column

    @property
    def output_features(self) -> datasets.Features:
        """The new columns and their types, in order."""
        name = self.config.hard_negatives_column
        status = name_features(name, ITEM_COLUMNS if self.config.columns == "full" else ())
        return datasets.Features({name: datasets.List(STRING), **status})

    @property
    def items_wanted(self) -> int:
        """How many hard negatives each row should have."""
        return self.config.num_negatives

    @property
    def item_name(self) -> str:
        """What several of them are called, in errors."""
        return "hard negatives"

    def _make_prompts(self) -> ItemPrompts[Row]:
        config = self.config
        names = (config.text_column, config.question_column, config.scenario_column)
        needed = names if "scenario" in get_item_template(config).placeholders else names[:2]
        return ItemPrompts(config, needed, lambda values: read_pair(values, *names, config.template_columns))

    def _parse(self, text: str, row: Row, is_cut: bool) -> list[str]:
        found = find_items(text, _NAMES, is_cut)
        texts = [
            item if isinstance(item, str) else next(item[name] for name in _NAMES if isinstance(item.get(name), str))
            for item in found
        ]
        positive = sign(row.positive)
        return [
            text.strip()
            for text in texts
            if split_words(text) and not sign(text).is_copy_of(positive, self.config.duplicate_threshold)
        ]

    def _key(self, item: str) -> str:
        return item

    def _lay_out(self, results: Sequence[Result[Found[str]]]) -> Layout:
        name, rows = self.config.hard_negatives_column, []
        settled = [self._settle(result) for result in results]
        for found, values in settled:
            rows.append({name: list(found.items), **{name + ending: value for ending, value in values.items()}})
        columns = {column: [row[column] for row in rows] for column in self.output_features}
        return Layout(columns, [found for found, _ in settled])
