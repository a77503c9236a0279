"""A student that answers: a distiller whose prompts hold the documents of a condition, in its order.

Everything else is the distiller's: how prompts are filled in and shortened, how completions are read, checked, judged
and journalled.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets

from hf_rare.checks.abstention import is_abstention
from hf_rare.checks.answers import check_answer
from hf_rare.checks.citations import find_citations
from hf_rare.evaluation.conditions import DOCUMENTS, ORIGINAL
from hf_rare.evaluation.settings import EvaluationConfig
from hf_rare.generation.protocol import Completion
from hf_rare.prompts.prompt import DistillPrompts, Prompt, build_messages
from hf_rare.rows.columns import (
    ABSTAINS,
    ANSWER,
    CITED_DOCUMENTS,
    DOCUMENT_ORDER,
    EVALUATION_COLUMNS,
    ORIGINAL_VERDICT,
    RIGHT,
    STATUS,
    VERDICT,
    name_features,
)
from hf_rare.rows.row import Row
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.distill import ReasonDistiller
from hf_rare.writers.result import Layout, Result
from hf_rare.writers.traces import Trace


@dataclass(frozen=True)
class Question(Row):
    """A row with the documents that its prompt has, in order.

    Args:
        order (`tuple[int, ...]`): the documents: 0 is the positive, i the i-th hard negative.
        original (`tuple[str, ...]`): the right answers before the key fact was changed.
    """

    order: tuple[int, ...] = ()
    original: tuple[str, ...] = ()

    @property
    def documents(self) -> tuple[str, ...]:
        """The documents of the prompt, in order."""
        texts = (self.positive, *self.hard_negatives)
        return tuple(texts[document] for document in self.order)


class QuestionPrompts(DistillPrompts):
    """The prompts of a student: those of its training rows, with the documents that a condition says."""

    def __init__(self, config: DistillConfig) -> None:
        super().__init__(config)
        self.columns += [DOCUMENTS, ORIGINAL]

    def read(self, values: Mapping[str, Any]) -> Question:
        """Check the values of a row, by column name."""
        row = super().read(values)
        content = {field.name: getattr(row, field.name) for field in dataclasses.fields(row) if field.init}
        return Question(**content, order=tuple(values[DOCUMENTS]), original=tuple(values[ORIGINAL]))

    def build(self, row: Row, shortened: Mapping[int, str]) -> Prompt:
        """Make the prompt of a row, with texts that stand in for some of its documents, by their place from 0."""
        documents = [shortened.get(place, text) for place, text in enumerate(row.documents)]
        order = list(row.order) if isinstance(row, Question) else list(range(len(documents)))
        return Prompt(build_messages(row, documents, self.config), order, len(shortened))


class StudentWriter(ReasonDistiller):
    """Lets a student answer questions, and says of each answer what it cites and whether it abstains.

    New columns, beside those of [`ReasonDistiller`]: `_cited_documents` (what trace and answer cite), `_abstains`,
    `_original_verdict` (of a question whose key fact was changed, whether the answer is the one before), and `_right`
    (what `accuracy` counts: whether the answer is right, of hard negatives alone whether it abstains; null where there
    is no right answer).
    """

    config_type = EvaluationConfig
    kind = "evaluate"
    noun = "answer"
    doing = "Answering"

    @property
    def output_features(self) -> datasets.Features:
        """The new columns and their types, in order."""
        further = name_features(self.config.output_column, EVALUATION_COLUMNS)
        return datasets.Features({**super().output_features, **further})

    def _make_prompts(self) -> QuestionPrompts:
        return QuestionPrompts(self.config)

    def _read(self, result: Result[Trace], completion: Completion) -> Trace:
        """Read an answer: that of a student who gives no reasons is whole, as a teacher's trace would not be."""
        trace = super()._read(result, completion)
        return dataclasses.replace(trace, status="ok", error="") if trace.status == "empty" and trace.answer else trace

    def _lay_out(self, results: Sequence[Result[Trace]]) -> Layout:
        layout = super()._lay_out(results)
        output, columns = self.config.output_column, layout.columns
        written = zip(*(columns[output + ending] for ending in ("", ANSWER, DOCUMENT_ORDER)), strict=True)
        statuses = columns[output + STATUS]
        verdicts = columns.get(output + VERDICT, [None] * len(results))
        found = [
            self._look(result.prepared.row, trace, answer, order)
            for result, (trace, answer, order) in zip(results, written, strict=True)
        ]
        for result, one, status, verdict in zip(results, found, statuses, verdicts, strict=True):
            one[RIGHT] = _is_right(result.prepared.row, status == "ok", verdict, one[ABSTAINS])
        further = {output + ending: [one[ending] for one in found] for ending in EVALUATION_COLUMNS}
        return dataclasses.replace(layout, columns={**columns, **further})

    def _look(self, row: Any, trace: str, answer: str, order: Sequence[int]) -> dict[str, Any]:
        numbers = find_citations(f"{trace}\n\n{answer}")
        original = row.original if isinstance(row, Question) else ()
        verdict = check_answer(
            original, answer, trace, check=self.config.check, options=row.options if original else None
        )
        return {
            CITED_DOCUMENTS: sorted(order[number - 1] for number in numbers if 1 <= number <= len(order)),
            ABSTAINS: is_abstention(answer, trace),
            ORIGINAL_VERDICT: verdict.outcome,
        }


def _is_right(row: Any, is_ok: bool, verdict: str | None, abstains: bool) -> bool | None:
    """Tell whether an answer is right, as accuracy counts it; `None` where it counts nothing."""
    if isinstance(row, Question) and row.order and 0 not in row.order:
        return is_ok and abstains
    return is_ok and verdict == "right" if row is not None and row.gold else None
