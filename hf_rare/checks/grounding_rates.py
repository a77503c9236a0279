"""How often the traces of an audited dataset rest on the positive, and whether that depends on its place."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Self

import datasets

from hf_rare.checks.evidence import Grounding
from hf_rare.errors import ColumnError
from hf_rare.rows.column_types import is_list, item_of
from hf_rare.rows.columns import (
    CITED_DOCUMENTS,
    EVIDENCE_ON_POSITIVE,
    POSITIVE_POSITION,
    QUOTED_DOCUMENTS,
    STATUS,
    UNKNOWN_CITATIONS,
    list_values,
    per_trace,
)
from hf_rare.rows.kinds_of_dataset import check_dataset


@dataclass
class _Counts:
    """Numbers that are added up by name."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


@dataclass
class GroundingRates(_Counts):
    """Counts over traces; `rates` gives them as shares.

    Args:
        traces (`int`): the traces.
        cites_positive (`int`): how many cite the positive.
        quotes_positive (`int`): how many quote it.
        grounded_on_positive (`int`): how many do one or the other.
        distracted (`int`): how many cite or quote hard negatives and not the positive.
        silent (`int`): how many cite and quote nothing.
        unknown_citations (`int`): how many cite a number that no document had.
    """

    traces: int = 0
    cites_positive: int = 0
    quotes_positive: int = 0
    grounded_on_positive: int = 0
    distracted: int = 0
    silent: int = 0
    unknown_citations: int = 0

    @property
    def rates(self) -> dict[str, float]:
        """Each count as a share of the traces; 0 where there are none."""
        counts = {item.name: getattr(self, item.name) for item in fields(self)[1:]}
        return {name: count / self.traces if self.traces else 0.0 for name, count in counts.items()}

    def count(self, cited: list[int], unknown: list[int], quoted: list[int]) -> None:
        """Count one trace."""
        grounding = Grounding(cited, unknown, quoted)
        self.traces += 1
        self.cites_positive += 0 in cited
        self.quotes_positive += 0 in quoted
        self.grounded_on_positive += grounding.grounded_on_positive
        self.distracted += grounding.distracted
        self.silent += not cited and not quoted
        self.unknown_citations += bool(unknown)


@dataclass
class EvidenceAgreement(_Counts):
    """What evidence says of the traces that have been measured, beside what they say themselves.

    Args:
        traces (`int`): the traces that were measured.
        on_positive (`int`): how many have most evidence from the positive.
        cited_and_carried (`int`): how many cite or quote the positive and have most evidence from it.
        cited_alone (`int`): how many cite or quote it and have most evidence from a hard negative, or from no document
            above 0: such a citation may have been added afterwards.
        carried_alone (`int`): how many have most evidence from the positive and neither cite nor quote it.
    """

    traces: int = 0
    on_positive: int = 0
    cited_and_carried: int = 0
    cited_alone: int = 0
    carried_alone: int = 0

    def __str__(self) -> str:
        counts = {item.name: getattr(self, item.name) for item in fields(self)[1:]}
        shares = ", ".join(f"{count / self.traces:.1%} {name.replace('_', ' ')}" for name, count in counts.items())
        return f"evidence: {self.traces} traces; {shares}"

    def count(self, is_cited: bool, is_carried: bool) -> None:
        """Count one trace."""
        self.traces += 1
        self.on_positive += is_carried
        self.cited_and_carried += is_cited and is_carried
        self.cited_alone += is_cited and not is_carried
        self.carried_alone += is_carried and not is_cited


@dataclass
class GroundingSummary:
    """What the traces of a dataset rest on, overall and by the place of the positive among the documents, from 1.

    Rates that change with the place are position bias: documents are shuffled, so the place says nothing about them.
    Where the rows have been through [`measure_evidence`], `evidence` says how far that agrees.

    Args:
        overall ([`GroundingRates`]): the counts of all traces.
        by_position (`dict[int, GroundingRates]`): those of the traces whose positive stood at a place.
        evidence ([`EvidenceAgreement`]): what evidence says of the traces that have been measured.
    """

    overall: GroundingRates = field(default_factory=GroundingRates)
    by_position: dict[int, GroundingRates] = field(default_factory=dict)
    evidence: EvidenceAgreement = field(default_factory=EvidenceAgreement)

    def __add__(self, other: "GroundingSummary") -> "GroundingSummary":
        places = sorted({*self.by_position, *other.by_position})
        none = GroundingRates()
        by_position = {n: self.by_position.get(n, none) + other.by_position.get(n, none) for n in places}
        return GroundingSummary(self.overall + other.overall, by_position, self.evidence + other.evidence)

    def __str__(self) -> str:
        lines = []
        for name, part in [("all", self.overall), *((f"positive at {n}", r) for n, r in self.by_position.items())]:
            shares = ", ".join(f"{share:.1%} {rate.replace('_', ' ')}" for rate, share in part.rates.items())
            lines.append(f"{name}: {part.traces} traces; {shares}")
        lines += [str(self.evidence)] if self.evidence.traces else []
        return "\n".join(lines)


def summarize_grounding(
    dataset: datasets.Dataset, output_column: str = "reasoning", *, statuses: Collection[str] | None = ("ok",)
) -> GroundingSummary:
    """Count what the traces of an audited dataset rest on, and what their evidence says where it has been measured.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with the columns of [`audit_grounding`].
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Prefix of these columns.
        statuses (`Collection[str]`, *optional*, defaults to `("ok",)`):
            Which traces count, by their status; `None` for all. Those that have not been audited never do.

    Returns:
        [`GroundingSummary`]: counts and rates, overall and by the place of the positive.

    Raises:
        BatchTypeError: This is no `Dataset`.
        ColumnError: A column is missing.
    """
    check_dataset(dataset, "summarize_grounding")
    endings = (CITED_DOCUMENTS, UNKNOWN_CITATIONS, QUOTED_DOCUMENTS)
    position, status = output_column + POSITIVE_POSITION, output_column + STATUS
    names = [*(output_column + ending for ending in endings), position, *([] if statuses is None else [status])]
    if missing := [name for name in names if name not in dataset.column_names]:
        raise ColumnError(
            f"The dataset has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, dataset.column_names))}. Audit it with audit_grounding(dataset) first; "
            "without a status column pass statuses=None."
        )
    summary, carried = GroundingSummary(), output_column + EVIDENCE_ON_POSITIVE
    has_samples = is_list(item_of(dataset.features[names[0]]))
    read = [*names, *([carried] if carried in dataset.column_names else [])]
    for row in dataset.select_columns(read).with_format(None):
        said = [list_values(row.get(name), has_samples) for name in (*names[:3], status, carried)]
        traces = zip(*(per_trace(values, len(said[0])) for values in said), strict=True)
        for cited, unknown, quoted, own_status, is_carried in traces:
            if cited is None or (statuses is not None and own_status not in statuses):
                continue  # not audited, or not wanted
            for rates in (summary.overall, summary.by_position.setdefault(row[position], GroundingRates())):
                rates.count(cited, unknown, quoted)
            if is_carried is not None:
                summary.evidence.count(0 in cited or 0 in quoted, is_carried)
    summary.by_position = dict(sorted(summary.by_position.items()))
    return summary
