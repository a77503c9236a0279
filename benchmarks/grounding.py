"""The audit of 10,000 rows: 4 documents of about 250 words and a trace of about 300 words each.

    python -m benchmarks.grounding

Documents are made of the words of the PostgreSQL documentation, drawn anew for each row. A trace cites two documents,
quotes 20 words of one, and has other words between.
"""

import random
import tempfile
import time
from pathlib import Path

from datasets import Dataset

from benchmarks.machine import write_result
from hf_rare.checks.grounding import audit_grounding
from hf_rare.checks.grounding_rates import summarize_grounding

ROWS, DOCUMENTS, DOCUMENT_WORDS, TRACE_WORDS, QUOTED = 10_000, 4, 250, 300, 20
DATA = Path(__file__).parent.parent / "tests" / "data"


def make_rows() -> list[dict]:
    draw = random.Random(0)
    words = " ".join(Dataset.from_json(str(DATA / "pg_docs.jsonl"))["text"]).split()
    rows = []
    for number in range(ROWS):
        begins = [draw.randrange(len(words) - DOCUMENT_WORDS) for _ in range(DOCUMENTS)]
        documents = [words[begin : begin + DOCUMENT_WORDS] for begin in begins]
        order = draw.sample(range(DOCUMENTS), DOCUMENTS)
        quoted, start = draw.randrange(DOCUMENTS), draw.randrange(DOCUMENT_WORDS - QUOTED)
        filler = draw.sample(words, TRACE_WORDS - QUOTED)
        cited = draw.sample(range(1, DOCUMENTS + 1), 2)
        trace = [*filler[:100], f"[{cited[0]}]", *documents[quoted][start : start + QUOTED], f"document {cited[1]}"]
        rows.append(
            {
                "question": f"What settles case {number}?",
                "scenario": " ".join(draw.sample(words, 40)),
                "text": " ".join(documents[0]),
                "hard_negatives": [" ".join(document) for document in documents[1:]],
                "reasoning": " ".join([*trace, *filler[100:]]),
                "reasoning_status": "ok",
                "reasoning_positive_position": order.index(0) + 1,
                "reasoning_document_order": order,
            }
        )
    return rows


def main() -> None:
    rows = make_rows()
    seconds, rates = {}, {}
    for processes in (None, 2):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            Dataset.from_list(rows).to_parquet(path)
            dataset = Dataset.from_parquet(str(path), cache_dir=folder)
            start = time.perf_counter()
            audited = audit_grounding(dataset, num_proc=processes)
            seconds[f"audit, {processes or 1} process(es)"] = round(time.perf_counter() - start, 2)
            start = time.perf_counter()
            summary = summarize_grounding(audited)
            seconds["summary"] = round(time.perf_counter() - start, 2)
            rates = {name: round(rate, 3) for name, rate in summary.overall.rates.items()}
    sizes = {"rows": ROWS, "documents": DOCUMENTS, "words a document": DOCUMENT_WORDS, "words a trace": TRACE_WORDS}
    write_result("grounding", {**sizes, "seconds": seconds, "rates": rates})


if __name__ == "__main__":
    main()
