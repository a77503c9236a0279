"""Distilled rows for a report, as many as wanted: real questions and documents, and traces put together of sentences.

Questions, documents and hard negatives are those over the PostgreSQL documentation. A trace quotes sentences of the
documents, cites them, and ends in every way that a trace can end in; what it rests on is found by the real audit.
"""

import random
import re
from pathlib import Path
from typing import Any

from datasets import Dataset

from hf_rare import audit_grounding
from hf_rare.prompts.prompt import shuffle_documents
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig

DATA = Path(__file__).parent.parent / "tests" / "data"
STATUSES = {"ok": 82, "truncated": 9, "unparsed": 3, "empty": 2, "failed": 2, "prompt_too_long": 2}
ERRORS = {
    "truncated": "the token limit ended the completion",
    "unparsed": "the thought is never closed",
    "empty": "the completion holds no reasoning",
    "failed": "out of memory",
    "prompt_too_long": "the prompt has 9,120 tokens, and the context 8,192",
}
LOOP = "repeats itself: the same 14 tokens stand 12 times at its end"
SAYS = ("Document [{n}] says:", "As [{n}] puts it,", "This is what [{n}] is about:", "By document {n},")


def load_questions() -> tuple[list[dict[str, Any]], list[str]]:
    """Load the questions with their documents, and the texts of all documents."""
    docs = Dataset.from_json(str(DATA / "pg_docs.jsonl")).to_list()
    by_id = {doc["id"]: doc["text"] for doc in docs}
    questions = Dataset.from_json(str(DATA / "pg_questions.jsonl")).to_list()
    return [question | {"text": by_id[question["doc_id"]]} for question in questions], [doc["text"] for doc in docs]


def make_rows(count: int, seed: int = 0, *, samples: int = 1, negatives: int = 4, sentences: int = 10) -> Dataset:
    """Make rows with all columns that a report looks at but those of evidence.

    Args:
        count (`int`): how many.
        seed (`int`, *optional*): of all that is drawn; of two seeds, the questions are the same and the traces others.
        samples (`int`, *optional*): traces of a row; from 2 on, columns hold lists.
        negatives (`int`, *optional*): hard negatives of a row.
        sentences (`int`, *optional*): sentences of a trace.
    """
    questions, texts = load_questions()
    rows = []
    for number in range(count):
        documents = random.Random(f"documents {number}")
        draw = random.Random(f"traces {seed} {number}")
        row = dict(questions[number % len(questions)])
        row |= {"id": f"{row['id']}-{number // len(questions)}", "options": [*row["options"].values()]}
        others = documents.sample(texts, negatives + 1)
        row["hard_negatives"] = [text for text in others if text != row["text"]][:negatives]
        order = shuffle_documents(read_row(row, DistillConfig()), number)
        traces = [make_trace(row, order, draw, sentences) for _ in range(samples)]
        columns = {name: [trace[name] for trace in traces] for name in traces[0]}
        rows.append(
            row
            | (columns if samples > 1 else traces[0])
            | {
                "reasoning_prompt_tokens": sum(len(text.split()) * 4 // 3 for text in [row["text"], *others]),
                "reasoning_positive_position": order.index(0) + 1,
                "reasoning_document_order": order,
                "reasoning_documents_truncated": int(draw.random() < 0.02),
                "reasoning_attempts": draw.choices((1, 2, 3, 8), (70, 18, 7, 5))[0],
            }
        )
    return audit_grounding(Dataset.from_list(rows))


def make_trace(row: dict[str, Any], order: list[int], draw: random.Random, sentences: int) -> dict[str, Any]:
    """Make a trace with the columns that are its own."""
    (status,) = draw.choices([*STATUSES], [*STATUSES.values()])
    has_text = status in ("ok", "truncated", "unparsed")
    documents = [row["text"], *row["hard_negatives"]]
    said = [f"The essential problem is this: {row['question']}"]
    for _ in range(draw.randint(1, 2 * sentences)):
        place = draw.choices(range(len(order)), [6 if document == 0 else 1 for document in order])[0]
        parts = re.split(r"(?<=[.;:])\s+", documents[order[place]])
        said.append(f"{draw.choice(SAYS).format(n=place + 1)} {draw.choice(parts)}")
    said.append(f"So this follows: {row['answer_text']}")
    text = "\n\n".join(said) if has_text else ""
    is_loop = status == "truncated" and draw.random() < 0.3
    verdict = draw.choices(("right", "wrong", "unchecked"), (80, 15, 5))[0] if status == "ok" else "wrong"
    return {
        "reasoning": text,
        "reasoning_answer": row["answer_text"] if status == "ok" and draw.random() < 0.98 else "",
        "reasoning_status": status,
        "reasoning_error": LOOP if is_loop else ERRORS.get(status, ""),
        "reasoning_completion_tokens": len(text.split()) * 4 // 3,
        "reasoning_verdict": verdict,
    }
