"""How much a document distracts a model from saying that it does not answer a question."""

import math
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets

from hf_rare.generation.protocol import EncodedPrompt
from hf_rare.generation.scorer import ScoredPrompt
from hf_rare.rows.columns import NUMBER
from hf_rare.scoring.base import ScoredRow, TextMeasure
from hf_rare.settings.base import Config
from hf_rare.settings.kinds import ColumnName

NO_ANSWER = "NO-RESPONSE"
"""What the model is to say of a document that does not answer the question (arXiv 2505.06914, section 2)."""

PROMPT = (
    "Answer the question by what the document below says, and by nothing else. If the document does not hold the "
    f"answer, write {NO_ANSWER} and nothing else.\n\nQuestion: {{question}}\n\nDocument: {{document}}"
)
"""The question comes first: then the prompts of a row begin alike, and are read faster."""


@dataclass(frozen=True, kw_only=True)
class DistractionConfig(Config):
    """Which documents are measured, for which question.

    Args:
        question_column (`str`, *optional*, defaults to `"question"`):
            Column with the question.
        documents_column (`str`, *optional*, defaults to `"hard_negatives"`):
            Column with the documents, a list of strings.
        output_column (`str`, *optional*, defaults to `"hard_negatives_distraction"`):
            Column for how much each distracts.
    """

    question_column: ColumnName = "question"
    documents_column: ColumnName = "hard_negatives"
    output_column: ColumnName = "hard_negatives_distraction"


class DistractionMeasure(TextMeasure[DistractionConfig]):
    """Measures how much each document of a row distracts from its question: 1 - p(no answer | question, document).

    That is the distracting effect of "The Distracting Effect" (arXiv 2505.06914, section 2): the probability that the
    model answers by a document which holds no answer, where it is asked to write `NO-RESPONSE` then. A document that
    does answer is high up too: it must be kept out beforehand. A document that the model has no room for is null.

    Args:
        model (`str` or [`TransformersGenerator`]):
            The model that is distracted.
        **settings:
            The settings of [`DistractionConfig`] and of [`RunConfig`]; for a name or a folder also those of
            [`ModelConfig`] and [`DecodingConfig`].
    """

    config_type = DistractionConfig
    doing = "Measuring distraction"

    def columns_to_read(self, existing: Collection[str]) -> list[str]:
        """List the columns that are read."""
        return [self.config.question_column, self.config.documents_column]

    def new_features(self, as_lists: bool) -> datasets.Features:
        """Name the new column and its type."""
        return datasets.Features({self.config.output_column: datasets.List(NUMBER)})

    def ask(self, values: Mapping[str, Any]) -> ScoredRow:
        """Say what is measured of a row: the answer that there is none, behind each document."""
        question, documents = values[self.config.question_column], values[self.config.documents_column] or []
        if not documents:
            return ScoredRow({}, 0)
        encoder = self.scorer.encoder
        conversations = [
            [{"role": "user", "content": PROMPT.format(question=question or "", document=document or "")}]
            for document in documents
        ]
        (ids,) = encoder.text_tokenizer.go_on([NO_ANSWER], split_special_tokens=True)
        encoded = encoder.encode(conversations)
        reasons = [self._why_not(prompt, len(ids)) for prompt in encoded]
        numbers = tuple(number for number, reason in enumerate(reasons) if not reason)
        left_out = [reason for reason in reasons if reason]
        if not numbers:
            return ScoredRow({}, len(documents), left_out=left_out)
        texts = [(array("i", encoded[number].token_ids), ids) for number in numbers]
        prompt = ScoredPrompt.of_texts(texts, f"{question}\n{NO_ANSWER}")
        return ScoredRow({numbers: prompt}, len(documents), left_out=left_out)

    def _why_not(self, prompt: EncodedPrompt, tokens: int) -> str:
        """Say why an answer of some tokens cannot be measured behind a prompt; nothing where it can."""
        total, limit = len(prompt.token_ids) + tokens, self.scorer.max_tokens
        if prompt.error or limit is None or total <= limit:
            return prompt.error
        return f"document, question and answer have {total} tokens, and the model has room for {limit}"

    def lay_out(self, rows: Sequence[ScoredRow]) -> dict[str, list[Any]]:
        """Make the new column of the numbers; null for a document that could not be measured."""
        values = []
        for row in rows:
            effects = {number: -math.expm1(min(0.0, sum(text["log_probs"]))) for number, (text,) in row.read().items()}
            values.append([effects.get(number) for number in range(row.items or 0)])
        return {self.config.output_column: values}


def rank_by_distraction(
    dataset: datasets.Dataset, measure: DistractionMeasure, keep: int, lists: Collection[str], keep_scores: bool
) -> datasets.Dataset:
    """Keep the documents of each row that distract most, most first.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with documents.
        measure ([`DistractionMeasure`]):
            What measures them.
        keep (`int`):
            How many are kept.
        lists (`Collection[str]`):
            Columns with a value for each document, that of the documents among them.
        keep_scores (`bool`):
            Whether the column with the measure is kept.

    Returns:
        [`~datasets.Dataset`]: the rows, with shorter lists. Of documents that distract as much, the first come first;
        those that could not be measured come last.
    """
    output = measure.config.output_column
    before = dataset.format
    measured = measure.apply(dataset.with_format(None))
    names = [*lists, output]
    features = measured.features

    def choose(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        orders = [_rank(effects)[:keep] for effects in batch[output]]
        return {name: [[v[i] for i in order] for v, order in zip(batch[name], orders, strict=True)] for name in names}

    ranked = (
        measured.map(choose, batched=True, features=features, desc="Ranking by distraction")
        if len(dataset)
        else measured
    )
    ranked = ranked if keep_scores else ranked.remove_columns(output)
    columns = None if set(before["columns"]) == set(dataset.column_names) else before["columns"]
    return ranked.with_format(before["type"], columns, before["output_all_columns"], **before["format_kwargs"])


def _rank(effects: Sequence[float | None]) -> list[int]:
    """Return the places of numbers, the largest first and those that are not there last."""
    keys = [math.inf if effect is None else -effect for effect in effects]
    return sorted(range(len(effects)), key=keys.__getitem__)
