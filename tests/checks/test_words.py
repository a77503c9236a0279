"""Words of every language, signs, templates and stock phrases: a table of texts, each with its right value.

`python -m tests.checks.test_words` prints the hit rate of each kind, and what is missed.
"""

import json
import unicodedata
from pathlib import Path

import datasets
import pytest
from datasets import Dataset

from hf_rare.checks.contamination import decontaminate
from hf_rare.checks.near_duplicates import drop_near_duplicates
from hf_rare.negatives.mine import mine_hard_negatives
from hf_rare.text import split_words

PATH = Path(__file__).parent.parent / "data" / "words.jsonl"
TABLE = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]


def finds_words(row):
    composed = [unicodedata.normalize("NFKC", word) for word in row["expected"]]
    return split_words(unicodedata.normalize("NFKC", row["text"])) == composed


def finds_document(row):
    rows = Dataset.from_dict({"question": [row["query"]], "scenario": [""], "text": ["0"]})
    documents = row["documents"][::-1]  # a tie goes to the first
    found = mine_hard_negatives(rows, documents, num_negatives=1)["hard_negatives"][0]
    return found == row["documents"][:1]


def count_kept(row):
    return len(drop_near_duplicates(Dataset.from_dict({"question": row["texts"]})))


def is_marked(row):
    rows = Dataset.from_dict({"question": [row["row"]], "scenario": [""]})
    return decontaminate(rows, [[row["evaluation"]]], mark="shared")["shared"][0]


CHECKS = {
    "words": finds_words,
    "finds": finds_document,
    "different": lambda row: count_kept(row) == 2,
    "same": lambda row: count_kept(row) == 1,
    "stock": lambda row: not is_marked(row),
    "shared": is_marked,
}


@pytest.mark.parametrize("kind", CHECKS)
def test_the_table_is_right(kind):
    missed = [row for row in TABLE if row["kind"] == kind and not CHECKS[kind](row)]
    assert not missed


if __name__ == "__main__":
    datasets.disable_progress_bars()
    for kind, check in CHECKS.items():
        rows = [row for row in TABLE if row["kind"] == kind]
        missed = [row for row in rows if not check(row)]
        print(f"{kind}: {len(rows) - len(missed)} of {len(rows)}", *missed, sep="\n    ")
