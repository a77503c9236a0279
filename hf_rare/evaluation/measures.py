"""From a student's answers to its measures under each condition: what counts as right, as read, as abstaining."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets
import numpy as np

from hf_rare.evaluation.bootstrap import Numbers, Score, make_score, mean_of, resample_means
from hf_rare.evaluation.conditions import AT_PLACE, CONDITION, CONDITIONS, ORIGINAL, ROW, STUDENT
from hf_rare.rows.columns import (
    ABSTAINS,
    CITED_DOCUMENTS,
    COMPLETION_TOKENS,
    ORIGINAL_VERDICT,
    RIGHT,
    STATUS,
    VERDICT,
)

MEASURES: dict[str, str] = {
    "accuracy": "gives the right answer; with negatives alone, abstains",
    "read": "is finished, and an answer can be read in it",
    "abstains": "says that the documents do not settle the question",
    "cites_positive": "cites the positive by its number",
    "original_answer": "gives the answer from before the key fact was changed",
    "tokens": "mean tokens of a completion",
}
"""What is measured, and of what answer it is the share."""

ABSTAINING_IS = {
    "closed_book": "neither",
    "positive": "wrong",
    "with_documents": "wrong",
    "negatives": "right",
    "changed": "wrong",
}
"""Whether it is right to abstain, by condition."""

WITHOUT_POSITIVE = ("closed_book", "negatives")

Scores = dict[str, dict[str, dict[str, Score]]]
"""By student, condition and measure."""


def list_conditions(names: Sequence[str]) -> list[str]:
    """List conditions in order, the places behind `with_documents`, which they make up."""
    places = sorted({int(name.removeprefix(AT_PLACE)) for name in names if name.startswith(AT_PLACE)})
    found: list[str] = []
    for condition in CONDITIONS:
        if condition == "with_documents":
            found += [condition, *(f"{AT_PLACE}{place}" for place in places)] if places else []
        elif condition in names:
            found.append(condition)
    return found


def condition_of(name: str) -> str:
    """Return the condition that a place belongs to, and any other as it is."""
    return "with_documents" if name.startswith(AT_PLACE) else name


def measure_answers(
    answers: datasets.Dataset,
    output_column: str,
    gold_column: str | None,
    students: Sequence[str],
    *,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> tuple[Scores, Scores, dict[str, int]]:
    """Measure the answers of students.

    Args:
        answers ([`~datasets.Dataset`]): the answers, with the columns of [`StudentWriter`].
        output_column (`str`): prefix of these columns.
        gold_column (`str`, *optional*): column with the right answers.
        students (`Sequence[str]`): the students, the one that others are compared with first.
        num_resamples (`int`): how often rows are drawn.
        confidence (`float`): the share of resampled values in an interval.
        seed (`int`): seed of the draws.

    Returns:
        `tuple`: scores by student, condition and measure; what they are more than those of the first student; and
        answers of each student by condition.
    """
    table = _read(answers, output_column, gold_column)
    rows = np.unique(table[ROW], return_inverse=True)[1]
    names = list_conditions(list(dict.fromkeys(table[CONDITION].tolist())))
    values = _measure(table)
    cells = [(student, condition, measure) for student in students for condition in names for measure in MEASURES]
    sums, counts = np.zeros((rows.max() + 1, len(cells))), np.zeros((rows.max() + 1, len(cells)))
    groups = np.array([condition_of(name) for name in table[CONDITION]])
    for place, (student, condition, measure) in enumerate(cells):
        is_own = (table[STUDENT] == student) & ((table[CONDITION] == condition) | (groups == condition))
        is_own &= ~np.isnan(values[measure])
        sums[:, place] = np.bincount(rows[is_own], weights=values[measure][is_own], minlength=len(sums))
        counts[:, place] = np.bincount(rows[is_own], minlength=len(sums))
    means, resampled = mean_of(sums, counts), resample_means(sums, counts, num_resamples, seed)
    places = {cell: place for place, cell in enumerate(cells) if not np.isnan(means[place])}

    def collect(student: str, make: Callable[[int, int], tuple[float, Numbers]]) -> dict[str, dict[str, Score]]:
        found: dict[str, dict[str, Score]] = {}
        for (one, condition, measure), place in places.items():
            first = places.get((students[0], condition, measure))
            if one == student and first is not None:
                found.setdefault(condition, {})[measure] = make_score(*make(place, first), confidence)
        return found

    scores = {one: collect(one, lambda place, _: (means[place], resampled[:, place])) for one in students}
    differences = {
        one: collect(
            one, lambda place, first: (means[place] - means[first], resampled[:, place] - resampled[:, first])
        )
        for one in students[1:]
    }
    first_student = table[STUDENT] == students[0]
    asked = {name: int(np.sum(first_student & ((table[CONDITION] == name) | (groups == name)))) for name in names}
    return scores, differences, asked


def _read(answers: datasets.Dataset, output: str, gold_column: str | None) -> dict[str, Any]:
    """Read what measures are made of as arrays."""
    endings = (STATUS, COMPLETION_TOKENS, ABSTAINS, ORIGINAL_VERDICT, CITED_DOCUMENTS, RIGHT)
    names = {output + ending: ending for ending in endings} | {
        name: name for name in (STUDENT, ROW, CONDITION, ORIGINAL)
    }
    columns = answers.select_columns([*names, *([gold_column, output + VERDICT] if gold_column else [])])
    read = {ending: list(columns[name]) for name, ending in names.items()}
    table: dict[str, Any] = {
        name: np.array(read[name]) for name in (STUDENT, ROW, CONDITION, STATUS, COMPLETION_TOKENS)
    }
    table[ABSTAINS] = np.array(read[ABSTAINS], dtype=bool)
    table[RIGHT] = np.array([np.nan if right is None else right for right in read[RIGHT]], dtype=np.float64)
    table[ORIGINAL_VERDICT] = np.array(read[ORIGINAL_VERDICT])
    table["has_positive"] = ~np.isin(table[CONDITION], WITHOUT_POSITIVE)
    table["cites_positive"] = np.array([0 in cited for cited in read[CITED_DOCUMENTS]], dtype=bool)
    table["has_original"] = np.array([bool(original) for original in read[ORIGINAL]], dtype=bool)
    golds = list(columns[gold_column]) if gold_column else [[]] * len(answers)
    table["has_gold"] = np.array([bool(gold) for gold in golds], dtype=bool)
    table[VERDICT] = np.array(list(columns[output + VERDICT]) if gold_column else ["unchecked"] * len(answers))
    return table


def _measure(table: Mapping[str, Any]) -> dict[str, Numbers]:
    """Return the value of each measure for each answer; NaN where it means nothing."""
    is_ok = table[STATUS] == "ok"
    abstains = is_ok & table[ABSTAINS]
    is_checked = np.isin(table[VERDICT], ("right", "wrong"))
    return {
        "accuracy": table[RIGHT],
        "read": (is_ok & (abstains | ~table["has_gold"] | is_checked)).astype(np.float64),
        "abstains": abstains.astype(np.float64),
        "cites_positive": np.where(table["has_positive"], is_ok & table["cites_positive"], np.nan).astype(np.float64),
        "original_answer": np.where(
            table["has_original"], is_ok & (table[ORIGINAL_VERDICT] == "right"), np.nan
        ).astype(np.float64),
        "tokens": table[COMPLETION_TOKENS].astype(np.float64),
    }
