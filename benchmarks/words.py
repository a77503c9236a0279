"""What a term is in each language: how often BM25 finds the right paragraph of a question first, and among ten.

    python -m benchmarks.words Thai=xquad.th.json Korean=KorQuAD_v1.0_dev.json ...

Files are in the format of SQuAD, as those of XQuAD (arXiv 1910.11856, 11 languages), JaQuAD (arXiv 2202.01764) and
KorQuAD 1.0 (arXiv 1909.07005); several of one language are put together with commas. All their paragraphs are
searched for each of the first 2,500 questions: by words (with Chinese characters and kana one by one), by what texts
are compared by (each letter of Thai, too), and by the terms that are mined by.
"""

import argparse
import json
import tempfile
import unicodedata
from pathlib import Path

import pyarrow as pa

from benchmarks.machine import write_result
from hf_rare.negatives.bm25 import Index, Tokenizer, build_index, make_tokenizer
from hf_rare.text import split_units, split_words

QUESTIONS = 2500
WAYS: dict[str, Tokenizer] = {
    "words": lambda text: split_words(unicodedata.normalize("NFKC", text).lower()),
    "units": lambda text: split_units(unicodedata.normalize("NFKC", text).lower()),
    "terms": make_tokenizer(None),
}


def read(paths: str) -> tuple[list[str], list[tuple[str, int]]]:
    """Read the paragraphs, and the questions with the number of their paragraph."""
    texts, questions = [], []
    for path in paths.split(","):
        for article in json.loads(Path(path).read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                questions += [(question["question"], len(texts)) for question in paragraph["qas"]]
                texts.append(paragraph["context"])
    return texts, questions[:QUESTIONS]


def measure(texts: list[str], questions: list[tuple[str, int]], tokenizer: Tokenizer) -> dict[str, float]:
    first = among_ten = 0
    with tempfile.TemporaryDirectory() as folder:
        build_index(Path(folder), [(text, None) for text in texts], pa.null(), tokenizer, 0.9, 0.4)
        index = Index(Path(folder), tokenizer)
        for question, right in questions:
            if terms := index.find_terms(question):
                scores = index.score(terms)
                better = int((scores > scores[right]).sum() + (scores[:right] == scores[right]).sum())
                first += bool(scores[right] > 0 and better == 0)
                among_ten += bool(scores[right] > 0 and better < 10)
    return {"first": round(first / len(questions), 3), "among ten": round(among_ten / len(questions), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="LANGUAGE=FILE,...")
    result = {}
    for name, paths in (given.split("=", 1) for given in parser.parse_args().files):
        texts, questions = read(paths)
        found = {way: measure(texts, questions, tokenizer) for way, tokenizer in WAYS.items()}
        result[name] = {"paragraphs": len(texts), "questions": len(questions), **found}
        print(name, result[name], flush=True)
    write_result("words", result)


if __name__ == "__main__":
    main()
