"""Rows for reports, small and with something of everything, and what a report holds, read without its own code."""

import base64
import json
import re
import zlib
from typing import Any

from datasets import Dataset

from hf_rare.checks.grounding import audit_grounding

QUOTED = "the harbour light is lit at dusk and burns until the last boat has come home"
ROW: dict[str, Any] = {
    "id": "harbour",
    "question": "When does the harbour light burn?",
    "scenario": "A boat comes home late.",
    "text": f"By an old rule {QUOTED}. Nobody is paid for it.",
    "hard_negatives": ["The light of the church is lit on Sundays alone.", "Boats are painted in spring."],
    "reasoning": f"Document [2] says that {QUOTED}, so it burns. See [3] and [9] too.",
    "reasoning_answer": "until the last boat is home",
    "reasoning_status": "ok",
    "reasoning_error": "",
    "reasoning_completion_tokens": 40,
    "reasoning_prompt_tokens": 100,
    "reasoning_positive_position": 2,
    "reasoning_document_order": [1, 0, 2],
    "reasoning_documents_truncated": 0,
    "reasoning_verdict": "right",
    "reasoning_attempts": 1,
}
CHANGES: list[dict[str, Any]] = [
    {},
    {"id": "loop", "reasoning_status": "truncated", "reasoning_error": "repeats itself: the same token stands 9 times",
     "reasoning_answer": "", "reasoning_verdict": "wrong", "reasoning_attempts": 8,
     "reasoning_completion_tokens": 300},
    {"id": "cut", "reasoning_status": "truncated", "reasoning_error": "the token limit ended the completion",
     "reasoning_answer": "", "reasoning_verdict": "wrong", "reasoning_attempts": 8,
     "reasoning_completion_tokens": 300},
    {"id": "astray", "reasoning": "Only [3] is about boats.", "reasoning_verdict": "wrong", "reasoning_attempts": 8},
    {"id": "shortened", "reasoning_documents_truncated": 1, "reasoning_answer": "", "reasoning_attempts": 2},
    {"id": "long", "reasoning_status": "prompt_too_long", "reasoning_error": "no room", "reasoning": "",
     "reasoning_answer": "", "reasoning_verdict": "wrong", "reasoning_completion_tokens": 0,
     "reasoning_prompt_tokens": 0, "reasoning_positive_position": 0, "reasoning_document_order": [],
     "reasoning_attempts": 1},
    {"id": "unchecked", "question": "What is painted in spring?", "reasoning": "Boats 🚣🚣 are, by [3].",
     "reasoning_verdict": "unchecked"},
]  # fmt: skip


def make_rows() -> Dataset:
    """Seven rows that end in different ways, with all columns but those of evidence."""
    return audit_grounding(Dataset.from_list([ROW | change for change in CHANGES]))


def make_samples() -> Dataset:
    """Two rows with two traces each: one of them wrong then right, the other cut off twice; with evidence."""
    names = ("reasoning", "reasoning_answer", "reasoning_status", "reasoning_error", "reasoning_completion_tokens",
             "reasoning_verdict")  # fmt: skip
    rows = []
    for name, pair in (("turned", (3, 0)), ("never", (1, 2))):
        traces = [ROW | CHANGES[place] for place in pair]
        carried = [[0.5, 2.25, 0.0], [7.04, 0.5, -1.0]]
        rows.append(
            {key: value for key, value in ROW.items() if key != "reasoning_attempts"}
            | {"id": name}
            | {key: [trace[key] for trace in traces] for key in names}
            | {
                "reasoning_evidence": carried,
                "reasoning_evidence_document": [1, 0],
                "reasoning_evidence_on_positive": [False, True],
            }
        )
    return audit_grounding(Dataset.from_list(rows))


def unpack(html: str) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
    """Return the index of a page, its rows, and the texts of their documents."""
    packed = re.findall(r'<script type="text/plain" (?:id="index"|class="part")>([A-Za-z0-9+/=]*)</script>', html)
    index, *parts = (json.loads(zlib.decompress(base64.b64decode(text))) for text in packed)
    rows = [row for part in parts for row in part["rows"]]
    return index, rows, [text for part in parts for text in part["texts"]]


def count_listed(index: dict[str, Any], name: str) -> int:
    """Count the traces that a filter by a name is about."""
    numbers = [number for number, (facet, _) in enumerate(index["facets"]) if facet == name]
    return sum(number in names for number in numbers for row in index["rows"] for names in row[4])
