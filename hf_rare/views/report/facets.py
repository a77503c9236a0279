"""What of a trace is counted and can be filtered by: a name, such as `status/truncated`, for all that is true of it.

A number on the page says how many traces have a name, and a click on it lists the rows of those: what is counted and
what is listed cannot differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hf_rare.generation.repetition import LOOP
from hf_rare.rows.columns import (
    ANSWER,
    ATTEMPTS,
    CITED_DOCUMENTS,
    COMPLETION_TOKENS,
    DOCUMENTS_TRUNCATED,
    ERROR,
    EVIDENCE_ON_POSITIVE,
    POSITIVE_POSITION,
    QUOTED_DOCUMENTS,
    STATUS,
    STATUSES,
    UNKNOWN_CITATIONS,
    VERDICT,
)
from hf_rare.text import clean, shorten

MOST_ATTEMPTS, MOST_PLACES = 16, 30
SMALLEST_BIN = 6
"""Bits of the numbers of tokens that are not told apart any more."""

GROUPS = {
    "status": "Status",
    "completion": "Completions",
    "tokens": "Tokens of a trace",
    "verdict": "Answers",
    "first": "Attempts to the first right answer",
    "grounding": "What a trace cites and quotes",
    "evidence": "What a trace rests on, by evidence",
    "place": "Place of the positive",
    "split": "Split",
    "change": "Against the other",
    "queue": "Queues",
}
"""What each kind of name is about, in the order of the page."""

LABELS = {
    "completion/loop": LOOP,
    "completion/shortened": "documents were shortened",
    "completion/no_answer": "ok, without an answer",
    "completion/not_ok": "not ok",
    "first/never": "never right",
    "grounding/cites": "cites the positive",
    "grounding/quotes": "quotes the positive",
    "grounding/grounded": "cites or quotes the positive",
    "grounding/ungrounded": "does not cite or quote the positive",
    "grounding/distracted": "cites or quotes other documents alone",
    "grounding/silent": "cites and quotes nothing",
    "grounding/unknown": "cites a number that no document has",
    "evidence/on_positive": "rests on the positive",
    "evidence/elsewhere": "rests on another, or on none",
    "evidence/cited_alone": "cites or quotes the positive, rests elsewhere",
    "evidence/carried_alone": "rests on it, and does not say so",
    "change/only_here": "only here",
    "queue/borderline": "borderline",
    "queue/random": "at random",
}
"""How names read on the page; the others read as what stands behind the slash."""

WORRIES = (
    *(f"status/{status}" for status in reversed(STATUSES) if status != "ok"),
    "completion/loop",
    "completion/shortened",
    "completion/no_answer",
    "verdict/wrong",
    "grounding/ungrounded",
    "grounding/distracted",
    "grounding/unknown",
    "evidence/cited_alone",
)
"""What to worry about, the worst first."""

QUEUES = {
    "truncated": "status/truncated",
    "ungrounded": "grounding/ungrounded",
    "wrong": "verdict/wrong",
    "borderline": "queue/borderline",
    "at random": "queue/random",
}
"""What is looked through row by row."""


def name_traces(traces: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Name what is true of each trace of a row.

    Attempts are counted by the column that says how many there were, and where a row has several traces, by these.

    Args:
        traces (`Sequence[Mapping[str, Any]]`): of each trace what its columns say, by ending.

    Returns:
        `list[list[str]]`: the names of each trace.
    """
    named = [_name_trace(trace) for trace in traces]
    verdicts = [trace[VERDICT] for trace in traces]
    is_counted = len(traces) == 1 and _is_number(traces[0][ATTEMPTS])
    if (is_counted or len(traces) > 1) and "right" in verdicts:
        place = verdicts.index("right")
        number = traces[0][ATTEMPTS] if is_counted else place + 1
        named[place].append(f"first/{min(max(number, 1), MOST_ATTEMPTS)}")
    elif (is_counted or len(traces) > 1) and "wrong" in verdicts:
        named[0].append("first/never")
    if {"right", "wrong"} <= set(verdicts):
        for names in named:
            names.append("queue/borderline")
    return [list(dict.fromkeys(names)) for names in named]


def _name_trace(trace: Mapping[str, Any]) -> list[str]:
    status, error, verdict = trace[STATUS], trace[ERROR], trace[VERDICT]
    is_ok = status == "ok" or status is None
    names = []
    if isinstance(status, str):
        names.append(f"status/{shorten(clean(status), 40)}")
        names += [] if is_ok else ["completion/not_ok"]
    if isinstance(error, str) and error.startswith(LOOP):
        names.append("completion/loop")
    if _is_number(trace[DOCUMENTS_TRUNCATED]) and trace[DOCUMENTS_TRUNCATED] > 0:
        names.append("completion/shortened")
    if status == "ok" and trace[ANSWER] == "":
        names.append("completion/no_answer")
    if _is_number(trace[COMPLETION_TOKENS]) and trace[COMPLETION_TOKENS] > 0:
        names.append(f"tokens/{max(trace[COMPLETION_TOKENS].bit_length(), SMALLEST_BIN)}")
    if isinstance(verdict, str):
        names.append(f"verdict/{shorten(clean(verdict), 40)}")
        names += ["queue/borderline"] if verdict == "unchecked" and is_ok else []
    if _is_number(place := trace[POSITIVE_POSITION]) and place > 0:
        names.append(f"place/{min(place, MOST_PLACES)}")
    return names + (_name_grounds(trace) if is_ok else [])


def _name_grounds(trace: Mapping[str, Any]) -> list[str]:
    """Name what a trace rests on, by its own words and by evidence, as far as that was looked at."""
    names: list[str] = []
    cited, quoted, carried = trace[CITED_DOCUMENTS], trace[QUOTED_DOCUMENTS], trace[EVIDENCE_ON_POSITIVE]
    is_audited = isinstance(cited, list) and isinstance(quoted, list)
    is_grounded = is_audited and (0 in cited or 0 in quoted)
    if is_audited:
        names += ["grounding/cites"] if 0 in cited else []
        names += ["grounding/quotes"] if 0 in quoted else []
        names += ["grounding/grounded"] if is_grounded else ["grounding/ungrounded"]
        names += ["grounding/distracted"] if not is_grounded and (cited or quoted) else []
        names += ["grounding/silent"] if not cited and not quoted else []
        names += ["grounding/unknown"] if trace[UNKNOWN_CITATIONS] else []
    if isinstance(carried, bool):
        names += ["evidence/on_positive"] if carried else ["evidence/elsewhere"]
        if is_audited and carried != is_grounded:
            names += ["evidence/carried_alone" if carried else "evidence/cited_alone", "queue/borderline"]
    return names


def name_change(mine: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Name how a row differs from the one with the same key in another dataset.

    A row counts as `ok` where one of its traces is, and as right where one is.

    Args:
        mine (`Sequence[Mapping[str, Any]]`): the traces here, by ending.
        others (`Sequence[Mapping[str, Any]]`, *optional*): those there; `None` where there is no such row.

    Returns:
        `list[str]`: the names.
    """
    if others is None:
        return ["change/only_here"]
    names = []
    for ending, best in ((STATUS, "ok"), (VERDICT, "right")):
        pair = [_best_of([trace[ending] for trace in traces], best) for traces in (mine, others)]
        if None not in pair and pair[0] != pair[1]:
            names.append(f"change/{pair[0]} here, {pair[1]} there")
    return names


def _best_of(values: list[Any], best: str) -> str | None:
    texts = [shorten(clean(value), 40) for value in values if isinstance(value, str)]
    return best if best in texts else (texts[0] if texts else None)


def label_of(name: str) -> str:
    """Return how a name reads on the page."""
    group, _, value = name.partition("/")
    if group == "tokens":
        bits = int(value)
        return f"{2 ** (bits - 1):,} to {2**bits - 1:,}" if bits > SMALLEST_BIN else f"under {2**SMALLEST_BIN}"
    if name in (f"first/{MOST_ATTEMPTS}", f"place/{MOST_PLACES}"):
        return f"{value} or more"
    return LABELS.get(name, value.replace("_", " "))


def sort_names(names: Iterable[str]) -> list[str]:
    """Sort names as the page shows them: by group, known ones in their order, numbers by size, others by letter."""
    groups, known = list(GROUPS), [*(f"status/{status}" for status in STATUSES), *LABELS]

    def order(name: str) -> tuple[Any, ...]:
        group, _, value = name.partition("/")
        place = known.index(name) if name in known else len(known)
        return groups.index(group), int(value) if value.isdecimal() else 10**6, place, value

    return sorted(names, key=order)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
