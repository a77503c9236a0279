"""Pipelines: every stage, what is skipped, what is found out at once, and the pipelines that ship."""

import contextlib
import json
import logging
import os
import shutil
import sys

import pytest
import yaml
from datasets import Dataset, load_from_disk

from hf_rare.cli.main import main
from hf_rare.errors import BudgetReachedError, ConfigError, DatasetFileError, OutputExistsError, PipelineError
from hf_rare.pipeline.run import EXPORTS, FUNCTIONS, run_pipeline
from hf_rare.pipeline.settings import check_pipeline, load_pipeline
from hf_rare.pipeline.told import tell_command
from hf_rare.writers.questions import make_question_schema
from hf_rare.writers.recipe import read_recipe
from tests.conftest import REPOSITORY
from tests.support.loopback_hub import hub_fixture  # noqa: F401

PIPELINES = sorted((REPOSITORY / "pipelines").glob("*.yaml"))
TOPICS = ["tides", "bread", "owls", "bees", "clocks", "glass"]
SCHEMA = make_question_schema(max_length=24)


@pytest.fixture
def corpus(tmp_path) -> str:
    texts = [
        f"What is known of {topic}: they come in {i + 2} kinds, and {topic} last." for i, topic in enumerate(TOPICS)
    ]
    path = tmp_path / "corpus.jsonl"
    Dataset.from_dict({"id": range(len(texts)), "text": texts}).to_json(path)
    return str(path)


@pytest.fixture
def sections(tiny, corpus, tmp_path) -> dict:
    return {
        "input": corpus,
        "output": str(tmp_path / "out"),
        "model": {
            "model_id": tiny,
            "journal_dir": str(tmp_path / "journal"),
            "generation_kwargs": {"temperature": 1.0},
        },
        "questions": {"json_schema": SCHEMA, "max_new_tokens": 120},
        "near_duplicates": {"threshold": 0.9},
        "decontamination": {"evaluation_sets": [corpus], "evaluation_columns": ["text"], "n": 4},
        "negatives": {"num_negatives": 2, "query": ["text"]},
        "distill": {"max_new_tokens": 12},
        "grounding": True,
        "export": {
            "sft": {"format": "sft", "statuses": None, "keep_columns": ["id"]},
            "triplets": {"format": "retrieval", "statuses": None},
        },
        "card": {"license": "mit", "pretty_name": "Traces about things"},
    }


def run(sections, **settings):
    told = []
    rows = run_pipeline(sections, on_stage=told.append, **settings)
    return rows, {result.name: result.is_skipped for result in told}


def test_from_a_corpus_to_training_files(sections, tmp_path):
    progress = []
    rows, told = run(sections, callbacks=[progress.append])
    assert [one.rows_ended for one in progress if one.rows_ended == one.rows] == [len(TOPICS)] * 2
    assert list(told) == [
        "questions", "near_duplicates", "decontamination", "negatives", "distill", "grounding",
        "export sft", "export triplets",
    ]  # fmt: skip
    assert not any(told.values())
    assert len(rows) == len(TOPICS)
    for name in ("id", "text", "question", "scenario", "hard_negatives", "reasoning", "reasoning_status"):
        assert name in rows.column_names
    assert [name for name in rows.column_names if "grounded" in name or "cites" in name]
    out = tmp_path / "out"
    assert Dataset.from_parquet(str(out / "rows.parquet")).to_list() == rows.to_list()
    sft = Dataset.from_parquet(str(out / "export" / "sft.parquet"))
    assert {"prompt", "completion", "id"} <= set(sft.column_names)
    assert "negative_2" in Dataset.from_parquet(str(out / "export" / "triplets.parquet")).column_names
    card, recipe = (out / "README.md").read_text(), json.loads((out / "rows.recipe.json").read_text())
    assert "# Traces about things" in card
    assert (recipe["kind"], recipe["command"]) == ("distill", None)  # sections have no command
    stages = ["questions", "near_duplicates", "decontamination", "negatives", "distill", "grounding"]
    assert [stage["stage"] for stage in recipe["stages"]] == stages
    assert [line.split("`")[1] for line in card.splitlines() if line.startswith("- `")] == stages
    assert "Searched: the documents of the rows themselves. Settings: `num_negatives` `2`, `skip_top` `0`, `q" in card
    assert "`method` `bm25`, `duplicate_threshold` `0.5`, `language` `english`" in card
    assert recipe["stages"][2]["settings"]["evaluation_sets"] == [{"name": "corpus.jsonl"}]
    assert str(tmp_path) not in card + json.dumps(recipe)
    assert read_recipe(out / "rows.recipe.json")["distill"] == recipe["distill"]


def test_what_stands_is_skipped_and_what_depends_on_a_change_is_not(sections):
    first, _ = run(sections)
    again, told = run(sections)
    assert again.to_list() == first.to_list()
    assert [name for name, is_skipped in told.items() if not is_skipped] == ["export sft", "export triplets"]
    _, told = run({**sections, "negatives": {**sections["negatives"], "num_negatives": 1}})
    assert [name for name, is_skipped in told.items() if is_skipped] == [
        "questions",
        "near_duplicates",
        "decontamination",
    ]
    _, told = run({name: section for name, section in sections.items() if name != "near_duplicates"})
    assert [name for name, is_skipped in told.items() if is_skipped] == ["questions"]


def test_an_interrupted_stage_goes_on_from_its_journal(sections, tmp_path):
    sections["distill"] |= {"max_rows": 2}
    with pytest.raises(BudgetReachedError):
        run(sections)
    assert not (tmp_path / "out" / "6-distill").exists()
    del sections["distill"]["max_rows"]
    rows, told = run(sections)
    assert told["questions"]
    assert not told["distill"]
    assert len(rows) == len(TOPICS)


def remove_note(stage):
    (stage / "stage.json").unlink()


def write_note(text):
    return lambda stage: (stage / "stage.json").write_text(text)


def cut_note(stage):
    os.truncate(stage / "stage.json", 20)


def cut_rows(stage):
    for file in (stage / "rows").glob("*.arrow"):
        os.truncate(file, file.stat().st_size // 2)


def remove_rows(stage):
    shutil.rmtree(stage / "rows")


SPOILING = {
    "no note": remove_note,
    "an empty note": write_note(""),
    "a torn note": cut_note,
    "a list for a note": write_note("[]"),
    "null for a note": write_note("null"),
    "torn rows": cut_rows,
    "no rows": remove_rows,
}


@pytest.mark.parametrize("spoil", SPOILING.values(), ids=SPOILING)
def test_a_half_written_or_damaged_stage_is_made_again(sections, tmp_path, spoil):
    first, _ = run(sections)
    spoil(tmp_path / "out" / "5-negatives")
    again, told = run(sections)
    assert next(name for name, is_skipped in told.items() if not is_skipped) == "negatives"
    assert again.to_list() == first.to_list()


def test_negatives_that_a_model_writes(sections, tmp_path):
    document = {"type": "object", "properties": {"document": {"type": "string", "pattern": "^[a-z]{3,20}$"}}}
    item = {**document, "required": ["document"], "additionalProperties": False}
    schema = {"type": "array", "items": item, "minItems": 1, "maxItems": 1}
    sections["negatives"] = {"method": "generated", "num_negatives": 1, "json_schema": schema, "max_new_tokens": 60}
    rows, _ = run(sections)
    assert [len(negatives) for negatives in rows["hard_negatives"]] == [1] * len(rows)
    assert "hard_negatives_attempts" in rows.column_names


def test_negatives_by_embeddings(sections, tiny_embedder):
    sections = {name: sections[name] for name in ("input", "output")} | {
        "negatives": {"method": "dense", "model": tiny_embedder, "dense": {"batch_size": 2}, "num_negatives": 2}
    }
    sections["negatives"] |= {"query": ["text"], "question_column": "text"}
    rows, told = run(sections)
    assert [len(negatives) for negatives in rows["hard_negatives"]] == [2] * len(rows)
    _, told = run(sections)
    assert told["negatives"]


def test_gold_answers_attempts_and_a_judge(sections, tmp_path):
    rows = Dataset.from_list(
        [{"question": f"What of {topic}?", "options": ["ebb", "flood"], "answer": "B"} for topic in TOPICS]
    )
    rows.save_to_disk(tmp_path / "rows")
    schema = {"type": "object", "properties": {"verdict": {"enum": ["right", "wrong"]}}, "required": ["verdict"]}
    sections = {
        "input": {"name": str(tmp_path / "rows"), "rows": 4},
        "corpus": sections["input"],
        "model": sections["model"],
        "retrieval": {"num_documents": 2, "query": "question"},
        "distill": {
            "gold_column": "answer", "max_attempts": 2, "keep_attempts": True, "max_new_tokens": 8,
            "template": "plain",
            "judge": {"json_schema": schema, "max_new_tokens": 20},
        },
        "export": {
            "full": {"format": "sft", "one_trace": True, "statuses": None},
            "kto": {"format": "preference", "form": "kto", "statuses": None},
        },
    }  # fmt: skip
    rows, _ = run(sections, output=tmp_path / "out")
    assert len(rows) == 4
    assert list(map(len, rows["reasoning_verdict"])) == rows["reasoning_attempts"][:]
    assert len(Dataset.from_parquet(str(tmp_path / "out" / "export" / "full.parquet"))) == 4


def test_a_stage_that_leaves_no_rows_says_why(sections):
    sections["questions"] = {"max_new_tokens": 5}
    with pytest.raises(PipelineError, match=r"'questions' has left no rows. It has written 6 texts: "):
        run(sections)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"qestions": {}}, "Did you mean 'questions'"),
        ({"output": None}, "names no folder"),
        ({"distill": {"generation_kwargs": {"temperature": 0}, "num_samples": 2}}, "num_samples=2 asks for different"),
        ({"distill": {"num_samples": "2"}}, "num_samples='2' cannot be right"),
        ({"model": {}}, "No model is given for 'questions'"),
        ({"distill": {"judge": {"max_new_tokns": 3}}}, "Did you mean 'max_new_tokens'"),
    ],
)
def test_what_is_wrong_is_found_out_before_anything_is_generated(sections, tmp_path, change, reason):
    with pytest.raises(ConfigError, match=reason):
        run({**sections, **change})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"decontamination": {"evaluation_sets": ["nothing.jsonl"]}},
        {"negatives": {"corpus": "nothing.jsonl"}},
        {"corpus": "nothing.jsonl"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_input_that_is_missing_is_found_out_before_anything_is_generated(sections, tmp_path, change):
    with pytest.raises(DatasetFileError, match=r"The pipeline's '(corpus|evaluation_sets)': 'nothing\.jsonl' is no"):
        run({**sections, **change})
    assert not (tmp_path / "out").exists()


def test_the_command_and_how_negatives_were_mined_are_in_the_card(mining, corpus, tmp_path, monkeypatch):
    pages = tmp_path / "pages.jsonl"
    Dataset.from_dict({"text": [f"What is known of {topic}?" for topic in TOPICS]}).to_json(pages)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**mining, "corpus": {"name": str(pages), "rows": 4}}))
    run(path, output=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "```bash\nhf-rare run mine.yaml --output out\n```\n\nThe rest was not recorded." in card
    assert "- `negatives`: Hard negatives were mined: documents that rank high for a question" in card
    assert "Searched: `pages.jsonl` of 4 documents. Settings: `num_negatives` `1`" in card
    assert str(tmp_path) not in card
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hf-rare", "run", str(path), "--input", corpus])
    run(mining)
    assert "```bash\nhf-rare run mine.yaml --input corpus.jsonl\n```" in (tmp_path / "out" / "README.md").read_text()


def test_the_command_of_a_file_and_models_that_stand_in(tmp_path, monkeypatch):
    assert tell_command({}, None, {}) is None
    assert tell_command(tmp_path / "a.yaml", None, {"seed": 3}) is None  # there is no such flag
    path = tmp_path / "a.yaml"
    path.touch()
    told = tell_command(path, None, {"model_id": "me/teacher", "max_new_tokens": 9})
    assert told == "hf-rare run a.yaml --model me/teacher --max-new-tokens 9"
    monkeypatch.setattr(sys, "argv", ["/lib/pytest/__main__.py", "-x"])
    assert tell_command(path, None, {}) == "hf-rare run a.yaml"


def test_a_pipeline_that_pushes(mining, hub):
    rows, _ = run({**mining, "push": {"repo_id": "me/rare", "language": "en"}, "card": {"license": "mit"}})
    card = hub.read("me/rare", "README.md").decode()
    assert "license: mit" in card
    assert f"num_examples: {len(rows)}" in card
    assert "- `negatives`: Hard negatives were mined" in card


@pytest.fixture
def mining(corpus, tmp_path) -> dict:
    """A pipeline without a model."""
    return {
        "input": corpus,
        "output": str(tmp_path / "out"),
        "negatives": {"num_negatives": 1, "query": ["text"], "question_column": "text"},
    }


def test_an_evaluation_set_that_grows_is_compared_again(mining, tmp_path):
    path = tmp_path / "eval.jsonl"
    Dataset.from_dict({"question": ["What is asked of the moon, and of nothing else at all?"]}).to_json(path)
    mining["decontamination"] = {"evaluation_sets": [str(path)], "columns": ["text"], "n": 4}
    rows, _ = run(mining)
    assert len(rows) == len(TOPICS)
    _, told = run(mining)
    assert told["decontamination"]
    Dataset.from_dict({"question": ["Tell me of owls: they come in how many kinds?"]}).to_json(path)
    rows, told = run(mining)
    assert told == {"decontamination": False, "negatives": False}
    assert not any("owls" in text for text in rows["text"])


def test_negatives_from_a_corpus_of_their_own(mining, tmp_path):
    pages, others = tmp_path / "pages.jsonl", tmp_path / "others.jsonl"
    page = "What is known of everything: it comes in kinds, and things last."
    Dataset.from_dict({"text": [page]}).to_json(pages)
    Dataset.from_dict({"text": ["What is known of nothing."]}).to_json(others)
    mining["negatives"] |= {"corpus": str(pages)}
    mining["corpus"] = str(others)
    rows, _ = run(mining)
    assert rows["hard_negatives"][:] == [[page]] * len(TOPICS)
    _, told = run(mining)
    assert told["negatives"]
    Dataset.from_dict({"text": [page.upper()]}).to_json(pages)
    rows, told = run(mining)
    assert not told["negatives"]
    assert rows["hard_negatives"][:] == [[page.upper()]] * len(TOPICS)


def test_another_embedding_model_in_the_same_folder_is_another_model(mining, tiny_embedder, tmp_path):
    folder = tmp_path / "embedder"
    shutil.copytree(tiny_embedder, folder)
    mining["negatives"] |= {"method": "dense", "model": str(folder), "dense": {"batch_size": 2}}
    run(mining)
    _, told = run(mining)
    assert told["negatives"]
    (pooling,) = folder.glob("*Pooling/config.json")
    pooling.write_text(pooling.read_text() + "\n")
    _, told = run(mining)
    assert not told["negatives"]


def test_what_people_have_written_into_the_card_stays(mining, tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="hf_rare.pipeline.outputs")
    run(mining)
    card = tmp_path / "out" / "README.md"
    card.write_bytes(card.read_bytes() + b"\r\nWritten by hand.\r\n")
    run({**mining, "input": {"name": mining["input"], "rows": 4}})
    assert card.read_bytes().endswith(b"\r\nWritten by hand.\r\n")
    assert card.read_text().count("<!-- hf_rare: config default -->") == 1
    assert caplog.messages == []
    caplog.clear()
    run({**mining, "card": {"pretty_name": "Another title", "license": "mit"}})
    (message,) = caplog.messages
    assert "README.md keeps pretty_name: Distilled reasoning over retrieved documents. Change it there" in message
    assert "license: mit" in card.read_text()
    card.unlink()
    run({**mining, "card": {"pretty_name": "Another title"}})
    assert "# Another title" in card.read_text()


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("# My project\n", OutputExistsError, "is no card that was generated here"),
        (b"\xff\xfe", OutputExistsError, "cannot be read"),
        ("<!-- hf_rare: config default -->\n", ConfigError, r"README.md: The card's generated part"),
        ("---\na: [\n---\n<!-- hf_rare: config a -->\n<!-- /hf_rare -->\n", ConfigError, r"README.md: The YAML"),
    ],
)
def test_a_readme_that_is_no_card_is_never_overwritten(mining, tmp_path, text, error, reason):
    path = tmp_path / "README.md"
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(content)
    with pytest.raises(error, match=reason):
        run(mining, output=tmp_path)
    assert path.read_bytes() == content
    assert not list(tmp_path.glob("*-negatives"))


def test_rows_that_no_earlier_run_has_left_are_never_overwritten(mining, tmp_path):
    Dataset.from_json(mining["input"]).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(OutputExistsError, match=r"rows\.parquet exists already, without the card of an earlier run"):
        run(mining, output=tmp_path)
    mining["input"] = str(tmp_path / "rows.parquet")
    with pytest.raises(OutputExistsError, match=r"rows\.parquet is read as .*, and its rows would be lost"):
        run(mining, output=tmp_path)
    assert not list(tmp_path.glob("*-negatives"))


def test_rows_without_a_recipe_have_none_beside_them(sections, mining, tmp_path):
    run(sections)
    assert (tmp_path / "out" / "rows.recipe.json").exists()
    run(mining)
    assert not (tmp_path / "out" / "rows.recipe.json").exists()


@pytest.mark.parametrize("path", PIPELINES, ids=[path.stem for path in PIPELINES])
def test_the_recipes_that_ship_run(path, tiny, corpus, tmp_path):
    sections = load_pipeline(path)
    check_pipeline(sections, FUNCTIONS, EXPORTS)
    rows = tmp_path / "questions.jsonl"
    Dataset.from_dict(
        {"question": ["What of owls?", "What of bees?"], "options": [["a", "b"]] * 2, "answer": ["A", "B"]}
    ).to_json(rows)
    sections |= {"input": str(rows) if "corpus" in sections else corpus}
    sections |= {"corpus": corpus} if "corpus" in sections else {}
    if "questions" in sections:  # a random model writes JSON only where it must
        schema = make_question_schema(sections["questions"].get("num_questions", 1), 24)
        sections["questions"] |= {"json_schema": schema, "max_new_tokens": 250}
    if "skip_top" in sections.get("negatives", {}):  # there are six documents
        sections["negatives"]["skip_top"] = 1
    for export in sections["export"].values():
        export["statuses"] = None
    sections["model"] |= {"max_new_tokens": 8, "context_length": 2000}
    has_none_right = pytest.raises(PipelineError, match="'sft-correct' has no rows")
    with has_none_right if path.stem == "rare" else contextlib.nullcontext():
        run_pipeline(sections, output=tmp_path / "out", model_id=tiny)
    assert len(Dataset.from_parquet(str(tmp_path / "out" / "rows.parquet"))) > 0
    assert sorted(file.stem for file in (tmp_path / "out" / "export").iterdir()) == sorted(sections["export"])


def test_the_command_line(sections, tmp_path, capsys):
    import yaml

    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(sections))
    assert main(["run", str(tmp_path / "pipeline.yaml"), "--output", str(tmp_path / "elsewhere")]) == 0
    out = capsys.readouterr().out
    assert f"questions: {len(TOPICS)} rows in {tmp_path / 'elsewhere' / '1-questions' / 'rows'}" in out
    assert main(["run", str(tmp_path / "pipeline.yaml"), "--output", str(tmp_path / "elsewhere")]) == 0
    assert "distill: 6 rows" in (again := capsys.readouterr().out)
    assert again.count("which stand already") == 6
    assert load_from_disk(tmp_path / "elsewhere" / "6-distill" / "rows").column_names
    assert main(["run", str(tmp_path / "nothing.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
