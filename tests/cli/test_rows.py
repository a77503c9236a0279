"""`hf-rare questions`, `negatives` and `export`: rows in, rows out."""

import json
import re
import shutil

import pytest
from datasets import Dataset, DatasetDict

from hf_rare import ReasonDistiller
from hf_rare.cli.main import main
from hf_rare.writers.questions import make_question_schema
from tests.support.commands import RAN


@pytest.fixture
def questions(demo_rows, tmp_path) -> str:
    path = tmp_path / "questions.jsonl"
    demo_rows.remove_columns("hard_negatives").to_json(path)
    return str(path)


def load(path) -> Dataset:
    return Dataset.from_parquet(str(path))


def test_questions_of_documents(rows, tiny, tmp_path, capsys):
    documents, output = tmp_path / "documents.jsonl", tmp_path / "asked.parquet"
    rows.select_columns(["id", "text"]).to_json(documents)
    schema = json.dumps(make_question_schema(2, 20))
    flags = ["--num-questions", "2", "--expand", "--max-new-tokens", "250", "--json-schema", schema, "--seed", "3"]
    arguments = ["questions", str(documents), "--model", tiny, *flags, "--output", str(output)]
    assert main([*arguments, "--generation-kwargs", '{"temperature": 1.0}']) == 0
    asked = load(output)
    assert asked["id"][:] == [name for row in rows for name in [row["id"]] * 2]
    assert all(asked["question"])
    assert json.loads((tmp_path / "asked.recipe.json").read_text())["kind"] == "questions"
    out = capsys.readouterr().out
    assert "12 texts: 12 ok" in out
    assert f"12 rows are in {output}" in out


def test_negatives_from_the_rows_and_from_a_corpus(questions, demo_rows, tmp_path, capsys):
    output = tmp_path / "mined.parquet"
    assert main(["negatives", questions, "--num-negatives", "2", "--keep-scores", "--output", str(output)]) == 0
    mined = load(output)
    assert max(map(len, mined["hard_negatives"])) == 2
    assert "hard_negatives_scores" in mined.column_names
    corpus = tmp_path / "corpus.jsonl"
    Dataset.from_dict({"body": ["How much of what does it take, and when, for the water?"]}).to_json(corpus)
    arguments = ["negatives", questions, "--corpus", str(corpus), "--corpus-column", "body", "--output", str(output)]
    assert main(arguments) == 3
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    negatives = load(output)["hard_negatives"]
    assert len(negatives) == len(demo_rows)
    assert {text for own in negatives for text in own} == {"How much of what does it take, and when, for the water?"}
    assert main(["negatives", questions, "--text-column", "page", "--output", str(tmp_path / "x.jsonl")]) == 3
    assert "The dataset has no column 'page'" in capsys.readouterr().err


@pytest.mark.parametrize("has_namesake", [False, True])
def test_rows_without_a_recipe_leave_no_stale_one_beside_them(questions, tmp_path, has_namesake):
    output, recipe = tmp_path / "mined.parquet", tmp_path / "mined.recipe.json"
    assert main(["negatives", questions, "--output", str(output)]) == 0
    recipe.write_text("{}")
    if has_namesake:
        (tmp_path / "mined.jsonl").write_text("{}")
    assert main(["negatives", questions, "--output", str(output), "--overwrite"]) == 0
    assert recipe.exists() == has_namesake


def test_a_recipe_of_other_rows_is_not_replaced(rows, tiny, tmp_path, capsys):
    rows.to_json(tmp_path / "rows.jsonl")
    arguments = ["distill", str(tmp_path / "rows.jsonl"), "--model", tiny, "--max-new-tokens", "4"]
    assert main([*arguments, "--output", str(tmp_path / "traces.parquet")]) in RAN
    recipe = (tmp_path / "traces.recipe.json").read_text()
    assert main([*arguments, "--seed", "1", "--output", str(tmp_path / "traces.jsonl")]) == 3
    assert "traces.recipe.json is the recipe of" in capsys.readouterr().err
    assert not (tmp_path / "traces.jsonl").exists()
    assert main([*arguments, "--output", str(tmp_path / "traces.jsonl")]) in RAN  # of the same recipe
    assert json.loads((tmp_path / "traces.recipe.json").read_text()) == json.loads(recipe)
    (tmp_path / "traces.jsonl").unlink()
    (tmp_path / "traces.recipe.json").write_text("[")
    assert main([*arguments, "--output", str(tmp_path / "traces.jsonl")]) == 3
    assert "cannot be read" in capsys.readouterr().err


def test_exports_go_by_the_recipe_beside_the_rows(rows, tiny, tmp_path, capsys):
    source, traces = tmp_path / "rows.jsonl", tmp_path / "traces.parquet"
    rows.to_json(source)
    flags = ["--max-new-tokens", "6", "--output-column", "trace"]
    assert main(["distill", str(source), "--model", tiny, *flags, "--output", str(traces)]) in RAN
    whole = load(traces)
    whole = whole.remove_columns("trace_status").add_column("trace_status", ["ok"] * len(whole))
    whole.to_parquet(traces)
    made = {}
    for form in ("sft", "kto"):
        output = tmp_path / f"{form}.parquet"
        assert main(["export", str(traces), form, "--keep-columns", "id", "--output", str(output)]) == 0
        made[form] = load(output)
    assert made["sft"].column_names == ["prompt", "completion", "id"]
    assert set(made["kto"]["label"]) == {True}
    output = tmp_path / "triplets.parquet"
    assert main(["export", str(traces), "retrieval", "--num-negatives", "1", "--output", str(output)]) == 0
    assert "negative_1" in load(output).column_names
    assert main(["export", str(traces), "retrieval", "--student", tiny, "--output", str(tmp_path / "x.jsonl")]) == 2
    assert "--student is not for retrieval" in capsys.readouterr().err
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert main(["export", str(traces), "sft", "--student", str(nothing), "--output", str(tmp_path / "x.jsonl")]) == 1
    assert f"--student {nothing}: its tokenizer cannot be loaded" in capsys.readouterr().err
    asked = ["--student-documents", "1", "--positive-share", "0", "--output", str(tmp_path / "prompts.parquet")]
    assert main(["export", str(traces), "self-distillation", "--privileged", "trace", *asked]) == 0
    prompts = load(tmp_path / "prompts.parquet")
    assert prompts.column_names == ["prompt", "privileged_context"]
    assert all(len(re.findall(r"^\[\d\]", row["prompt"][-1]["content"], re.MULTILINE)) == 1 for row in prompts)
    assert main(["export", str(traces), "distillation", "--output", str(tmp_path / "prompts.jsonl")]) == 0
    as_in_pipelines = {
        ("prompts",): ["prompt"],
        ("prompts", "--form", "self-distillation"): ["prompt", "privileged_context"],
        ("preference", "--form", "kto"): ["prompt", "completion", "label"],
    }
    for asked, columns in as_in_pipelines.items():
        output = tmp_path / "named.parquet"
        assert main(["export", str(traces), *asked, "--output", str(output), "--overwrite"]) == 0
        assert load(output).column_names == columns
    assert main(["export", str(traces), "prompts", "--form", "kto", "--output", str(tmp_path / "x.jsonl")]) == 2
    assert "--form kto is not for prompts. Expected distillation or self-dist" in capsys.readouterr().err
    assert main(["export", str(traces), "sft", "--form", "kto", "--output", str(tmp_path / "x.jsonl")]) == 2
    assert "--form kto is not for sft. Leave it out." in capsys.readouterr().err
    assert main(["export", str(traces), "sft", "--privileged", "trace", "--output", str(tmp_path / "x.jsonl")]) == 2
    assert "--privileged is not for sft. It is for self-distillation" in capsys.readouterr().err
    assert main(["export", str(traces), "distillation", "--student", tiny, "--output", str(tmp_path / "x.jsonl")]) == 2
    assert "--student is not for distillation. It is for sft, dpo, kto." in capsys.readouterr().err
    assert main(["export", str(traces), "sft", "--num-negatives", "3", "--output", str(tmp_path / "x.jsonl")]) == 2
    assert "--num-negatives is not for sft. It is for retrieval." in capsys.readouterr().err
    nowhere = str(tmp_path / "nowhere")
    assert main(["export", str(traces), "sft", "--student", nowhere, "--output", str(tmp_path / "x.jsonl")]) == 1
    assert f"--student {nowhere}: its tokenizer cannot be loaded" in capsys.readouterr().err
    assert main(["export", str(traces), "sft", "--student", tiny, "--output", str(tmp_path / "student.parquet")]) == 0


IN_PLACE = {
    "distill": ("distill", "--model", "{tiny}", "--max-rows", "1"),
    "export": ("export", "sft"),
    "dedup": ("dedup",),
    "negatives": ("negatives",),
    "verify": ("verify", "--gold-column", "question"),
    "audit": ("audit",),
    "preview": ("preview",),
    "report": ("report",),
    "card": ("card",),
}


@pytest.mark.parametrize("form", ["file", "file by another path", "pattern", "folder of files", "saved dataset"])
@pytest.mark.parametrize("command", IN_PLACE)
def test_no_output_replaces_an_input(rows, tiny, tmp_path, capsys, command, form):
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "rows.parquet"
    rows.to_parquet(file)
    saved = tmp_path / "saved"
    rows.save_to_disk(saved)
    source, output = {
        "file": (file, file),
        "file by another path": (file, tmp_path / "data" / ".." / "data" / "rows.parquet"),
        "pattern": (tmp_path / "data" / "*.parquet", file),
        "folder of files": (tmp_path / "data", file),
        "saved dataset": (saved, saved),
    }[form]
    name, *flags = (part.replace("{tiny}", tiny) for part in IN_PLACE[command])
    assert main([name, str(source), *flags, "--output", str(output), "--overwrite"]) == 3
    is_page_as_folder = command in ("preview", "report", "card") and form == "saved dataset"
    expected = "cannot be written" if is_page_as_folder else f"is read as {source}, and its rows would be lost"
    assert f"{output} {expected}" in capsys.readouterr().err
    assert len(load(file)) == len(rows)


def test_one_trace_of_each_row_is_exported(rows, tmp_path, capsys):
    shared = ("question", "scenario", "text", "hard_negatives")
    said = {
        "reasoning": ["By [1].", "By [2].", "By [3]."],
        "reasoning_answer": ["one", "two", "three"],
        "reasoning_status": ["truncated", "ok", "ok"],
        "reasoning_document_order": [0, 1, 2],
    }
    verdicts = (["wrong", "wrong", "right"], ["wrong", "unchecked", "wrong"])
    drawn = [
        {name: row[name] for name in shared} | said | {"reasoning_verdict": own}
        for row, own in zip(rows, verdicts, strict=False)
    ]
    Dataset.from_list(drawn).to_parquet(tmp_path / "drawn.parquet")
    arguments = ["export", str(tmp_path / "drawn.parquet"), "sft", "--overwrite", "-o", str(tmp_path / "sft.parquet")]
    assert main([*arguments, "--one-trace"]) == 0
    texts = [row[-1]["content"] for row in load(tmp_path / "sft.parquet")["completion"]]
    assert [text.split()[-1] for text in texts] == ["three", "two"]
    assert main(arguments) == 0
    assert len(load(tmp_path / "sft.parquet")) == 4
    assert main([*arguments[:2], "dpo", *arguments[3:], "--one-trace"]) == 2
    assert "--one-trace is not for dpo. It is for sft, kto" in capsys.readouterr().err
    rows.to_parquet(tmp_path / "drawn.parquet")
    assert main([*arguments, "--one-trace"]) == 3
    assert "no column 'reasoning'" in capsys.readouterr().err


def test_no_output_replaces_what_is_read_beside_the_input(rows, tmp_path, capsys):
    other = tmp_path / "other.parquet"
    rows.to_parquet(tmp_path / "rows.parquet")
    rows.to_parquet(other)
    for arguments in (("negatives", "--corpus"), ("dedup", "--evaluation-set"), ("report", "--compare")):
        name, flag = arguments
        source = [name, str(tmp_path / "rows.parquet"), flag, str(other)]
        assert main([*source, "--output", str(other), "--overwrite"]) == 3
        assert "its rows would be lost" in capsys.readouterr().err


def test_what_lies_inside_and_beside_rows(rows, tmp_path, capsys):
    splits = tmp_path / "splits"
    DatasetDict(train=rows).save_to_disk(splits)
    rows.to_json(splits / "in.jsonl")
    for source, output in ((splits / "train", splits), (splits / "in.jsonl", splits), (splits, splits / "train")):
        assert main(["dedup", str(source), "--output", str(output), "--overwrite"]) == 3
        assert "its rows would be lost" in capsys.readouterr().err
    shards = tmp_path / "shards"
    shards.mkdir()
    rows.to_parquet(shards / "a.parquet")
    for source in (shards, splits):  # what people read may lie there
        for _ in range(2):
            assert main(["card", str(source), "--output", str(source / "README.md"), "--overwrite"]) == 0


def test_a_pipeline_and_an_evaluation_replace_no_input(rows, tiny, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipeline = tmp_path / "pipeline.json"
    pipeline.write_text(json.dumps({"input": str(tmp_path / "q.jsonl"), "near_duplicates": {}}))
    assert main(["run", str(pipeline), "--output", str(out)]) == 0
    pipeline.write_text(json.dumps({"input": str(out / "rows.parquet"), "near_duplicates": {}}))
    capsys.readouterr()
    assert main(["run", str(pipeline), "--output", str(out)]) == 3
    assert "its rows would be lost" in capsys.readouterr().err
    shutil.copy(tmp_path / "q.jsonl", tmp_path / "evaluation.json")
    asked = ["--student", tiny, "--gold-column", "answer", "--max-new-tokens", "2", "--output", str(tmp_path)]
    assert main(["evaluate", str(tmp_path / "evaluation.json"), *asked, "--overwrite"]) == 3
    assert "its rows would be lost" in capsys.readouterr().err


def test_an_export_of_a_journal_does_not_replace_it(rows, tiny, tmp_path, capsys):
    folder = tmp_path / "journals"
    ReasonDistiller.from_pretrained(tiny, max_new_tokens=3, journal_dir=folder).apply(rows.select([0]))
    (journal,) = folder.iterdir()
    (file,) = journal.glob("*.jsonl")
    before = file.read_bytes()
    capsys.readouterr()
    arguments = ["journal", "export", journal.name, "--journal-dir", str(folder), "--output", str(file)]
    assert main([*arguments, "--overwrite"]) == 3
    assert "its rows would be lost" in capsys.readouterr().err
    assert file.read_bytes() == before
