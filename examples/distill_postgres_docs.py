"""Distill 48 real questions over the PostgreSQL documentation: join them with their documents, add negatives, map.

python examples/distill_postgres_docs.py --model MODEL --output traces.parquet
torchrun --standalone --nproc_per_node 2 examples/distill_postgres_docs.py --model MODEL --output traces.parquet
python examples/distill_postgres_docs.py --write-rows rows.jsonl   # the joined rows alone, for `hf-rare distill`
"""

import argparse
import os
from pathlib import Path

from datasets import Dataset

from hf_rare import ReasonDistiller

DATA = Path(__file__).parent.parent / "tests" / "data"


def load_rows(num_negatives: int = 2) -> Dataset:
    """Join each question with the text of its document, and take the other chunks of the same page as negatives."""
    docs = Dataset.from_json(str(DATA / "pg_docs.jsonl")).to_list()
    questions = Dataset.from_json(str(DATA / "pg_questions.jsonl")).to_list()
    by_id = {doc["id"]: doc for doc in docs}
    for question in questions:
        positive = by_id[question["doc_id"]]
        others = [doc for doc in docs if doc["title"] == positive["title"] and doc is not positive]
        question["text"] = positive["text"]
        question["hard_negatives"] = [doc["text"] for doc in others[:num_negatives]]
    return Dataset.from_list(questions)


def main() -> None:
    """Read the arguments and distill."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", help="a model on the Hub, or a local folder")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--write-rows", type=Path, help="write the joined rows and stop")
    parser.add_argument("--output", type=Path, default=Path("traces.parquet"))
    arguments = parser.parse_args()
    ds = load_rows().select(range(arguments.rows))
    if arguments.write_rows:
        ds.to_json(arguments.write_rows)
        return
    distill_fn = ReasonDistiller.from_pretrained(arguments.model, max_new_tokens=arguments.max_new_tokens)
    ds = ds.map(distill_fn, batched=True, batch_size=1000)
    if os.environ.get("RANK", "0") == "0":  # under a launcher every process has all rows: one writes them
        ds.to_parquet(arguments.output)
        print(distill_fn.summary)


if __name__ == "__main__":
    main()
