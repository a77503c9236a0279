"""How much each document carries of a trace: what the trace loses in probability where the document is left out."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import datasets

from hf_rare.errors import ConfigError
from hf_rare.generation.scorer import ScoredPrompt
from hf_rare.prompts.prompt import counts_by_itself
from hf_rare.rows.columns import (
    EVIDENCE,
    EVIDENCE_COLUMNS,
    EVIDENCE_DOCUMENT,
    EVIDENCE_ON_POSITIVE,
    EVIDENCE_PER_TOKEN,
)
from hf_rare.scoring.base import BATCH_SIZE
from hf_rare.scoring.traces import TraceMeasure, TracesOfRow
from hf_rare.settings.kinds import AtLeastOne
from hf_rare.settings.writers import DistillConfig


class EvidenceMeasure(TraceMeasure):
    """Measures how much each document carries of a trace, as a callable for `Dataset.map(..., batched=True)`.

    [`measure_evidence`] is the short way, and says what is measured. Added are, behind the name of the output column:

    - `_evidence`: the evidence of each document in nats, the positive first, then the hard negatives.
    - `_evidence_per_token`: the same for a token of the trace.
    - `_evidence_document`: the document that carries most: 0 for the positive, i for the i-th hard negative. It is
      null where no document has evidence above 0: then none carries the trace.
    - `_evidence_on_positive`: whether that is the positive; false where no document has evidence above 0.

    Where the trace column holds lists, so do these. A row without a trace has empty lists and nulls, and so has one
    that cannot be measured; among several traces of a row, the one that has no room has them alone.

    `map` takes types from the first rows, where nulls and empty lists have none. Say them, or use
    [`EvidenceMeasure.apply`], which does: `ds.map(measure, batched=True, features=measure.features(ds.features))`.

    Args:
        model (`str` or [`TransformersGenerator`]):
            The model that reads.
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            Gives columns, template and tags.
        **settings:
            Settings of [`DistillConfig`] that stand in for the recipe's, and those of [`RunConfig`]; for a name or a
            folder also those of [`ModelConfig`] and [`DecodingConfig`].

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ModelLoadError: The model does not exist, or cannot be found out about.
    """

    new_columns = EVIDENCE_COLUMNS
    nothing: ClassVar[Mapping[str, Any]] = {
        EVIDENCE: [],
        EVIDENCE_PER_TOKEN: [],
        EVIDENCE_DOCUMENT: None,
        EVIDENCE_ON_POSITIVE: None,
    }
    doing = "Measuring evidence"

    def _make_config(self, settings: dict[str, Any]) -> DistillConfig:
        config = super()._make_config(settings)
        if counts_by_itself(config):
            raise ConfigError(
                "The template counts documents itself, and where one is left out the others keep their numbers. Pass "
                "template=..., the same with {{ document.number }} for the number of a document."
            )
        return config

    def make_prompts(self, traces: TracesOfRow) -> dict[tuple[int, ...], ScoredPrompt]:
        """Say what is measured of a row: each trace behind all documents, and behind all but one."""
        places = [traces.order.index(document) for document in sorted(traces.order)]
        prompts: dict[tuple[int, ...], ScoredPrompt] = {}
        for documents, numbers in self.fit(traces).items():
            without = [[*documents[:place], None, *documents[place + 1 :]] for place in places]
            if contexts := self.encode(traces.row, [documents, *without]):
                for number in numbers:
                    texts = [(one, traces.tokens[number]) for one in contexts]
                    prompts[(number,) * len(contexts)] = ScoredPrompt.of_texts(texts, traces.texts[number])
        return prompts

    def weigh(self, texts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Weigh the documents; see [`weigh_documents`]."""
        return weigh_documents(texts)


def weigh_documents(texts: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Weigh the documents of a row by what a trace loses without them.

    Args:
        texts (`Sequence[Mapping[str, Sequence[float]]]`): the log probabilities of the trace's tokens, under
            `log_probs`: behind all documents, then behind all but the positive, all but the first hard negative, ...

    Returns:
        `dict[str, Any]`: the value of each of `EVIDENCE_COLUMNS`. Of documents that carry as much, the first counts.
        Where none has evidence above 0, `_evidence_document` is null and `_evidence_on_positive` is false.
    """
    whole, *without = (sum(text["log_probs"]) for text in texts)
    evidence = [round(whole - rest, 6) for rest in without]
    tokens = len(texts[0]["log_probs"])
    most = max(range(len(evidence)), key=lambda document: evidence[document])
    carries = evidence[most] > 0
    return {
        EVIDENCE: evidence,
        EVIDENCE_PER_TOKEN: [value / tokens for value in evidence],
        EVIDENCE_DOCUMENT: most if carries else None,
        EVIDENCE_ON_POSITIVE: carries and most == 0,
    }


def measure_evidence(
    dataset: Any,
    model: Any,
    *,
    recipe: Any = None,
    num_proc: AtLeastOne | None = None,
    batch_size: AtLeastOne = BATCH_SIZE,
    **settings: Any,
) -> Any:
    """Add columns that say how much each document carries of a trace, by what the trace loses without it.

    The evidence of document i is log p(trace | all documents) - log p(trace | all but i), in nats: the pointwise
    information that the document adds about the trace, given the others. One that the trace was written from has
    much; one that it only cites has little. Below 0, the trace is likelier without the document. It is a measure of
    the model that reads, which may be the teacher or any other, and of wording: what two documents say alike, neither
    of them carries.

    Prompts are those of the teacher, by the row's own `_document_order`: a document is left out and the others keep
    their numbers, by which the trace cites them. The trace is the reasoning without the answer, behind the opening
    thought tag, as [`to_sft`] writes one that has an answer; the tag is part of the context, and so is one that the
    model's chat template opens. Documents stand in full, also where the teacher got them shortened; where the model
    that measures has no room for prompt and trace, they are shortened as for a teacher, for each trace of a row by
    itself. A trace that has no room even so is not measured. Where no document has evidence above 0, none carries the
    trace: `_evidence_document` is null, and `_evidence_on_positive` false.

    Nothing is generated. A row of n documents costs n + 1 readings of prompt and trace, of which what comes before the
    document that is left out is read once. Models for which that cannot be done (sliding windows, recurrent layers)
    read each prompt whole, and the log says so. Numbers are kept in the journal, so that a run that ended goes on.

    Args:
        dataset (`Dataset`, `DatasetDict`, `IterableDataset` or `IterableDatasetDict`):
            Distilled rows, with all columns of the distiller.
        model (`str` or [`TransformersGenerator`]):
            The model that reads: its name on the Hub, a folder, or a generator that has it.
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            Gives columns, template and tags, as in [`to_sft`].
        num_proc (`int`, *optional*):
            Processes to use, as in `Dataset.map`.
        batch_size (`int`, *optional*, defaults to 100):
            Rows that `map` hands over at a time. It changes no number.
        **settings:
            Settings of [`DistillConfig`] that stand in for the recipe's, of [`RunConfig`] (journal, limits), and, for
            a name or a folder, of [`ModelConfig`] (`dtype`, `adapter`, ...) and [`DecodingConfig`].

    Returns:
        A dataset of the same kind with the columns of [`EvidenceMeasure`].

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ColumnError: A column is missing, or a new one exists already.
        BatchTypeError: This is no dataset.
        ModelLoadError: The model does not exist, or cannot be loaded.
        GenerationError: The model is no decoder, or a row failed and `on_error="raise"`.
        BudgetReachedError: `max_rows`, `max_tokens` or `max_hours` ended the run.

    Example:
        >>> measured = measure_evidence(ds, "Qwen/Qwen3-0.6B", recipe=distill_fn)
        >>> used = measured.filter(lambda row: row["reasoning_evidence_on_positive"])
    """
    measure = EvidenceMeasure(model, recipe=recipe, **settings)
    if isinstance(dataset, datasets.Dataset | datasets.DatasetDict):
        return measure.apply(dataset, batch_size=batch_size, num_proc=num_proc)
    if num_proc is not None:
        raise ConfigError(f"num_proc={num_proc} is for a Dataset; a {type(dataset).__name__} is read by one process.")
    return measure.apply(dataset, batch_size=batch_size)
