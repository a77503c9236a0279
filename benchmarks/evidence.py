"""Evidence of documents: whether it finds what a trace was written from, and what it costs beside reading.

    python -m benchmarks.evidence --model FOLDER --real-rows 0           # what it finds
    python -m benchmarks.evidence --model FOLDER --rows 0               # what it costs; alone on the machine
    python -m benchmarks.evidence --model FOLDER --rows 20 --real-rows 4 --folder /tmp/try

Truth: made rows, each of four documents of one kind that state made-up facts about places that do not exist, and a
trace that says in other words what one of them states. It is known which: "planted" counts how often that document
has most evidence. "Added citations" tells traces that cite the document that they say again from such that cite
another, by the area under the curve: 1 is always right, 0.5 is chance. Beside evidence of the cited document stand
what the lexical audit has, the longest quote from it, and a plain count of words, the share of the trace's that it
holds. A count of words does as well where the trace has the document's names and figures; so the same is done with
traces that have no name and spell figures out.

Cost: real rows over the PostgreSQL documentation with three hard negatives and a trace of 150 words. The bound is the
time of reading prompt and trace whole, once for each document and once more, and the same less the time of reading the
beginnings that are read once. How long a text of n tokens takes is taken as a n + b n^2 + c k, since tokens attend to
those before them, and the k tokens of a trace are scored over the vocabulary, of a beginning none. a, b and c come
from texts of this run that are read whole, and shorter ones, with all of the trace scored and with its last token
only, each again beside every part of the rows, since other work on the machine comes and goes: from the median of
their times, and once more from the best, which only a machine without any other work would have all the time.
"""

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from benchmarks.machine import RESULTS, write_result
from benchmarks.real_rows import load_rows
from hf_rare import EvidenceMeasure, audit_grounding
from hf_rare.generation.engines.prefill import Text, read_whole
from hf_rare.prompts.prompt import shuffle_documents
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig
from hf_rare.text import normalize, split_words

KINDS = (
    (
        "ferry",
        "The ferry of {place} runs every {a} minutes, and a crossing costs {b} crowns.",
        "Whoever wants to get over the water at {place} waits for {a} minutes at most and pays {b} crowns",
    ),
    (
        "library",
        "The library of {place} lends {a} books at a time, which are due after {b} days.",
        "A reader in {place} may take home {a} books and has to bring them back within {b} days",
    ),
    (
        "market",
        "The market of {place} has {a} stalls, and each of them is let for {b} crowns a week.",
        "Somebody who sells in {place} owes {b} crowns for seven days and has {a} places to choose from",
    ),
    (
        "school",
        "The school of {place} has {a} rooms, each of which holds {b} pupils.",
        "In {place} children are taught in groups of up to {b}, and {a} such groups can meet",
    ),
)
"""What documents are about: what they state, and how a trace says it again."""

UNITS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = (
    "ten",
    "eleven",
    "twelve",
    *(f"{unit}teen" for unit in ("thir", "four", "fif", "six", "seven", "eigh", "nine")),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

DOCUMENTS = 4
TRACE_WORDS = 150
TIMED_TEXTS, TIMED_SHARES, FEWEST_ROWS, MOST_PARTS = 3, (0.25, 0.6, 1.0), 20, 20
"""Texts that are timed, shorter ones as shares of their context, and the rows between two times: at least so many, and
more where there would be more parts than that."""


def make_place(draw: random.Random) -> str:
    """Make the name of a place that does not exist."""
    parts = [draw.choice("bdfgklmnprstv") + draw.choice(["a", "e", "i", "o", "u", "ai", "or", "en"]) for _ in range(3)]
    return "".join(parts).capitalize()


def spell(number: int) -> str:
    """Write a number from 10 to 99 in words."""
    if number < 20:
        return TEENS[number - 10]
    return "-".join(filter(None, (TENS[number // 10 - 2], UNITS[number % 10])))


def make_rows(count: int, cites: str = "", seed: int = 0, in_words: bool = False) -> Dataset:
    """Make rows whose traces say again what one document states.

    Args:
        count (`int`): how many.
        cites (`str`, *optional*): `"used"` for traces that cite this document, `"added"` for such that cite another.
        seed (`int`, *optional*): of all that is drawn.
        in_words (`bool`, *optional*): whether traces have no name and spell figures out.

    Returns:
        [`~datasets.Dataset`]: distilled rows, with the document in `planted` and the one that is cited in `cited`.
    """
    rows = []
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        thing, states, says = draw.choice(KINDS)
        numbers = draw.sample(range(11, 99), 2 * DOCUMENTS)
        facts = [{"place": make_place(draw), "a": numbers[2 * i], "b": numbers[2 * i + 1]} for i in range(DOCUMENTS)]
        planted, other = draw.sample(range(DOCUMENTS), 2)
        cited = other if cites == "added" else planted
        positive, *negatives = [states.format(**fact) for fact in facts]
        row: dict[str, Any] = {
            "question": f"What does the document on the {thing} say that helps here?",
            "scenario": "",
            "text": positive,
            "hard_negatives": negatives,
        }
        order = shuffle_documents(read_row(row, DistillConfig()), 0)
        citation = f" [{order.index(cited) + 1}]" if cites else ""
        said = facts[planted]
        if in_words:
            said = {"place": "that town", "a": spell(said["a"]), "b": spell(said["b"])}
        rows.append(
            row
            | {
                "reasoning": says.format(**said) + citation + ".",
                "reasoning_status": "ok",
                "reasoning_positive_position": order.index(0) + 1,
                "reasoning_document_order": order,
                "planted": planted,
                "cited": cited,
            }
        )
    return Dataset.from_list(rows)


def area_under_curve(right: list[float], wrong: list[float]) -> float:
    """Return the share of pairs of which the right one is higher; equal ones count half."""
    pairs = itertools.product(right, wrong)
    return sum((one > other) + (one == other) / 2 for one, other in pairs) / (len(right) * len(wrong))


def count_words(row: dict[str, Any]) -> float:
    """Return the share of a trace's words that the cited document holds."""
    documents = [row["text"], *row["hard_negatives"]]
    words = split_words(normalize(row["reasoning"]))
    held = set(split_words(normalize(documents[row["cited"]])))
    return sum(word in held for word in words) / len(words)


def measure_truth(model: str, count: int) -> dict[str, Any]:
    measure = EvidenceMeasure(model, template="plain", dtype="float32", journal_dir=None)
    start = time.perf_counter()
    planted = measure.apply(make_rows(count), load_from_cache_file=False)
    seconds = time.perf_counter() - start
    scores = {
        "evidence": lambda row: row["reasoning_evidence"][row["cited"]],
        "lexical audit": lambda row: row["reasoning_longest_quotes"][row["cited"]],
        "share of words": count_words,
    }
    areas: dict[str, dict[str, float]] = {}
    for in_words, kind in ((False, "names and figures"), (True, "no names, figures in words")):
        cited = [
            audit_grounding(measure.apply(make_rows(count, cites, 1, in_words))).to_list()
            for cites in ("used", "added")
        ]
        areas[kind] = {
            name: round(area_under_curve(*([score(row) for row in rows] for rows in cited)), 4)
            for name, score in scores.items()
        }
        areas[kind]["document of the trace found, used citations"] = share_found(cited[0])
    return {
        "rows of each kind": count,
        "planted document found": share_found(planted.to_list()),
        "seconds for the planted rows": round(seconds, 1),
        "area under the curve, used against added citations": areas,
    }


def share_found(rows: list[dict[str, Any]]) -> float:
    """Return the share of rows in which the document that the trace was written from has most evidence."""
    return round(sum(row["reasoning_evidence_document"] == row["planted"] for row in rows) / len(rows), 4)


def make_real_rows(count: int) -> Dataset:
    """Real rows in turn, each time with other hard negatives, and a trace of words of the positive."""
    several = load_rows(num_negatives=99).to_list()
    rows = []
    for number in range(count):
        draw, row = random.Random(number), dict(several[number % len(several)])
        row["hard_negatives"] = draw.sample(row["hard_negatives"], min(3, len(row["hard_negatives"])))
        words = f"{row['answer_text']} {row['text']}".split()
        order = shuffle_documents(read_row(row, DistillConfig()), 0)
        kept = {name: row[name] for name in ("question", "scenario", "text", "hard_negatives")}
        rows.append(kept | {"reasoning": " ".join(words[:TRACE_WORDS]), "reasoning_document_order": order})
    return Dataset.from_list(rows)


class Reading:
    """How long a text takes that is read whole.

    Args:
        measure ([`EvidenceMeasure`]): what reads.
        texts (`list[tuple[Any, Any]]`): context and continuation of the texts that are timed.
    """

    def __init__(self, measure: EvidenceMeasure, texts: list[tuple[Any, Any]]) -> None:
        self.decoding = measure.scorer.generator.make_plain_engine().decoding
        self.texts = []
        for context, trace in texts:
            for share in TIMED_SHARES:
                read = [*context[-max(1, round(share * len(context))) :], *trace]
                self.texts += [Text(tuple(read[:-scored]), tuple(read[-scored:])) for scored in (len(trace), 1)]
        self.times: list[list[float]] = [[] for _ in self.texts]

    def time(self) -> None:
        """Read each text once more."""
        for text, times in zip(self.texts, self.times, strict=True):
            start = time.perf_counter()
            read_whole(self.decoding, text)
            times.append(time.perf_counter() - start)

    def fit(self, choose: Callable[[list[float]], float]) -> "Fit":
        """Fit the seconds of a text to those that were taken; which of the times of a text counts is chosen."""
        lengths = np.array([len(text.read) for text in self.texts], float)
        scored = np.array([len(text.continuation) for text in self.texts], float)
        terms = np.stack([lengths, lengths**2, scored], axis=1)
        return Fit(*np.linalg.lstsq(terms, np.array(list(map(choose, self.times))), rcond=None)[0])


class Fit(NamedTuple):
    """Seconds of a text that is read whole: a n + b n^2 + c k for n tokens, of which k are scored."""

    a: float
    b: float
    c: float

    def seconds(self, read: int, scored: int = 0) -> float:
        return float(self.a * read + self.b * read**2 + self.c * scored)


def measure_cost(model: str, count: int) -> dict[str, Any]:
    rows = make_real_rows(count)
    measure = EvidenceMeasure(model, dtype="float32", journal_dir=None)
    measure.scorer.load()
    assert not measure.scorer.engine.why_whole
    of_rows = [list(measure.ask(row).prompts.values()) for row in rows]
    reading = Reading(measure, [prompts[0].texts[0] for prompts in of_rows[:TIMED_TEXTS]])
    reading.time()
    size = max(FEWEST_ROWS, -(-count // MOST_PARTS))
    seconds, parts = [], [range(i, min(i + size, count)) for i in range(0, count, size)]
    for part in parts:
        start = time.perf_counter()
        measured = measure.apply(rows.select(part), load_from_cache_file=False)
        seconds.append(time.perf_counter() - start)
        assert all(measured["reasoning_evidence"])
        reading.time()
    whole = [
        [(len(context) + len(trace) - 1, len(trace)) for p in prompts for context, trace in p.texts]
        for prompts in of_rows
    ]
    shared = [
        [count_common(p.texts[0][0], context) for p in prompts for context, _ in p.texts[1:]] for prompts in of_rows
    ]

    def bounds(fit: Fit) -> tuple[list[float], list[float]]:
        """The seconds of each part: of all readings, and less the beginnings that are read once."""
        all_readings = [sum(fit.seconds(*text) for i in part for text in whole[i]) for part in parts]
        saved = [sum(fit.seconds(length) for i in part for length in shared[i]) for part in parts]
        return all_readings, [one - less for one, less in zip(all_readings, saved, strict=True)]

    fit = reading.fit(statistics.median)
    all_readings, less_shared = bounds(fit)
    best_readings, best_less_shared = bounds(reading.fit(min))
    of_parts = [took / bound for took, bound in zip(seconds, less_shared, strict=True)]
    all_lengths = [length for texts in whole for length, _ in texts]
    trace = round(sum(texts[0][1] for texts in whole) / count)
    return {
        "rows": count,
        "tokens of a prompt with its trace": round(sum(texts[0][0] for texts in whole) / count),
        "readings of a row": round(len(all_lengths) / count, 2),
        "seconds for 500, 1000 and 1500 tokens": [round(fit.seconds(n, trace), 2) for n in (500, 1000, 1500)],
        "of these to score the trace": round(fit.seconds(0, trace), 2),
        "seconds": round(sum(seconds), 1),
        "seconds a row": round(sum(seconds) / count, 3),
        "bound of all readings, seconds": round(sum(all_readings), 1),
        "bound less shared beginnings, seconds": round(sum(less_shared), 1),
        "share of the tokens that is read": round(1 - sum(map(sum, shared)) / sum(all_lengths), 3),
        "seconds / bound of all readings": round(sum(seconds) / sum(all_readings), 3),
        "seconds / bound less shared beginnings": round(sum(seconds) / sum(less_shared), 3),
        f"the same for each {size} rows: least, median, most": [
            round(float(value), 3) for value in np.quantile(of_parts, (0, 0.5, 1))
        ],
        "by the best times: seconds / bound of all readings": round(sum(seconds) / sum(best_readings), 3),
        "by the best times: seconds / bound less shared beginnings": round(sum(seconds) / sum(best_less_shared), 3),
    }


def count_common(one: Any, other: Any) -> int:
    """Count the tokens with which both begin."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=200, help="made rows of each kind; 0 for none")
    parser.add_argument("--real-rows", type=int, default=24, help="real rows whose cost is measured; 0 for none")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the result is written")
    arguments = parser.parse_args()
    model = {"model": Path(arguments.model).name}
    if arguments.rows:
        write_result("evidence", model | measure_truth(arguments.model, arguments.rows), arguments.folder)
    if arguments.real_rows:
        write_result("evidence_cost", model | measure_cost(arguments.model, arguments.real_rows), arguments.folder)


if __name__ == "__main__":
    main()
