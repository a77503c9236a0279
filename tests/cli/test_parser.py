"""Commands in groups, help in short and in full, what was meant, and what scripts see."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from datasets import Dataset

from hf_rare.cli.flags import RARE
from hf_rare.cli.main import GROUPS, STATUSES, build_parser, main
from hf_rare.errors import HfRareError
from hf_rare.settings.generation import DecodingConfig

ENDING = ("--max-new-tokens", "60", "--generation-kwargs", '{"stop_strings": ["a", "e", " "]}')
"""Flags with which the tiny teacher ends traces of its own accord."""


def said_by(capsys, *arguments) -> str:
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    return capsys.readouterr().out


def test_commands_stand_in_their_groups(capsys):
    text = said_by(capsys, "--help")
    assert [text.index(f"\n{group}:\n") for group in GROUPS] == sorted(text.index(f"\n{group}:\n") for group in GROUPS)
    assert text.index("\nlook and check:") < text.index("\n  verify ") < text.index("\ntrain and measure:")
    for name in next(action.choices for action in build_parser()._actions if action.choices):
        assert f"\n  {name} " in text


def test_rare_flags_are_shown_where_all_are_asked_for(capsys):
    short, full = said_by(capsys, "distill", "--help"), said_by(capsys, "distill", "--help-all")
    for name in DecodingConfig.names():
        flag = f"--{name.replace('_', '-')} "
        assert flag in full
        assert (flag in short) == (name not in RARE)
    assert "usage: hf-rare distill INPUT --output OUT [flags]\n" in short
    assert len(short) < len(full) / 2
    assert said_by(capsys, "distill", "--help") == short


def test_help_in_short_is_whole_sentences(capsys):
    for name in next(action.choices for action in build_parser()._actions if action.choices):
        text = said_by(capsys, name, "--help")
        assert not re.search(r"[,;]\n(?=  -|\n)", text.partition("\noptions:\n")[2])
        assert not re.search(r";\s+\(default:", text)
        assert "[`" not in text


def test_every_command_shows_how_it_is_called_and_evaluate_no_model(capsys):
    parser = build_parser()
    for name in next(action.choices for action in parser._actions if action.choices):
        examples = re.findall(
            r"^  hf-rare .*", said_by(capsys, name, "--help").partition("\nexamples:\n")[2], re.MULTILINE
        )
        assert examples, name
        for example in examples:
            words = shlex.split(example.partition(" > ")[0])
            assert words[1] == name
            assert callable(parser.parse_args(words[1:]).run)
    assert "--model " not in said_by(capsys, "evaluate", "--help-all")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("distil", "in.jsonl"), "distill"),
        (("export", "in.jsonl", "sfd", "--output", "out"), "sft"),
        (("distill", "in.jsonl", "--output", "out", "--max-new-token", "3"), "--max-new-tokens"),
        (("distill", "in.jsonl", "--output", "out", "--max-tokens-new", "3"), "--max-new-tokens"),
        (("distill", "in.jsonl", "--output", "out", "--templat", "rare"), "--template"),
        (("journal", "lst"), "ls"),
    ],
)
def test_what_may_have_been_meant_is_said(capsys, arguments, meant):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    error = capsys.readouterr().err
    assert f"Did you mean {meant}?" in error
    assert len(error.splitlines()) == 2


def test_flags_are_written_out(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["distill", "in.jsonl", "--out", "out.jsonl"])
    assert "--out" in capsys.readouterr().err


def test_a_flag_that_cannot_be_read_is_json_for_scripts(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["distill", "in.jsonl", "--modl", "x", "--json", "--output", "out.jsonl"])
    said = json.loads(capsys.readouterr().out)
    assert said["status"] == 2
    assert "Did you mean --model?" in said["message"]


def test_a_setting_of_sampling_is_no_flag_of_its_own(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["distill", "in.jsonl", "--temperature", "0.7", "--output", "out.jsonl"])
    assert """Pass --generation-kwargs '{"temperature": ...}'""" in capsys.readouterr().err


def test_every_error_has_an_exit_status():
    statuses = {
        kind.__name__: next((status for status, kinds in STATUSES.items() if issubclass(kind, kinds)), 1)
        for kind in _list_kinds(HfRareError)
    }
    assert {name for name, status in statuses.items() if status == 1} == {
        *("ModelLoadError", "MissingPackageError"),
    }
    assert {statuses[name] for name in ("ConfigError", "TemplateError", "RecipeError")} == {2}
    assert statuses["ColumnError"] == statuses["OutputExistsError"] == statuses["JournalError"] == 3
    assert statuses["BudgetReachedError"] == statuses["RankError"] == 4
    assert statuses["HubError"] == 5


def _list_kinds(kind: type) -> list[type]:
    return [
        found
        for child in kind.__subclasses__()
        if child.__module__ == "hf_rare.errors"
        for found in [child, *_list_kinds(child)]
    ]


@pytest.fixture
def traces(rows, tiny, tmp_path) -> str:
    rows.to_json(tmp_path / "rows.jsonl")
    path = tmp_path / "traces.parquet"
    assert main(["distill", str(tmp_path / "rows.jsonl"), "--model", tiny, *ENDING, "--quiet", *out(path)]) == 0
    return str(path)


def test_a_run_as_json(rows, tiny, tmp_path, capsys):
    rows.to_json(tmp_path / "rows.jsonl")
    arguments = ["distill", str(tmp_path / "rows.jsonl"), "--model", tiny, *ENDING, "--json"]
    arguments += ["--journal-dir", str(tmp_path / "journal"), "--output", str(tmp_path / "out.parquet")]
    assert main([*arguments, "--max-rows", "2"]) == 4
    data = json.loads(capsys.readouterr().out)
    assert (data["rows"], data["rows_of_input"], data["generated"]) == (2, 6, 2)
    assert "max_rows=2 is reached" in data["ended_early"]
    assert main([*arguments, "--overwrite"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["output"] == str(tmp_path / "out.parquet")
    assert (data["rows"], data["generated"], data["ended_early"]) == (6, 4, None)
    assert sum(data["statuses"].values()) == 6
    assert data["statuses"]["ok"] > 0
    assert main(arguments) == 3
    error = json.loads(capsys.readouterr().out)
    assert (error["error"], error["status"]) == ("OutputExistsError", 3)
    assert "exists already" in error["message"]


def test_quiet_commands_say_nothing(traces, tmp_path, capsys):
    capsys.readouterr()
    assert main(["verify", traces, "--output", str(tmp_path / "verified.parquet"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["verify", traces, "--output", str(tmp_path / "verified.parquet"), "--quiet"]) == 3
    assert "exists already" in capsys.readouterr().err


def test_the_whole_job_from_rows_to_a_training_file(traces, tmp_path, capsys):
    verified, audited, sft = (tmp_path / f"{name}.parquet" for name in ("verified", "audited", "sft"))
    assert main(["verify", traces, "--gold-column", "answer", "--statuses", "ok", "truncated", *out(verified)]) == 0
    assert "6 rows are in" in (said := capsys.readouterr().out)
    wrong = Dataset.from_parquet(str(verified))["reasoning_verdict"][:].count("wrong")
    assert f"{wrong} wrong" in said
    assert main(["audit", str(verified), *out(audited)]) == 0
    assert "all: " in capsys.readouterr().out
    assert main(["audit", str(verified), "--json", "--overwrite", *out(audited)]) == 0
    grounding = json.loads(capsys.readouterr().out)["grounding"]
    assert grounding["overall"]["traces"] == sum(part["traces"] for part in grounding["by_position"].values())
    assert 0 <= grounding["overall"]["silent"] <= grounding["overall"]["traces"]
    assert (tmp_path / "audited.recipe.json").read_text() == (tmp_path / "traces.recipe.json").read_text()
    asked = ["--statuses", "all", "--reasoning-format", "plain", "--template", "plain", "--keep-columns", "id"]
    assert main(["export", str(audited), "sft", *asked, *out(sft)]) == 0
    row = Dataset.from_parquet(str(sft))[0]
    assert "<think>" not in row["completion"][0]["content"]
    assert main(["export", str(audited), "sft", *asked, "--json", "--overwrite", *out(sft)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == 6
    asked = ["--question-column", "scenario", "--scenario-column", "none", "--num-negatives", "1"]
    assert main(["export", str(audited), "retrieval", *asked, *out(tmp_path / "triplets.parquet")]) == 0
    rows = Dataset.from_parquet(str(audited))
    assert Dataset.from_parquet(str(tmp_path / "triplets.parquet"))["anchor"][:] == rows["scenario"][:]
    capsys.readouterr()
    (tmp_path / "retrieval.yaml").write_text("template: plain")
    config = ["--config", str(tmp_path / "retrieval.yaml")]
    assert main(["export", str(audited), "retrieval", *config, *out(tmp_path / "x.jsonl")]) == 2
    assert "--template is not for retrieval. Leave it out." in capsys.readouterr().err
    assert main(["export", str(audited), "retrieval", "--template", "plain", *out(tmp_path / "x.jsonl")]) == 2
    assert "--template is not for retrieval. Leave it out." in capsys.readouterr().err


def test_a_recipe_of_questions_beside_rows_says_nothing_of_traces(traces, tmp_path, capsys):
    recipe = json.loads((tmp_path / "traces.recipe.json").read_text())
    of_questions = {**recipe, "kind": "questions", "questions": {}}
    del of_questions["distill"]
    (tmp_path / "traces.recipe.json").write_text(json.dumps(of_questions))
    sft = ["sft", "--statuses", "all"]
    for command, *more in (["verify"], ["audit"], ["export", *sft]):
        assert main([command, traces, *more, *out(tmp_path / f"{command}.parquet")]) == 0, capsys.readouterr().err
    assert main(["preview", traces]) == 0


def out(path) -> list[str]:
    return ["--output", str(path)]


def test_rows_are_shown(traces, tmp_path, capsys):
    capsys.readouterr()
    assert main(["preview", traces, "--rows", "2"]) == 0
    text = capsys.readouterr().out
    rows = Dataset.from_parquet(traces)
    assert all(question in text for question in rows["question"][:2])
    assert rows["question"][2] not in text
    assert main(["preview", traces, *out(tmp_path / "preview.html")]) == 0
    assert '<div class="hf-rare' in (tmp_path / "preview.html").read_text()
    assert main(["preview", traces, *out(tmp_path / "preview.html")]) == 3
    rows.rename_column("question", "asked").to_parquet(tmp_path / "traces.parquet")  # as its recipe does not say
    capsys.readouterr()
    assert main(["preview", traces, "--rows", "1", "--question-column", "asked"]) == 0
    assert rows["question"][0] in capsys.readouterr().out


def test_what_a_teacher_would_be_asked(rows, tiny, tmp_path, capsys):
    rows.to_json(tmp_path / "rows.jsonl")
    source = str(tmp_path / "rows.jsonl")
    assert main(["prompt", source, "--row", "1", "--system-prompt", "Be brief."]) == 0
    text = capsys.readouterr().out
    assert text.startswith("[system]\nBe brief.\n\n[user]\n")
    assert rows[1]["question"] in text
    assert main(["prompt", source, "--row", "1", "--model", tiny, "--max-new-tokens", "4", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert rows[1]["question"] in data["text"]
    assert data["tokens"] > 50
    assert main(["prompt", source, "--row", "6"]) == 3
    assert "has 6 rows" in capsys.readouterr().err
    assert main(["prompt", source, "--context-length", "5000"]) == 2
    assert "--context-length says something of a prompt only with a model" in capsys.readouterr().err


def test_a_prompt_takes_the_flags_that_it_depends_on_and_the_settings_of_a_run(rows, tmp_path, capsys):
    full = said_by(capsys, "prompt", "--help-all")
    for flag in ("--template", "--seed", "--thought-tags", "--context-length", "--chat-template-kwargs"):
        assert f"{flag} " in full
    for flag in ("--engine", "--num-samples", "--max-attempts", "--adapter", "--output-column"):
        assert f"{flag} " not in full
    rows.to_json(tmp_path / "rows.jsonl")
    (tmp_path / "distill.yaml").write_text("num_samples: 2\nmax_new_tokens: 8\nengine: static\n")
    assert main(["prompt", str(tmp_path / "rows.jsonl"), "--config", str(tmp_path / "distill.yaml")]) == 0
    assert rows[0]["question"] in capsys.readouterr().out


def test_near_duplicates_and_contamination(tmp_path, capsys):
    questions = ["How many coins does the ferry to Orla cost on a Sunday in May?"] * 2 + ["Who may fish in the lake?"]
    Dataset.from_dict({"question": questions}).to_json(tmp_path / "rows.jsonl")
    Dataset.from_dict({"question": questions[2:]}).to_json(tmp_path / "test.jsonl")
    arguments = ["dedup", str(tmp_path / "rows.jsonl"), "--evaluation-set", str(tmp_path / "test.jsonl"), "--json"]
    assert main([*arguments, *out(tmp_path / "kept.jsonl")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["rows"], data["near_duplicates"], data["contaminated"]) == (1, 1, 1)


def test_a_shell_completes_commands_and_flags():
    script = subprocess.run(
        [sys.executable, "-m", "hf_rare", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    asked = 'COMP_WORDS=(hf-rare dis); COMP_CWORD=1; _shtab_hf_rare; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["distill"]


def test_an_error_that_nobody_foresaw_is_no_traceback(tmp_path, capsys, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "?"}')
    monkeypatch.setattr("hf_rare.preview", lambda *_: 1 / 0, raising=False)
    assert main(["preview", str(path)]) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "Traceback" not in error
    monkeypatch.setenv("HF_RARE_TRACEBACK", "1")
    assert main(["preview", str(path)]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_has_read_enough_is_no_error(tmp_path):
    text = "word " * 50_000
    Dataset.from_list([{"question": text, "reasoning": text}]).to_json(tmp_path / "rows.jsonl")
    command = f"{sys.executable} -m hf_rare preview {tmp_path / 'rows.jsonl'} | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stderr == ""


def test_every_command_has_all_its_help(capsys):
    names = next(action.choices for action in build_parser()._actions if action.choices)
    for command in ((), *((name,) for name in names), ("journal", "ls"), ("journal", "prune")):
        assert f"usage: {' '.join(['hf-rare', *command])}" in said_by(capsys, *command, "--help-all")


def test_a_flag_that_has_taken_the_input_is_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["distill", "--hard-negatives-column", "neg1", "neg2", "rows.csv", "--output", "x.parquet"])
    error = capsys.readouterr().err
    assert "required: INPUT. --hard-negatives-column takes all that follows it, up to the next flag: put" in error
    with pytest.raises(SystemExit, match="2"):
        main(["distill", "--output", "x.parquet"])
    assert "takes all" not in capsys.readouterr().err


def test_days_are_no_less_than_none(capsys):
    for days in ("-3", "nan", "inf", "soon"):
        with pytest.raises(SystemExit, match="2"):
            main(["journal", "prune", f"--older-than={days}", "--yes"])
        assert f"expected a number of days of at least 0, received '{days}'" in capsys.readouterr().err
