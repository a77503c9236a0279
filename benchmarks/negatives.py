"""Hard negatives for many queries over many documents: seconds, peak memory, and a plain Python search beside it.

    python -m benchmarks.negatives           # 10,000 and 20,000 documents
    python -m benchmarks.negatives --large   # and 100,000 documents with 100,000 queries

Documents are two real pieces of the PostgreSQL documentation put together, of 100 to 200 words; a query is 30 words
cut out of its positive. The plain search adds up the same scores in Python dictionaries and sorts them all. Memory is
what all processes hold together, memory that they share counted once, looked at ten times a second.
"""

import json
import math
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from benchmarks.machine import write_result
from hf_rare.bm25 import build_index, make_tokenizer
from hf_rare.negatives import mine_hard_negatives

DOCS = Path(__file__).parent.parent / "tests" / "data" / "pg_docs.jsonl"
SIZES = ((10_000, 2_000), (20_000, 2_000))
LARGE = (100_000, 100_000)
PLAIN_DOCUMENTS, PLAIN_QUERIES = 10_000, 60


def make_texts(number: int) -> list[str]:
    rng = random.Random(0)
    pages = [json.loads(line)["text"].split() for line in DOCS.read_text(encoding="utf-8").splitlines()]

    def cut() -> list[str]:
        words = rng.choice(pages)
        start = rng.randrange(max(1, len(words) - 100))
        return words[start : start + rng.randint(50, 100)]

    return [" ".join(cut() + cut()) for _ in range(number)]


def make_rows(texts: list[str], number: int) -> Dataset:
    rng = random.Random(1)
    positives = rng.sample(texts, number)
    questions = [" ".join(text.split()[(start := rng.randrange(40)) : start + 30]) for text in positives]
    return Dataset.from_dict({"question": questions, "text": positives})


class PeakMemory:
    """The most memory that this process and its children hold together, in MiB."""

    def __enter__(self) -> "PeakMemory":
        self.mib, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            children = [pid for task in Path("/proc/self/task").iterdir() for pid in _read(task / "children").split()]
            rollups = [_read(Path("/proc") / str(pid) / "smaps_rollup") for pid in (os.getpid(), *children)]
            pss = sum(int(text.split("Pss:")[1].split()[0]) for text in rollups if "Pss:" in text)
            self.mib = max(self.mib, pss / 1024)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process ended
        return ""


def search_plainly(texts: list[str], queries: list[str]) -> float:
    """Give the seconds of a search in dictionaries, with a full sort, its index not counted."""
    tokenize = make_tokenizer("english")
    documents = [Counter(tokenize(text)) for text in texts]
    mean = sum(document.total() for document in documents) / len(documents)
    containing = Counter(term for document in documents for term in document)
    start = time.perf_counter()
    for query in queries:
        scores: defaultdict[int, float] = defaultdict(float)
        for term in set(tokenize(query)):
            idf = math.log(1 + (len(texts) - containing[term] + 0.5) / (containing[term] + 0.5))
            for i, document in enumerate(documents):
                if tf := document.get(term):
                    scores[i] += idf * tf / (tf + 0.9 * (0.6 + 0.4 * document.total() / mean))
        sorted(scores, key=lambda i: -scores[i])[:10]
    return time.perf_counter() - start


def main() -> None:
    results = []
    for num_documents, num_queries in (*SIZES, LARGE) if "--large" in sys.argv else SIZES:
        texts = make_texts(num_documents)
        rows = make_rows(texts, num_queries)
        corpus = Dataset.from_dict({"text": texts})
        with PeakMemory() as memory:
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                build_index(
                    Path(folder), zip(texts, texts, strict=True), pa.string(), make_tokenizer("english"), 0.9, 0.4
                )
            indexing = time.perf_counter() - start
            start, cpu = time.perf_counter(), sum(os.times()[:4])
            mined = mine_hard_negatives(rows, corpus, query="question", num_proc=os.cpu_count())
            seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
        assert all(len(texts) == 3 for texts in mined["hard_negatives"])
        results.append(
            {
                "documents": num_documents,
                "queries": num_queries,
                "seconds": round(seconds, 1),
                "CPU seconds of all processes": round(cpu, 1),
                "seconds for the index alone": round(indexing, 1),
                "queries a second, index apart": round(num_queries / max(seconds - indexing, 1e-9)),
                "peak MiB": round(memory.mib),
            }
        )
        print(results[-1], flush=True)
    texts = make_texts(PLAIN_DOCUMENTS)
    plain = PLAIN_QUERIES / search_plainly(texts, make_rows(texts, PLAIN_QUERIES)["question"][:])
    fast = next(r["queries a second, index apart"] for r in results if r["documents"] == PLAIN_DOCUMENTS)
    write_result(
        "negatives",
        {
            "runs": results,
            f"plain Python, queries a second over {PLAIN_DOCUMENTS} documents": round(plain, 2),
            "times faster": round(fast / plain),
        },
    )


if __name__ == "__main__":
    main()
