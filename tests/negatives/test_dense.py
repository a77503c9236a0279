"""Dense hard negatives with a tiny random SentenceTransformer and sentence-transformers' own miner."""

import json
import logging
import sys

import numpy as np
import pytest
from datasets import Dataset, List, Value

from hf_rare.errors import ColumnError, ConfigError, MissingPackageError, ModelLoadError
from hf_rare.negatives.mine import mine_hard_negatives
from hf_rare.text import normalize, sign
from tests.conftest import REPOSITORY
from tests.support.scripted import ScriptedGenerator

IDS, SCORES = "hard_negatives_ids", "hard_negatives_scores"


@pytest.fixture(scope="module")
def docs() -> Dataset:
    lines = (REPOSITORY / "tests" / "data" / "pg_docs.jsonl").read_text(encoding="utf-8").splitlines()
    pages = [json.loads(line) for line in lines[:60]]
    return Dataset.from_list([{"id": page["id"], "text": page["text"][:160]} for page in pages])


@pytest.fixture(scope="module")
def questions(docs) -> Dataset:
    rows = [{"question": f"What of {text[40:70]}?", "scenario": text[:30], "text": text} for text in docs["text"][:12]]
    rows[3] |= {"question": rows[2]["question"].upper()}  # has two positives now
    rows[4]["question"] = "  "
    rows[5]["text"] = None
    rows[6] |= {"question": "What?", "scenario": None}
    return Dataset.from_list(rows)


@pytest.fixture(scope="module")
def embedder(tiny_embedder):
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(tiny_embedder, device="cpu")


@pytest.fixture(scope="module")
def mined(questions, docs, embedder) -> Dataset:
    return mine_hard_negatives(
        questions, docs, 5, method="dense", model=embedder, id_column="id", keep_scores=True, dense={"batch_size": 16}
    )


def embed(embedder, texts: list[str]) -> np.ndarray:
    return embedder.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def read_query(row: dict) -> str:
    return "\n".join(part for part in (row["scenario"], row["question"]) if part)


def test_rows_get_the_nearest_documents_that_are_no_copies(questions, docs, embedder, mined):
    assert mined.column_names == [*questions.column_names, "hard_negatives", SCORES, IDS]
    assert mined.features["hard_negatives"] == List(Value("string"))
    assert mined.select_columns(questions.column_names).to_list() == questions.to_list()
    texts, ids = docs["text"][:], docs["id"][:]
    embedded = embed(embedder, texts)
    for i, row in enumerate(mined):
        if i in (4, 5):
            assert row["hard_negatives"] == row[SCORES] == row[IDS] == []
            continue
        scores = embedded @ embed(embedder, [read_query(row)])[0]
        positives = [sign(questions[j]["text"]) for j in ((2, 3) if i in (2, 3) else (i,))]
        allowed = [n for n, text in enumerate(texts) if not any(sign(text).is_copy_of(p, 0.5) for p in positives)]
        best = sorted(allowed, key=lambda n: -scores[n])[:5]
        assert row[SCORES] == pytest.approx([float(scores[n]) for n in best], abs=1e-5)
        found = [ids.index(identifier) for identifier in row[IDS]]
        assert [float(scores[n]) for n in found] == pytest.approx(row[SCORES], abs=1e-5)
        assert row["hard_negatives"] == [texts[n] for n in found]
        assert set(found) <= set(allowed)


def test_a_loaded_model_and_its_folder_are_the_same(questions, docs, tiny_embedder, mined):
    again = mine_hard_negatives(
        questions.with_format("numpy"), docs, 2, 3, method="dense", model=tiny_embedder, id_column="id"
    )
    assert again.format["type"] == "numpy"
    assert again.with_format(None)[IDS][:] == [ids[3:] for ids in mined[IDS]]  # which skip_top passes over


def test_copies_are_looked_past_however_many_they_are(embedder, caplog):
    page = "The tide lifts whatever lies on the mud of the harbour, and boats float at noon."
    copies = [f"{page} {number}" for number in range(60)]  # nearer to the question than anything else
    rows = Dataset.from_dict({"question": [page], "text": [page]})
    corpus = [*copies, f" {page.upper()}", "", "  ", "Stones.", "stones. ", "Bees fly at noon."]
    with caplog.at_level(logging.INFO, "hf_rare"):
        found = mine_hard_negatives(rows, corpus, 3, query="question", method="dense", model=embedder)
    assert sorted(found[0]["hard_negatives"]) == ["Bees fly at noon.", "Stones."]
    assert "1 rows have fewer than 3, of which 0 have none" in caplog.text
    all_but_equal = mine_hard_negatives(
        rows, corpus, 90, query="question", method="dense", model=embedder, duplicate_threshold=None
    )
    assert len(all_but_equal[0]["hard_negatives"]) == 62
    assert normalize(page) not in map(normalize, all_but_equal[0]["hard_negatives"])


def test_positives_outside_the_corpus_are_no_negatives(embedder):
    rows = Dataset.from_dict({"question": ["ebb", "flood"], "text": ["The ebb.", "The flood."]})
    found = mine_hard_negatives(rows, ["An owl."], query="question", method="dense", model=embedder)
    assert found["hard_negatives"][:] == [["An owl."]] * 2
    own = mine_hard_negatives(rows, query="question", method="dense", model=embedder)
    assert own["hard_negatives"][:] == [["The flood."], ["The ebb."]]
    nothing = mine_hard_negatives(rows, [" "], query="question", method="dense", model=embedder)
    assert nothing["hard_negatives"][:] == [[], []]
    assert (
        mine_hard_negatives(rows.select([]), query="question", method="dense", model=embedder).features == own.features
    )


def test_options_go_through_to_the_miner(questions, docs, embedder, mined):
    def mine(**options) -> Dataset:
        return mine_hard_negatives(
            questions, docs, 5, method="dense", model=embedder, keep_scores=True, id_column="id", dense=options
        )

    apart = mine(absolute_margin=0.02, range_max=20)
    assert apart[IDS][:] != mined[IDS][:]
    with_negatives = apart.filter(lambda row: len(row["hard_negatives"]) > 0)
    assert len(with_negatives) > 0
    for row in with_negatives:
        query, positive = embed(embedder, [read_query(row), row["text"]])
        assert row[SCORES][0] <= query @ positive - 0.02 + 1e-5
    highest = max(score for scores in mined[SCORES] for score in scores)
    capped = mine(max_score=highest - 0.01)
    assert max(score for scores in capped[SCORES] for score in scores) <= highest - 0.01
    assert mine(range_min=4)[0][IDS][:3] != mined[0][IDS][:3]
    assert max(len(ids) for ids in mine(range_max=2)[IDS]) == 2


def test_a_cross_encoder_scores_anew(questions, docs, embedder):
    class Lengths:
        """Scores a pair by the length of the document."""

        def predict(self, pairs, convert_to_tensor, **_):
            import torch

            return torch.tensor([len(text) / 1000 for _, text in pairs])

    options = {"cross_encoder": Lengths(), "max_score": 0.4}
    found = mine_hard_negatives(questions, docs, 2, method="dense", model=embedder, keep_scores=True, dense=options)
    texts = [text for texts in found["hard_negatives"] for text in texts]
    assert texts
    assert all(len(text) <= 400 for text in texts)
    assert found[0][SCORES] == pytest.approx([len(text) / 1000 for text in found[0]["hard_negatives"]])


def test_a_model_writes_them(questions):
    answer = json.dumps({"hard_negatives": [{"document": "Owls hunt."}, {"document": "Bees fly."}]})
    generator = ScriptedGenerator(lambda text, seed: answer)
    written = mine_hard_negatives(
        questions, method="generated", generator=generator, num_negatives=2, columns="minimal", max_attempts=1
    )
    assert written[0]["hard_negatives"] == ["Owls hunt.", "Bees fly."]
    assert written[4]["hard_negatives"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "sparse"}, "method='sparse' cannot be right: expected one of 'bm25', 'dense', 'generated'"),
        ({"method": "generated"}, r"`hf_rare.NegativeWriter` does. Pass generator="),
        ({"method": "dense"}, "needs model=...: a SentenceTransformer"),
        ({"model": "m"}, "model is not for method='bm25'"),
        ({"generator": 1}, "generator is not for method='bm25'"),
        ({"method": "dense", "model": "m", "k1": 1.2}, "k1 is not for method='dense'"),
        ({"method": "dense", "model": "m", "num_proc": 2}, "num_proc is not for"),
        ({"method": "dense", "model": "m", "max_score_ratio": 0.9}, "Pass dense={'relative_margin': ...}"),
        ({"method": "dense", "model": "m", "dense": {"range_maximum": 9}}, "Did you mean 'range_max'"),
        ({"method": "dense", "model": "m", "dense": {"range_min": -1}}, "range_min=-1 cannot be right"),
        ({"method": "dense", "model": "m", "dense": [1]}, r"dense=\[1\] cannot be right: expected options by name"),
        ({"method": "generated", "generator": 1, "skip_top": 2}, "skip_top is not for method='generated'"),
        ({"method": "generated", "generator": 1, "query": "q"}, "query is not for method='generated'"),
    ],
)
def test_what_a_method_does_not_take(questions, arguments, message):
    with pytest.raises(ConfigError, match=message):
        mine_hard_negatives(questions, **arguments)


def test_errors_of_the_miner_and_of_loading(questions, docs, embedder, monkeypatch, tmp_path):
    for options, message in (
        ({"range_min": 5, "range_max": 5}, "range_max=5 cannot be right: expected more than range_min=5"),
        ({"faiss_batch_size": 0}, "does not take the options in dense=.*faiss_batch_size"),
    ):
        with pytest.raises(ConfigError, match=message):
            mine_hard_negatives(questions, docs, method="dense", model=embedder, dense=options)
    with pytest.raises(ColumnError, match="'text' already"):
        mine_hard_negatives(questions, method="dense", model=embedder, hard_negatives_column="text")
    with pytest.raises(ModelLoadError, match=r"SentenceTransformer '.*nowhere' cannot be loaded"):
        mine_hard_negatives(questions, method="dense", model=str(tmp_path / "nowhere"))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "faiss", None)
        with pytest.raises(MissingPackageError, match="faiss"):
            mine_hard_negatives(questions, docs, method="dense", model=embedder, dense={"use_faiss": True})
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingPackageError, match=r"pip install hf-rare\[dense\]"):
        mine_hard_negatives(questions, method="dense", model="any")


def test_the_command_line(questions, tiny_embedder, tmp_path, capsys):
    from hf_rare.cli.main import main

    rows, output = tmp_path / "rows.parquet", tmp_path / "mined.parquet"
    questions.to_parquet(rows)
    options = ["--method", "dense", "--model", tiny_embedder, "--dense", '{"batch_size": 8}', "--num-negatives", "2"]
    main(["negatives", str(rows), "--output", str(output), *options])
    assert "12 rows are in" in capsys.readouterr().out
    expected = mine_hard_negatives(questions, num_negatives=2, method="dense", model=tiny_embedder)
    assert Dataset.from_parquet(str(output)).to_list() == expected.to_list()
