"""Hard negatives on the PostgreSQL rows and on small made-up ones: what is found, and what never is."""

import json
import logging
import math
import subprocess
import sys
from collections import Counter

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare.errors import ColumnError, ConfigError, MissingPackageError
from hf_rare.negatives import bm25
from hf_rare.negatives.bm25 import make_tokenizer, rank
from hf_rare.negatives.mine import mine_hard_negatives
from hf_rare.text import normalize, sign
from tests.conftest import REPOSITORY

DATA = REPOSITORY / "tests" / "data"
IDS = "hard_negatives_ids"
SCORES = "hard_negatives_scores"


@pytest.fixture(scope="module")
def docs() -> Dataset:
    lines = (DATA / "pg_docs.jsonl").read_text(encoding="utf-8").splitlines()
    return Dataset.from_list([json.loads(line) for line in lines])


@pytest.fixture(scope="module")
def questions(docs) -> Dataset:
    by_id = dict(zip(docs["id"], docs["text"], strict=True))
    rows = [json.loads(line) for line in (DATA / "pg_questions.jsonl").read_text(encoding="utf-8").splitlines()]
    names = ("id", "doc_id", "question", "scenario")
    return Dataset.from_list([{**{name: row[name] for name in names}, "text": by_id[row["doc_id"]]} for row in rows])


@pytest.fixture(scope="module")
def mined(questions, docs) -> Dataset:
    return mine_hard_negatives(questions, docs, num_negatives=10, id_column="id", keep_scores=True)


def make_rows(*texts: str, question: str = "red fox", **columns) -> Dataset:
    rows = [{"question": question if i == 0 else f"other {i}", "text": text} for i, text in enumerate(texts)]
    return Dataset.from_list(rows)


def mine(dataset, corpus=None, **kwargs) -> list[list[str]]:
    return mine_hard_negatives(dataset, corpus, **{"query": "question", **kwargs})["hard_negatives"][:]


class Formula:
    """Scores of all texts by Lucene's formula, written from the paper."""

    def __init__(self, texts: list[str]) -> None:
        self.tokenize = make_tokenizer("english")
        self.documents = [Counter(self.tokenize(text)) for text in texts]
        self.lengths = [document.total() for document in self.documents]
        self.mean = sum(self.lengths) / len(texts)

    def scores(self, row: dict) -> list[float]:
        scores = [0.0] * len(self.documents)
        for term in set(self.tokenize(f"{row['scenario']} {row['question']}")):
            frequencies = [document[term] for document in self.documents]
            containing = sum(tf > 0 for tf in frequencies)
            idf = math.log(1 + (len(scores) - containing + 0.5) / (containing + 0.5))
            for i, (tf, length) in enumerate(zip(frequencies, self.lengths, strict=True)):
                scores[i] += idf * tf / (tf + 0.9 * (1 - 0.4 + 0.4 * length / self.mean)) if tf else 0
        return scores


@pytest.fixture(scope="module")
def formula(docs) -> Formula:
    return Formula(docs["text"][:])


# What is found


def test_real_rows_get_documents_of_the_corpus_best_first(questions, docs, mined):
    assert mined.column_names == [*questions.column_names, "hard_negatives", SCORES, IDS]
    assert mined.features["hard_negatives"] == datasets.List(datasets.Value("string"))
    assert mined["id"][:] == questions["id"][:]
    by_id = dict(zip(docs["id"], docs["text"], strict=True))
    for row in mined:
        assert len(row["hard_negatives"]) == len(row[SCORES]) == len(row[IDS]) == 10
        assert row["hard_negatives"] == [by_id[identifier] for identifier in row[IDS]]
        assert row[SCORES] == sorted(row[SCORES], reverse=True)
        assert len(set(row[IDS])) == 10
        assert row["doc_id"] not in row[IDS]
        positive = sign(row["text"])
        assert all(not sign(text).is_copy_of(positive, 0.5) for text in row["hard_negatives"])


def test_ranking_and_scores_are_those_of_the_formula(questions, docs, mined, formula):
    ids = docs["id"][:]
    for row in mined.select(range(0, 48, 4)):
        scores = formula.scores(row)
        expected = dict(zip(ids, scores, strict=True))
        assert [expected[identifier] for identifier in row[IDS]] == pytest.approx(row[SCORES], rel=1e-4)
        positive = sign(row["text"])
        left = [
            score for text, score in zip(docs["text"], scores, strict=True) if not sign(text).is_copy_of(positive, 0.5)
        ]
        assert sorted(left, reverse=True)[:10] == pytest.approx(row[SCORES], rel=1e-4)


def test_the_positive_itself_ranks_high(questions, docs, formula, tmp_path):
    texts, tokenizer = docs["text"][:], make_tokenizer("english")
    bm25.build_index(tmp_path, zip(texts, texts, strict=True), pa.string(), tokenizer, k1=0.9, b=0.4)
    index = bm25.Index(tmp_path, tokenizer)
    places = []
    for row in questions:
        scores = index.score(index.find_terms(f"{row['scenario']}\n{row['question']}"))
        assert scores == pytest.approx(formula.scores(row), rel=1e-4, abs=1e-4)
        places.append(list(rank(scores, 20)).index(texts.index(row["text"])) + 1)
    recall = {k: sum(place <= k for place in places) / len(places) for k in (1, 10, 20)}
    assert recall[1] >= 0.5
    assert recall[10] >= 0.85
    assert recall[20] >= 0.9


def test_by_default_the_corpus_is_the_dataset(questions):
    rows = mine_hard_negatives(questions, num_negatives=5, id_column="doc_id")
    texts = set(questions["text"])
    assert all(set(row["hard_negatives"]) <= texts - {row["text"]} for row in rows)
    assert all(len(row["hard_negatives"]) == 5 for row in rows)


def test_the_order_of_rows_does_not_matter(questions):
    rows = datasets.concatenate_datasets([questions, questions.select(range(5))])
    here = {row["id"]: row for row in mine_hard_negatives(rows, keep_scores=True)}
    there = {row["id"]: row for row in mine_hard_negatives(rows.shuffle(seed=7), keep_scores=True)}
    assert here == there


def test_processes_and_batches_do_not_matter(questions, docs, mined, monkeypatch):
    monkeypatch.setattr("hf_rare.negatives.corpus.ROWS_AT_ONCE", 7)
    again = mine_hard_negatives(questions, docs, num_negatives=10, id_column="id", keep_scores=True, num_proc=2)
    assert again.to_list() == mined.to_list()


def test_a_list_of_texts_and_columns_of_other_names(questions, docs, mined):
    renamed = questions.rename_columns({"question": "q", "scenario": "story", "text": "gold"})
    rows = mine_hard_negatives(
        renamed,
        docs["text"][:],
        10,
        text_column="gold",
        question_column="q",
        scenario_column="story",
        hard_negatives_column="distractors",
    )
    assert rows["distractors"][:] == mined["hard_negatives"][:]
    bodies = docs.rename_column("text", "body")
    assert mine(questions, bodies, corpus_column="body") == mine(questions, docs)


def test_skip_top_passes_over_the_best_that_are_left(questions, docs, mined):
    rows = mine_hard_negatives(questions, docs, num_negatives=4, skip_top=6, id_column="id")
    assert rows[IDS][:] == [ids[6:] for ids in mined[IDS]]


def test_many_more_than_expected_are_looked_up(questions, docs):
    rows = mine_hard_negatives(questions.select(range(3)), docs, num_negatives=900, keep_scores=True)
    assert all(300 < len(row[SCORES]) < 903 and row[SCORES][-1] > 0 for row in rows)


# What is left out


def test_max_score_ratio_leaves_out_what_scores_near_the_positive(questions, docs, formula):
    questions = questions.select(range(12))
    all_of_them = mine_hard_negatives(questions, docs, num_negatives=900, keep_scores=True)
    capped = mine_hard_negatives(questions, docs, num_negatives=900, keep_scores=True, max_score_ratio=0.6)
    texts = docs["text"][:]
    fewer = 0
    for before, after in zip(all_of_them, capped, strict=True):
        own = formula.scores(before)[texts.index(before["text"])]
        assert after[SCORES] == [score for score in before[SCORES] if score <= 0.6 * own]
        fewer += len(after[SCORES]) < len(before[SCORES])
    assert fewer > 9


def test_max_score_ratio_knows_the_score_of_a_positive_outside_the_corpus():
    rows = make_rows("A red fox and a red fox.")
    corpus = ["The red fox sleeps.", "The fox sleeps in the woods.", "Stones."]
    assert mine(rows, corpus, max_score_ratio=1.0) == [["The red fox sleeps.", "The fox sleeps in the woods."]]
    assert mine(rows, corpus, max_score_ratio=0.5) == [["The fox sleeps in the woods."]]
    assert mine(make_rows("Stones alone."), corpus, max_score_ratio=0.9) == [[]]


def test_an_equal_score_is_not_above_the_ratio_of_one():
    rows = make_rows("One red fox ran", "Two red fox sat")
    assert mine(rows, max_score_ratio=1.0)[0] == ["Two red fox sat"]


def test_equal_texts_are_no_negatives_and_one_document():
    rows = make_rows(
        "The Red Fox ran.", "the  red fox\nran.", "\uff34\uff28\uff25 red fox ran.", "A fox, I say.", "A FOX, I say."
    )
    assert mine(rows)[0] == ["A FOX, I say."]
    assert mine(rows, duplicate_threshold=None)[0] == ["A FOX, I say."]


def test_near_duplicates_are_left_out_by_the_threshold(docs):
    words = docs["text"][40].split()[:120]
    positive = " ".join(words[:100])
    corpus = {
        "page": " ".join(["Before it."] + words + ["And after it."] * 30),
        "part": " ".join(words[20:60]),
        "half": " ".join(words[45:100] + ["something", "else"] * 20),
        "tenth": " ".join(words[90:] + [f"word{i} or" for i in range(40)]),
        "loud": positive.upper() + "!",
    }
    rows = Dataset.from_dict({"question": [" ".join(words[50:60] + words[90:100])], "text": [positive]})
    pages = Dataset.from_dict({"id": list(corpus), "text": list(corpus.values())})

    def ids(threshold: float | None) -> set[str]:
        found = mine_hard_negatives(
            rows, pages, 9, query="question", id_column="id", duplicate_threshold=threshold, language=None
        )
        return set(found[0][IDS])

    assert ids(None) == set(corpus)
    assert ids(0.5) == {"tenth"}
    assert ids(0.05) == set()


def test_overlap_is_a_share_of_the_shorter_text():
    chunk = "one two three four five six"
    assert sign(chunk).overlap(sign(f"zero {chunk} seven eight")) == 1
    assert sign(chunk).overlap(sign("four five six seven eight")) == pytest.approx(1 / 3)
    assert sign("One, two!").overlap(sign("one two")) == 1
    assert sign("!!!").overlap(sign("!!!")) == 0
    assert sign("!!!").is_copy_of(sign(" !!!\n"), 0.5)
    assert sign("数据库事务隔离").overlap(sign("关于数据库事务隔离级别的说明")) == 1


def test_positives_of_the_same_question_are_no_negatives():
    rows = Dataset.from_dict(
        {
            "question": ["Where is the red fox?", "where is the  RED fox?", "Where is the red fox"],
            "text": ["The red fox is in the woods.", "Foxes, red ones, live near water.", "A red car, a fox in it."],
        }
    )
    first, second, third = mine(rows)
    assert first == second == ["A red car, a fox in it."]
    assert set(third) == {rows[0]["text"], rows[1]["text"]}


def test_texts_without_a_word_of_the_query_are_no_negatives():
    assert mine(make_rows("The red fox.", "Stones.", "A foxy fox."))[0] == ["A foxy fox."]


def test_empty_texts_are_no_negatives_and_rows_without_question_or_positive_get_none(caplog):
    rows = Dataset.from_dict(
        {
            "question": ["red fox", None, "  ", "red fox?", "red fox!", "the of !?"],
            "scenario": ["", "A red fox.", "A red fox.", None, "", None],
            "text": ["The red fox.", "A red fox ran.", "My red fox.", "", None, "Some fox."],
        }
    )
    with caplog.at_level(logging.INFO, "hf_rare"):
        found = mine(rows, query=("scenario", "question"))
    assert [len(texts) for texts in found] == [3, 0, 0, 0, 0, 0]
    assert "3 hard negatives for 6 rows: 5 rows have fewer than 3, of which 5 have none" in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]


WORDS = st.sampled_from(["fox", "Fox", "red", "RED", "stone", "owl", "owl.", "ﬁsh", "fish", "", " "])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), st.sampled_from([None, 0.3, 0.5, 1.0]), st.randoms())
@settings(max_examples=40, deadline=None)
def test_whatever_the_rows_no_negative_is_a_positive(pairs, threshold, random):
    rows = [{"question": question, "text": text} for question, text in pairs]
    found = mine(Dataset.from_list(rows), duplicate_threshold=threshold, num_negatives=4)
    for row, negatives in zip(rows, found, strict=True):
        own = {normalize(r["text"]) for r in rows if normalize(r["question"]) == normalize(row["question"])}
        own.add(normalize(row["text"]))
        keys = [normalize(text) for text in negatives]
        assert not own & set(keys)
        assert "" not in keys
        assert len(set(keys)) == len(keys) <= 4
        if threshold:
            assert all(sign(key).overlap(sign(positive)) < threshold for key in keys for positive in own)
    order = list(range(len(rows)))
    random.shuffle(order)
    again = mine(Dataset.from_list(rows).select(order), duplicate_threshold=threshold, num_negatives=4)
    assert again == [found[i] for i in order]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=1500), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_ranking_without_a_full_sort_is_the_full_sort(values, expected):
    scores = np.array(values, dtype=np.float32)
    everything = [i for i in np.argsort(-scores, kind="stable").tolist() if values[i] > 0]
    assert list(rank(scores, expected)) == everything


# Ties, languages, containers


def test_ties_go_to_the_first_of_the_corpus():
    corpus = [f"fox {name}" for name in ("delta", "alpha", "charlie", "bravo")]
    assert mine(make_rows("unrelated"), corpus) == [["fox delta", "fox alpha", "fox charlie"]]
    assert mine(make_rows("unrelated", *corpus))[0] == ["fox alpha", "fox bravo", "fox charlie"]


def test_languages():
    rows = make_rows("etwas anderes", question="Wo sind die Häuser?")
    corpus = ["Das Haus und die Garage", "Die Bäume sind hoch", "Viele Haeuser"]
    assert mine(rows, corpus, language="german") == [["Das Haus und die Garage", "Viele Haeuser"]]
    assert mine(rows, corpus, language=None) == [["Die Bäume sind hoch", "Das Haus und die Garage"]]
    assert make_tokenizer("english")("The tables of PostgreSQL were VACUUMed") == [
        "tabl",
        "postgresql",
        "were",
        "vacuum",
    ]
    with pytest.raises(ConfigError, match=r"language='klingon' is unknown. Pass one of arabic, .*english.*or None"):
        mine(rows, corpus, language="klingon")


def test_chinese_and_japanese_are_cut_into_characters_and_pairs_or_by_a_tokenizer():
    assert make_tokenizer(None)("事务 isolation 級別 \uff54est データ") == (
        ["事", "务", "事务", "isolation", "級", "別", "級別", "test", "デ", "ー", "タ", "デー", "ータ"]
    )
    rows = make_rows("无关文档", question="事务隔离")
    corpus = ["数据库事务的隔离级别", "天气很好"]
    assert mine(rows, corpus, language=None) == [["数据库事务的隔离级别"]]

    def pairs(text: str) -> list[str]:
        return [text[i : i + 2] for i in range(len(text) - 1)]

    assert mine(rows, ["离隔务事", "事务管理"], tokenizer=pairs) == [["事务管理"]]


def test_a_corpus_without_words_and_an_empty_dataset():
    assert mine(make_rows("!!!", "???"), ["...", "", "§"]) == [[], []]
    assert mine(make_rows("fox"), []) == [[]]
    empty = mine_hard_negatives(make_rows("fox").select([]), query="question", keep_scores=True)
    assert empty.column_names == ["question", "text", "hard_negatives", SCORES]
    assert len(empty) == 0


def test_formats_and_indices_stay(questions, docs):
    rows = questions.select([5, 3, 9])
    plain = mine_hard_negatives(rows, docs.shuffle(seed=1))
    for kind in ("numpy", "pandas"):
        mined = mine_hard_negatives(rows.with_format(kind), docs.with_format(kind))
        assert mined.format["type"] == kind
        assert mined.with_format(None).to_list() == mine_hard_negatives(rows, docs).to_list()
    limited = mine_hard_negatives(rows.with_format("numpy", columns=["id"]), docs)
    assert list(limited[0]) == ["id", "hard_negatives"]
    assert plain["hard_negatives"][:] == mine_hard_negatives(rows, docs)["hard_negatives"][:]


def test_numbers_as_ids():
    corpus = Dataset.from_dict({"text": ["red fox", "a fox", "stone"], "number": [7, 8, 9]})
    mined = mine_hard_negatives(make_rows("unrelated"), corpus, query="question", id_column="number")
    assert mined[0][IDS] == [7, 8]
    assert mined.features[IDS] == datasets.List(datasets.Value("int64"))


def test_a_second_call_over_rows_on_disk_reads_the_first(questions, docs, tmp_path, monkeypatch):
    questions.to_parquet(tmp_path / "rows.parquet")
    rows = Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path))
    first = mine_hard_negatives(rows, docs)
    more = mine_hard_negatives(rows, docs, num_negatives=4)
    other = mine_hard_negatives(rows, docs.select(range(500)))
    monkeypatch.setattr("hf_rare.negatives.miner.Miner.__call__", None)
    again = mine_hard_negatives(rows, docs)
    assert again.to_list() == first.to_list()
    assert again.cache_files == first.cache_files
    assert first["hard_negatives"][:] == [texts[:3] for texts in more["hard_negatives"]]
    assert other["hard_negatives"][:] != first["hard_negatives"][:]


# What cannot be right


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_negatives": 0}, "num_negatives=0 cannot be right: expected a whole number of at least 1"),
        ({"num_negatives": True}, "num_negatives=True"),
        ({"skip_top": -1}, "skip_top=-1"),
        ({"query": ()}, r"query=\(\) cannot be right: expected names of columns"),
        ({"query": ["question", 3]}, "query="),
        ({"query": 3}, "query="),
        ({"duplicate_threshold": 0}, "duplicate_threshold=0 cannot be right: expected a number above 0 and up to 1"),
        ({"duplicate_threshold": 1.5}, "duplicate_threshold=1.5"),
        ({"max_score_ratio": 0}, "max_score_ratio=0"),
        ({"max_score_ratio": math.nan}, "max_score_ratio=nan"),
        ({"k1": -1}, "k1=-1"),
        ({"b": 2}, "b=2"),
        ({"b": "high"}, "b='high'"),
        ({"language": ""}, "language=''"),
        ({"text_column": ""}, "text_column=''"),
        ({"keep_scores": 1}, "keep_scores=1"),
        ({"num_proc": 0}, "num_proc=0"),
        ({"num_negative": 3}, "num_negative"),
    ],
)
def test_wrong_settings(rows, setting, message):
    with pytest.raises(ConfigError, match=message):
        mine_hard_negatives(rows, hard_negatives_column="new", **{"query": "question", **setting})


def test_wrong_datasets_and_corpora(rows):
    rows = rows.remove_columns("hard_negatives")
    with pytest.raises(ConfigError, match=r"`dataset` is of type DatasetDict.*Pass one split"):
        mine_hard_negatives(datasets.DatasetDict(train=rows))
    with pytest.raises(ConfigError, match="`dataset` is of type IterableDataset"):
        mine_hard_negatives(rows.to_iterable_dataset())
    with pytest.raises(ConfigError, match=r"`corpus` is of type str; expected a datasets.Dataset or a list of texts"):
        mine_hard_negatives(rows, "one text")
    with pytest.raises(ConfigError, match="other than texts"):
        mine_hard_negatives(rows, ["one", 2])
    with pytest.raises(ConfigError, match="other than texts"):
        mine_hard_negatives(rows, ["lone \ud800 surrogate"])


def test_wrong_columns(rows):
    with pytest.raises(ColumnError, match=r"has a column 'hard_negatives' already.*hard_negatives_column="):
        mine_hard_negatives(rows)
    fresh = rows.remove_columns("hard_negatives")
    with pytest.raises(ColumnError, match=r"has no column 'scenario'; it has 'id', 'question'.*query"):
        mine_hard_negatives(fresh.remove_columns("scenario"))
    with pytest.raises(ColumnError, match="The corpus has no column 'text'; it has 'body'"):
        mine_hard_negatives(fresh, Dataset.from_dict({"body": ["one"]}))
    with pytest.raises(ColumnError, match="The corpus has no column 'key'; it has 'text'"):
        mine_hard_negatives(fresh, ["one"], id_column="key")
    with pytest.raises(ColumnError, match=r"Column 'text' of the corpus holds Value\('int64'\); expected strings"):
        mine_hard_negatives(fresh, Dataset.from_dict({"text": [1]}))
    with pytest.raises(ColumnError, match="Column 'key' of the corpus holds lists"):
        mine_hard_negatives(fresh, Dataset.from_dict({"text": ["a"], "key": [[1]]}), id_column="key")
    mined = mine_hard_negatives(fresh, hard_negatives_column="others")
    with pytest.raises(ColumnError, match="'others' already"):
        mine_hard_negatives(mined, hard_negatives_column="others")


def test_missing_packages_are_named(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    with pytest.raises(MissingPackageError, match="pip install bm25s PyStemmer"):
        bm25.make_tokenizer("english")


def test_torch_is_not_needed():
    code = (
        "import sys; from datasets import Dataset; from hf_rare.negatives.mine import mine_hard_negatives;"
        "ds = Dataset.from_dict({'question': ['fox', 'owl'], 'text': ['a red fox', 'an owl, a fox']});"
        "print(mine_hard_negatives(ds, query='question')['hard_negatives'][:]);"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[['an owl, a fox'], []]"
