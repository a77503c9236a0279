"""Hard negatives for many queries over many documents: seconds, peak memory, and a plain Python search beside it.

    python -m benchmarks.negatives             # 10,000 and 100,000 documents with as many queries, a few minutes
    python -m benchmarks.negatives --try 2000  # a try with 2,000 of each, that writes no result

Documents are two real pieces of the PostgreSQL documentation put together, of 100 to 200 words; a query is 30 words
cut out of its positive. The plain search adds up the same scores in Python dictionaries and sorts them all. Memory is
what all processes hold together, memory that they share counted once (PSS), looked at twice a second. Two things are
asked for, and the script fails without: 100,000 queries over 100,000 documents in 5 minutes and 3 GiB, the index
counted; and at 10,000 documents 50 times the queries a second of the plain search, the indexes of both apart.
"""

import argparse
import json
import math
import os
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from benchmarks.machine import write_result
from hf_rare.negatives.bm25 import build_index, make_tokenizer
from hf_rare.negatives.mine import mine_hard_negatives

DOCS = Path(__file__).parent.parent / "tests" / "data" / "pg_docs.jsonl"
SIZES = (10_000, 100_000)
PLAIN_DOCUMENTS, PLAIN_QUERIES = 10_000, 60
MOST_SECONDS, MOST_MIB, LEAST_TIMES = 300, 3 * 1024, 50


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

    def cut(words: list[str]) -> list[str]:
        start = rng.randrange(max(1, min(40, len(words) - 30)))
        return words[start : start + 30]

    questions = [" ".join(cut(text.split())) for text in positives]
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
        while not self._stop.wait(0.5):
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
    """Return the seconds of a search in dictionaries, with a full sort, its index not counted."""
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


def measure(texts: list[str]) -> dict[str, float]:
    """Mine for as many queries as there are documents, and build the index once more, to tell the two apart."""
    rows, corpus = make_rows(texts, len(texts)), Dataset.from_dict({"text": texts})
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        build_index(Path(folder), zip(texts, texts, strict=True), pa.string(), make_tokenizer("english"), 0.9, 0.4)
    indexing = time.perf_counter() - start
    with PeakMemory() as memory:
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        mined = mine_hard_negatives(rows, corpus, query="question", num_proc=os.cpu_count())
        seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
    few = sum(len(texts) < 3 for texts in mined["hard_negatives"])
    assert few <= len(rows) / 1000  # a query may be cut out of a table of one-digit numbers, which are no words
    return {
        "documents": len(texts),
        "queries": len(rows),
        "seconds": round(seconds, 1),
        "CPU seconds of all processes": round(cpu, 1),
        "seconds for the index alone": round(indexing, 1),
        "queries a second, index apart": round(len(rows) / max(seconds - indexing, 1e-9)),
        "peak MiB": round(memory.mib),
        "rows with fewer than 3": few,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--try", type=int, metavar="N", dest="size", help="documents and queries of a try")
    size = parser.parse_args().size
    results = []
    for number in [size] if size else SIZES:
        results.append(measure(make_texts(number)))
        print(results[-1], flush=True)
    documents = size or PLAIN_DOCUMENTS
    texts = make_texts(documents)
    plain = PLAIN_QUERIES / search_plainly(texts, make_rows(texts, PLAIN_QUERIES)["question"][:])
    times = results[0]["queries a second, index apart"] / plain
    result = {
        "runs": results,
        f"plain Python, queries a second over {documents} documents": round(plain, 2),
        "times faster": round(times),
    }
    if size:
        print(json.dumps(result, indent=2))
        return
    write_result("negatives", result)
    last = results[-1]
    if last["seconds"] > MOST_SECONDS or last["peak MiB"] > MOST_MIB or times < LEAST_TIMES:
        raise SystemExit(f"Asked for: {MOST_SECONDS} seconds, {MOST_MIB} MiB, {LEAST_TIMES} times faster.")


if __name__ == "__main__":
    main()
