"""The command line, as a process and as a function."""

import dataclasses
import json
import subprocess
import sys

import datasets
import pytest
from datasets import Dataset, DatasetDict

from hf_rare import ReasonDistiller
from hf_rare.cli.flags import MODEL_GROUPS, read_settings
from hf_rare.cli.main import build_parser, main
from hf_rare.errors import ConfigError
from hf_rare.settings.base import split_settings
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.run import RunConfig
from hf_rare.settings.vllm import VLLMConfig
from hf_rare.settings.writers import DistillConfig
from tests.support.commands import RAN
from tests.support.loopback_hub import hub_fixture  # noqa: F401

CONFIGS = (DistillConfig, *MODEL_GROUPS.values())


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def parse(*arguments) -> dict:
    return read_settings(build_parser().parse_args(["distill", "in.jsonl", "--output", "out", *arguments]))


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet", ""])
def test_every_kind_of_input(rows, tiny, tmp_path, ending, distill_fn):
    path = tmp_path / f"rows{ending}"
    in_cells = rows.map(lambda row: {"negatives": json.dumps(row["hard_negatives"])}, remove_columns="hard_negatives")
    in_cells = in_cells.rename_column("negatives", "hard_negatives")  # a cell of CSV holds a list as JSON
    writers = {".csv": in_cells.to_csv, ".parquet": rows.to_parquet, "": rows.save_to_disk}
    writers.get(ending, rows.to_json)(path)
    output = tmp_path / "out.parquet"
    assert run("distill", path, "--model", tiny, "--output", output, "--max-new-tokens", 12) in RAN
    distilled = Dataset.from_parquet(str(output))
    assert distilled["reasoning"][:] == rows.map(distill_fn, batched=True)["reasoning"][:]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ""])
def test_every_kind_of_output_and_no_overwriting(rows, tiny, tmp_path, ending, capsys):
    rows.to_json(tmp_path / "rows.jsonl")
    output = tmp_path / "new folder" / f"out{ending}"
    arguments = ("distill", tmp_path / "rows.jsonl", "--model", tiny, "--output", output, "--max-new-tokens", 4)
    assert run(*arguments) in RAN
    assert "6 traces: " in capsys.readouterr().out
    reader = {".jsonl": Dataset.from_json, ".parquet": Dataset.from_parquet, "": Dataset.load_from_disk}[ending]
    first = reader(str(output))
    assert first.column_names[: len(rows.column_names)] == rows.column_names
    assert run(*arguments) == 3
    assert "exists already. Let it be replaced (`--overwrite`)" in capsys.readouterr().err
    assert run(*arguments, "--overwrite", "--seed", 1) in RAN
    second = reader(str(output), keep_in_memory=True)
    assert second["reasoning_document_order"][:] != first["reasoning_document_order"][:]
    assert sorted(path.name for path in output.parent.iterdir()) == sorted([output.name, "out.recipe.json"])


def test_a_limit_leaves_an_output_with_the_rows_that_are_done(rows, tiny, tmp_path, capsys):
    rows.to_json(tmp_path / "rows.jsonl")
    output, journal = tmp_path / "out.jsonl", tmp_path / "journal"
    rows = ["distill", tmp_path / "rows.jsonl", "--seed", 6]  # rows of other runs would come from the cache of `map`
    arguments = [*rows, "--model", tiny, "--output", output, "--max-new-tokens", 4]
    assert run(*arguments, "--journal-dir", journal, "--max-rows", 2) == 4
    printed = capsys.readouterr().out
    assert "2 rows are in" in printed
    assert "of 6: max_rows=2 is reached" in printed
    assert len(output.read_text().splitlines()) == 2
    assert run(*arguments, "--journal-dir", journal, "--max-rows", 4, "--overwrite", "--num-proc", 2) in RAN
    assert len(output.read_text().splitlines()) == 6
    assert run(*arguments, "--max-rows", 2, "--overwrite", "--seed", 7) == 4  # without a journal nothing is left of it
    assert "max_rows=2 is reached" in capsys.readouterr().err


def test_a_split_of_a_saved_dataset_dict(rows, tiny, tmp_path):
    DatasetDict({"train": rows, "test": rows.select(range(2))}).save_to_disk(tmp_path / "saved")
    output = tmp_path / "out.jsonl"
    arguments = ("distill", tmp_path / "saved", "--model", tiny, "--output", output, "--max-new-tokens", 4)
    assert run(*arguments, "--split", "test") in RAN
    assert len(output.read_text().splitlines()) == 2
    assert run(*arguments, "--split", "nothing", "--overwrite") == 3


def test_settings_from_a_file_and_flags_that_win(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(
        "model: me/teacher\nmax_new_tokens: 100\nseed: 3\nthought_tags: ['[T]', '[/T]']\n"
        "generation_kwargs:\n  temperature: 0.6\nexpand: true\n"
    )
    settings = parse("--config", str(path), "--seed", "4", "--no-expand")
    assert settings == {
        "model_id": "me/teacher",
        "max_new_tokens": 100,
        "seed": 4,
        "thought_tags": ["[T]", "[/T]"],
        "generation_kwargs": {"temperature": 0.6},
        "expand": False,
    }


def test_every_flag_is_read_into_a_setting_that_is_right():
    texts = {"dtype": "float32", "template": "plain", "quantization_config": '{"quant_method": "bitsandbytes"}'}
    configs = (DistillConfig(), DecodingConfig(), VLLMConfig(), EndpointConfig(provider="auto"), RunConfig())
    defaults = {name: value for config in configs for name, value in vars(config).items()} | {"model_id": "m"}
    arguments = []
    for config in CONFIGS:
        for setting in dataclasses.fields(config):
            value = texts.get(setting.name, defaults.get(setting.name))
            flag = f"--{setting.name.replace('_', '-')}"
            if isinstance(value, bool) or setting.name in ("require_answer", "trust_remote_code"):
                arguments += [flag]
            elif isinstance(value, dict):
                arguments += [flag, "{}"]
            elif isinstance(value, tuple):
                arguments += [flag, *(value or ["name"])]
            else:
                arguments += [flag, "none" if value is None else str(value)]
    settings = parse(*arguments)
    assert set(settings) == {name for config in CONFIGS for name in config.names()}
    distill, model, decoding, vllm, endpoint, run_settings = split_settings(settings, *CONFIGS)
    assert RunConfig(**run_settings) == RunConfig(retry_failed=True)
    assert DecodingConfig(**decoding) == DecodingConfig()
    assert VLLMConfig(**vllm) == VLLMConfig()
    assert EndpointConfig(**endpoint) == EndpointConfig(provider="auto")
    assert DistillConfig(**distill).seed == 0
    assert ModelConfig(**model).dtype == "float32"
    assert parse("--model", "m", "--max-hours", "0.5", "--journal-dir", "None")["journal_dir"] is None


def test_flags_of_every_type():
    settings = parse(
        *("--model", "m", "--generation-kwargs", '{"top_p": 0.7}', "--device-map", "auto", "--thought-tags", "<t>"),
        *("</t>", "--trust-remote-code", "--template", "plain", "--num-samples", "2", "--context-length", "4096"),
    )
    assert settings == {
        "model_id": "m",
        "generation_kwargs": {"top_p": 0.7},
        "device_map": "auto",
        "thought_tags": ["<t>", "</t>"],
        "trust_remote_code": True,
        "template": "plain",
        "num_samples": 2,
        "context_length": 4096,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_newtokens: 3", "Did you mean 'max_new_tokens'"),
        ("just text", "holds no settings"),
        ("a: [", "cannot be read"),
        ("seed: 1", "No model is given"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path, text, reason):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        parse("--config", str(path))


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (("nothing.jsonl",), 3, "'nothing.jsonl' is no input"),
        (("no/such-dataset",), 3, "'no/such-dataset' cannot be read"),
        (("no/such-dataset-v1.5",), 3, "'no/such-dataset-v1.5' cannot be read"),
        (("{folder}/rows.txt",), 3, "is no input"),
        (("{folder}/empty.jsonl",), 3, "holds no rows"),
        (("{folder}/rows.jsonl", "--output", "{folder}/rows.jsonl/out.parquet"), 3, "cannot be written to"),
        (("{folder}/rows.jsonl", "--output", "{folder}/other", "--overwrite"), 3, "with other things in it"),
        (("{folder}/rows.jsonl", "--output", "{folder}/dir.parquet", "--overwrite"), 3, "with other things in it"),
        (("{folder}/rows.jsonl", "--config", "{folder}/batch.yaml"), 2, "batch_size=0"),
        (("{folder}/broken.jsonl",), 3, "cannot be read"),
        (("{folder}/rows.jsonl", "--question-column", "q"), 3, "no column 'q'"),
        (("{folder}/rows.jsonl", "--question-column", "q"), 3, "which to read: question_column=.... As flags"),
        (("{folder}/rows.jsonl", "--gold-column", "g", "--max-attempts", "1"), 3, "As flags: --gold-column TEXT"),
        (("{folder}/rows.jsonl", "--scenario-column", "s"), 3, "Where there is none to read, scenario_column=None."),
        (("{folder}/rows.jsonl", "--question-column", "question,text"), 3, "a list of them (question text)"),
        (("{folder}/rows.jsonl", "--template", "nothing"), 2, "neither a built-in template"),
        (("{folder}/rows.jsonl", "--template", "Say {question}"), 2, "such as {{ question }}"),
        (("{folder}/rows.jsonl", "--num-samples", "2"), 2, "As flags: --num-samples N, --generation-kwargs JSON."),
        (("{folder}/rows.jsonl", "--max-new-tokens", "0"), 2, "max_new_tokens=0"),
        (("{folder}/rows.jsonl", "--revision", "dev", "--model", "no/such-model"), 1, "no/such-model"),
        (("{folder}/rows.jsonl", "--model", "{folder}/other"), 1, "holds no model: it has no config.json. Pass"),
        (
            ("{folder}/rows.jsonl", "--model", "{folder}/adapter"),
            1,
            "it is an adapter. Pass it as adapter=",
        ),
        (("{folder}/rows.jsonl", "--split", "train[:x]"), 2, "a part of it, such as 'train[:100]'"),
        (("{folder}/rows.jsonl", "--output", "{folder}/out.xml"), 2, "unknown ending"),
    ],
)
def test_what_goes_wrong_is_one_line(rows, tiny, tmp_path, capsys, arguments, status, reason):
    rows.to_json(tmp_path / "rows.jsonl")
    (tmp_path / "rows.txt").write_text("text")
    (tmp_path / "broken.jsonl").write_text('{"question": ')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "batch.yaml").write_text("batch_size: 0")
    for folder in ("other", "dir.parquet"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "precious.txt").write_text("mine")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    first, *rest = (argument.replace("{folder}", str(tmp_path)) for argument in arguments)
    assert run("distill", first, "--output", tmp_path / "out.parquet", "--model", tiny, *rest) == status
    error = capsys.readouterr().err
    assert "hf-rare: " in error
    assert reason in error
    assert "Traceback" not in error
    assert not (tmp_path / "out.parquet").exists()
    assert (tmp_path / "other" / "precious.txt").exists()


def test_help_explains_every_setting(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["distill", "--help-all"])
    text = capsys.readouterr().out
    for config in CONFIGS:
        for name in config.names():
            assert f"--{name.replace('_', '-')}" in text
    assert "examples:" in text
    assert "Most tokens of a completion" in text


def test_the_command_is_installed():
    done = subprocess.run([sys.executable, "-m", "hf_rare", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __import__("hf_rare").__version__


def test_the_demo_with_a_given_model(tiny, tmp_path, capsys):
    folder = tmp_path / "demo"
    assert run("demo", "--model", tiny, "--rows", 4, "--max-new-tokens", 4, "--output", folder) == 0
    out = capsys.readouterr().out
    assert "4 traces: " in out
    assert "demo-01, medicine: " in out
    assert f"4 rows are in {folder / 'train.parquet'}, their card is in {folder / 'README.md'}" in out
    distilled = datasets.load_dataset(str(folder), split="train")
    expected = ReasonDistiller.from_pretrained(tiny, max_new_tokens=4).features()
    assert set(expected) <= set(distilled.column_names)
    assert "# hf_rare demo" in (folder / "README.md").read_text()


def test_the_demo_overwrites_nothing_of_others(tiny, tmp_path, capsys, monkeypatch):
    arguments = ("demo", "--model", tiny, "--rows", 2, "--max-new-tokens", 4, "--output", tmp_path)
    card = tmp_path / "README.md"
    card.write_text("# My project\n")
    assert run(*arguments) == 3
    assert f"{card} exists already and is no card" in capsys.readouterr().err
    assert card.read_text() == "# My project\n"
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    card.unlink()
    (tmp_path / "train.parquet").mkdir()
    (tmp_path / "train.parquet" / "precious.txt").write_text("mine")
    assert run(*arguments) == 3
    output = capsys.readouterr()
    assert "with other things in it" in output.err
    assert "traces" not in output.out  # it is found out before anything is generated
    (tmp_path / "train.parquet" / "precious.txt").unlink()
    (tmp_path / "train.parquet").rmdir()
    (tmp_path / "train.parquet").write_text("mine")
    assert run(*arguments) == 3
    assert "without the card of an earlier run" in capsys.readouterr().err
    assert (tmp_path / "train.parquet").read_text() == "mine"
    (tmp_path / "train.parquet").unlink()
    assert run(*arguments) == 0
    card.write_text(card.read_text() + "\nWritten by hand.\n")
    assert run(*arguments) == 0
    assert card.read_text().endswith("\nWritten by hand.\n")


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_rare.rows.demo.load_demo_dataset", interrupted)
    assert run("demo") == 130
    assert "stopped" in capsys.readouterr().err


def test_json_flags_say_what_is_wrong(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse("--generation-kwargs", '{"top_p": }')
    assert "not JSON" in capsys.readouterr().err
    assert (
        json.loads('{"a": 1}') == parse("--model", "m", "--chat-template-kwargs", '{"a": 1}')["chat_template_kwargs"]
    )


def test_journals_can_be_listed_shown_exported_and_pruned(rows, tiny, tmp_path, capsys):
    folder = tmp_path / "journals"
    for seed in (0, 1):
        distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=12, seed=seed, journal_dir=folder)
        distilled = rows.map(distill_fn, batched=True)
    ReasonDistiller.from_pretrained(tiny, max_new_tokens=3, journal_dir=folder).apply(rows.select([0]))
    capsys.readouterr()

    assert run("journal", "ls", "--journal-dir", folder) == 0
    *journals, last = capsys.readouterr().out.splitlines()
    assert last == f"2 journals in {folder}"
    assert [line.split()[1] for line in journals] == ["12", "1"]
    name = journals[0].split()[0]

    assert run("journal", "show", name[:6], "--entries", 2, "--journal-dir", folder) == 0
    shown = capsys.readouterr().out
    assert "max_new_tokens: 12" in shown
    assert shown.count("[assistant]") == 2

    assert run("journal", "export", name, "--output", tmp_path / "out.parquet", "--journal-dir", folder) == 0
    exported = Dataset.from_parquet(str(tmp_path / "out.parquet"))
    assert len(exported) == 12
    by_prompt = {row["prompt"][0]["content"]: row for row in exported}
    assert len(by_prompt) == 12
    question = distilled[2]["question"]
    assert distilled[2]["reasoning"] in {
        row["completion"].strip() for text, row in by_prompt.items() if question in text
    }
    assert set(exported["finish_reason"]) <= {"stop", "length"}

    assert run("journal", "export", "no", "--output", tmp_path / "no.parquet", "--journal-dir", folder) == 3
    assert "expected one of" in capsys.readouterr().err
    assert run("journal", "prune", "--older-than", 1, "--yes", "--journal-dir", folder) == 0
    assert "0 deleted" in capsys.readouterr().out
    assert run("journal", "prune", "--older-than", 0, "--journal-dir", folder) == 0
    assert "2 would be deleted" in capsys.readouterr().out
    assert len(list(folder.iterdir())) == 2
    assert run("journal", "prune", "--older-than", 0, "--yes", "--journal-dir", folder) == 0
    assert list(folder.iterdir()) == []


def test_help_says_by_what_journals_are_pruned(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("journal", "prune", "--help")
    text = capsys.readouterr().out
    assert "were not written to" in text
    assert "last write" in text


def test_a_journal_is_exported_without_a_stale_recipe(distill_fn, rows, tiny, tmp_path):
    ReasonDistiller.from_pretrained(tiny, max_new_tokens=3, journal_dir=tmp_path / "journals").apply(rows.select([0]))
    output, recipe = tmp_path / "out.parquet", tmp_path / "out.recipe.json"
    arguments = ("journal", "export", "", "--output", output, "--journal-dir", tmp_path / "journals")
    assert run(*arguments) == 0
    recipe.write_text("{}")
    assert run(*arguments, "--overwrite") == 0
    assert not recipe.exists()


@pytest.mark.parametrize(
    ("text", "size"), [("500000000", 500_000_000), ("500MB", 500_000_000), ("5mb", 5_000_000), ("2GiB", 2 << 30)]
)
def test_sizes_of_shards(text, size):
    assert build_parser().parse_args(["push", "in", "me/x", "--max-shard-size", text]).max_shard_size == size


@pytest.mark.parametrize("text", ["large", "1.5GB", "-5MB", "0", "MB"])
def test_a_wrong_size_of_shards_is_found_out_at_once(rows, tmp_path, capsys, hub, text):
    rows.to_json(tmp_path / "rows.jsonl")
    with pytest.raises(SystemExit, match="2"):
        run("push", tmp_path / "rows.jsonl", "me/rare", f"--max-shard-size={text}")
    assert f"expected a number of bytes, or a text such as 500MB, received {text!r}" in capsys.readouterr().err
    assert "me/rare" not in hub.repo_ids()


def test_a_push_of_a_saved_dataset_dict_brings_all_its_splits(rows, tmp_path, capsys, hub):
    saved, card = tmp_path / "saved", tmp_path / "README.md"
    DatasetDict({"train": rows, "test": rows.select(range(2))}).save_to_disk(saved)
    assert run("card", saved, "--output", card) == 0
    assert "train" in card.read_text()
    assert "test" in card.read_text()
    assert run("push", saved, "me/all") == 0
    assert {name: len(split) for name, split in datasets.load_dataset("me/all").items()} == {"train": 6, "test": 2}
    assert run("push", saved, "me/one", "--split", "test") == 0
    assert {name: len(split) for name, split in datasets.load_dataset("me/one").items()} == {"test": 2}
    (saved / "dataset_dict.json").write_text("{")
    assert run("push", saved, "me/none") == 3
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--rows", "1"), "expected a number of at least 2, received '1'"),
        (("--batch-size", "8"), "unrecognized arguments: --batch-size"),
    ],
)
def test_what_an_estimate_does_not_take(tmp_path, capsys, flags, reason):
    with pytest.raises(SystemExit, match="2"):
        run("estimate", tmp_path / "rows.jsonl", "--model", "me/teacher", *flags)
    assert reason in capsys.readouterr().err


def test_a_card_to_look_at_and_a_push(rows, tiny, tmp_path, capsys, hub):
    rows.to_json(tmp_path / "rows.jsonl")
    output, card = tmp_path / "out.parquet", tmp_path / "README.md"
    distill = ("distill", tmp_path / "rows.jsonl", "--model", tiny, "--output", output, "--max-new-tokens", 4)
    assert run(*distill) in RAN
    assert run("card", output, "--output", card, "--license", "mit", "--language", "en", "de") == 0
    assert "max_new_tokens" in card.read_text()
    assert run("card", output, "--output", card) == 3
    assert "exists already" in capsys.readouterr().err
    arguments = ["push", output, "me/rare", "--license", "mit", "--private", "--split", "test"]
    assert run(*arguments) == 0
    assert "Pushed: http" in capsys.readouterr().out
    assert run(*arguments) == 0
    assert "Nothing has changed since: http" in capsys.readouterr().out
    assert json.loads(hub.read("me/rare", "recipe.json"))["decoding"]["max_new_tokens"] == 4
    assert len(datasets.load_dataset("me/rare", split="test")) == 6
    assert run("push", output, "other/rare") == 5
    assert "may not write there" in capsys.readouterr().err
