"""The examples run: what they do with real rows, what a job on the Hub makes of them, and what survives its death."""

import configparser
import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from datasets import Dataset, concatenate_datasets
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from hf_rare import ReasonDistiller
from hf_rare.cli.main import build_parser
from tests.conftest import REPOSITORY
from tests.support.example_job import run_example
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.pages import Page
from tests.support.waiting import wait_until

EXAMPLES = REPOSITORY / "examples"
SCRIPT = EXAMPLES / "distill.py"
DOCKERFILE = EXAMPLES / "Dockerfile"
SETTINGS = {"max_batch_tokens": 600}
load_rows = runpy.run_path(str(EXAMPLES / "distill_postgres_docs.py"))["load_rows"]
main = runpy.run_path(str(SCRIPT))["main"]


def test_the_slurm_script_is_bash_and_calls_what_exists():
    path = EXAMPLES / "distill.slurm"
    subprocess.run(["bash", "-n", path], check=True)
    command = path.read_text().split("-m hf_rare ")[1].split("\n")[0]
    build_parser().parse_args(command.replace('"', "").split())


def test_the_rows_are_real_and_complete():
    rows = load_rows()
    assert len(rows) == 48
    for row in rows:
        assert row["question"]
        assert row["scenario"]
        assert len(row["text"].split()) >= 64
        assert row["text"] not in row["hard_negatives"]


@pytest.fixture
def job(hub, context, tmp_path):
    """Jobs, each on a machine of its own that shares nothing with the others but the Hub."""
    started = []

    def start(name: str, *arguments: str):
        folder = tmp_path / name
        folder.mkdir()
        passed = (str(SCRIPT), ["me/questions", "me/traces", *arguments], hub.url, hub.environment(), str(folder))
        process = context.Process(target=run_example, args=passed, daemon=True)
        process.start()
        started.append(process)
        return process, folder

    yield start
    for process in started:
        process.kill()
        process.join()


def finish(started) -> tuple[int, str]:
    """Wait for a job; give its exit code, and what it has printed."""
    process, folder = started
    process.join()
    outcome = json.loads((folder / "outcome").read_text())
    return outcome["code"], outcome["printed"]


def put_questions(hub, folder: Path, rows: Dataset) -> None:
    path = folder / "train.parquet"
    rows.to_parquet(path)
    hub.create_repo("me/questions")
    hub.commit("me/questions", {"data/train-00000-of-00001.parquet": path.read_bytes()})


def traces_on(hub, folder: Path) -> Dataset:
    """The traces that are on the Hub."""
    (path,) = (path for path in hub.files("me/traces") if path.endswith(".parquet"))
    (folder / "traces.parquet").write_bytes(hub.read("me/traces", path))
    return Dataset.from_parquet(str(folder / "traces.parquet"), cache_dir=str(folder / "cache"))


def entries_on(hub) -> int:
    if "me/traces-journal" not in hub.repo_ids():
        return 0
    files = [path for path in hub.files("me/traces-journal") if path.startswith("journal/")]
    return sum(hub.read("me/traces-journal", path).count(b'{"key"') for path in files)


def test_a_job_that_a_limit_ends_pushes_what_is_done_and_the_next_machine_does_the_rest(
    hub, job, rows, tiny, tmp_path
):
    put_questions(hub, tmp_path, rows.rename_column("question", "asked"))
    arguments = ("--model", tiny, "--max-new-tokens", "12", "--question-column", "asked", "--split", "train[:5]")
    code, printed = finish(job("first", *arguments, "--settings", json.dumps(SETTINGS | {"max_rows": 2})))
    assert code == 4
    assert re.search(r"2 rows are in http\S+/commit/\w+, of 5: .*Run the same command again", printed)
    assert len(traces_on(hub, tmp_path)) == 2
    code, printed = finish(job("second", *arguments, "--settings", json.dumps(SETTINGS)))
    assert code == 0
    assert "3 generated now" in printed
    assert traces_on(hub, tmp_path)["asked"][:] == rows["question"][:5]
    assert {"README.md", "recipe.json"} <= set(hub.files("me/traces"))
    assert json.loads(hub.read("me/traces", "recipe.json"))["distill"]["question_column"] == "asked"
    assert [hub.repos[name].private for name in ("me/traces", "me/traces-journal")] == [True, True]


@pytest.mark.slow
def test_a_machine_that_is_killed_takes_nothing_with_it_that_is_on_the_hub(hub, job, rows, tiny, tmp_path):
    many = concatenate_datasets([rows.map(lambda row, i=i: {"question": f"{row['question']} {i}"}) for i in range(5)])
    put_questions(hub, tmp_path, many)
    arguments = ("--model", tiny, "--max-new-tokens", "60", "--settings", json.dumps(SETTINGS))
    process, _ = job("first", *arguments, "--checkpoint-minutes", "0.0005")
    wait_until(lambda: entries_on(hub) > 0)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    saved = entries_on(hub)
    assert saved < len(many)
    code, printed = finish(job("second", *arguments))
    assert code == 0
    assert f"{len(many) - saved} generated now" in printed
    whole = ReasonDistiller.from_pretrained(tiny, journal_dir=None, max_new_tokens=60).apply(many)
    assert traces_on(hub, tmp_path)["reasoning"][:] == whole["reasoning"][:]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["me/nothing", "me/traces", "--model", "TINY"], "me/nothing .* cannot be loaded: .*Check its name"),
        (["me/questions", "me/traces", "--model", "TINY", "--split", "test"], "split test.* cannot be loaded"),
        (["me/questions", "other/traces", "--model", "TINY"], "other/traces cannot be written: .*Set HF_TOKEN"),
        (["me/questions", "me//traces", "--model", "TINY"], "'me//traces' cannot be the name of a dataset"),
    ],
)
def test_what_cannot_work_ends_a_job_before_a_model_is_loaded(hub, rows, tiny, tmp_path, arguments, said):
    put_questions(hub, tmp_path, rows)
    with pytest.raises(SystemExit) as ended:
        main([tiny if argument == "TINY" else argument for argument in arguments])
    assert re.search(said, str(ended.value).replace("\n", " "))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--settings", '{"max_new_token": 1}'], "ConfigError: 'max_new_token' is not known in settings"),
        (["--question-column", "asked"], "ColumnError: .*'asked'"),
    ],
)
def test_a_setting_that_cannot_be_right_is_said_in_a_line(
    hub, rows, tiny, tmp_path, capsys, monkeypatch, arguments, said
):
    monkeypatch.setenv("HF_RARE_JOURNAL", str(tmp_path / "journal"))
    put_questions(hub, tmp_path, rows)
    assert main(["me/questions", "me/traces", "--model", tiny, *arguments]) == 1
    assert re.search(f"^{said}", capsys.readouterr().err, re.MULTILINE)


def test_settings_are_an_object(capsys):
    for text, said in (("[1]", "expected an object"), ("{", "is no JSON")):
        with pytest.raises(SystemExit):
            main(["me/questions", "me/traces", "--model", "me/model", "--settings", text])
        assert said in capsys.readouterr().err


def read_header() -> dict:
    """The metadata of the script, as the specification of inline script metadata says to read it."""
    pattern = r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
    (match,) = re.finditer(pattern, SCRIPT.read_text())
    lines = match["content"].splitlines(keepends=True)
    return tomllib.loads("".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))


def read_setup() -> configparser.ConfigParser:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    return setup


def test_the_header_of_the_script_asks_for_this_library_where_it_lies():
    setup, header = read_setup(), read_header()
    (requirement,) = map(Requirement, header["dependencies"])
    assert requirement.name == setup["metadata"]["name"]
    assert requirement.url.startswith(f"{setup['metadata']['url']}/archive/")
    assert SpecifierSet(header["requires-python"]) == SpecifierSet(setup["options"]["python_requires"])
    assert header["tool"]["hf-jobs"]["secrets"] == ["HF_TOKEN"]


@pytest.mark.slow
def test_the_hub_would_take_the_script_as_a_job():
    command = [Path(sys.executable).parent / "hf", "jobs", "uv", "run", "--dry-run", "--namespace", "me", SCRIPT]
    arguments = ["me/questions", "me/traces", "--model", "me/model"]
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_of_nobody"}
    done = subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True, text=True)
    assert re.search(r"args +me/questions me/traces --model me/model", done.stdout)
    assert re.search(r"flavor +a100-large \(from script\)", done.stdout)
    assert re.search(r"secrets +HF_TOKEN=\*+ \(from script\)", done.stdout)
    assert "hf_of_nobody" not in done.stdout + done.stderr


INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


def read_instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with what stands behind it in one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined)]


def test_the_image_runs_the_command_line_as_nobody_in_particular():
    setup, instructions = read_setup(), read_instructions()
    assert {name for name, _ in instructions} <= INSTRUCTIONS
    last = dict(instructions)
    (command,) = json.loads(last["ENTRYPOINT"])
    assert f"{command} =" in setup["options.entry_points"]["console_scripts"]
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(json.loads(last["CMD"]))
    assert ended.value.code == 0
    assert int(last["USER"]) > 0
    defaults = dict(rest.split("=", 1) for name, rest in instructions if name == "ARG" and "=" in rest)
    assert set(defaults["EXTRAS"].split(",")) <= set(setup["options.extras_require"])
    python = re.fullmatch(r"python:([\d.]+)-slim-\w+", defaults["BASE"])[1]
    assert python in SpecifierSet(setup["options"]["python_requires"])
    used = set(re.findall(r"\$\{(\w+)\}", DOCKERFILE.read_text()))
    assert used <= set(defaults)
    settings = (REPOSITORY / "docs" / "settings.md").read_text()
    for name in re.findall(r"(\w+)=/", last["ENV"]):
        assert f"`{name}`" in settings


def test_the_image_is_built_of_what_the_package_is_made_of():
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert all((REPOSITORY / name).exists() for name in sent)
    setup = read_setup()
    metadata = {setup["metadata"]["license_files"], setup["metadata"]["long_description"].removeprefix("file: ")}
    packages = {name.split(".")[0] for name in setup["options"]["packages"].split()}
    elsewhere = {line.split("=")[1].strip() for line in setup["options"]["package_dir"].split("\n") if line}
    assert sent == {*metadata, *packages, *elsewhere, "constraints.txt", "pyproject.toml", "setup.cfg"}
    copied = [rest.split()[0] for name, rest in read_instructions() if name == "COPY" and "--from" not in rest]
    assert set(copied) - {"."} <= sent


def test_what_the_page_passes_to_containers_can_be_given():
    page, passed = Page(REPOSITORY / "docs" / "jobs.md"), []
    for line in "".join(block.text for block in page.blocks_of("sh")).splitlines():
        arguments = shlex.split(line)
        if arguments[:2] == ["docker", "run"]:
            passed.append(arguments[arguments.index("hf-rare") + 1 :])
        else:
            assert arguments[arguments.index("-f") + 1] == DOCKERFILE.relative_to(REPOSITORY).as_posix()
    (job,) = (json.loads(block.text) for block in page.blocks_of("json"))
    passed.append(job["AppSpecification"]["ContainerArguments"])
    assert len(passed) == 3
    for arguments in passed:
        assert callable(build_parser().parse_args(arguments).run)


@pytest.mark.parametrize(("name", "script", "times"), [("jobs", "distill", 3), ("ray", "distill_with_ray", 1)])
def test_what_a_page_passes_to_a_script_can_be_given(name, script, times):
    parser = runpy.run_path(str(EXAMPLES / f"{script}.py"))["build_parser"]()
    code = "".join(block.text for block in Page(REPOSITORY / "docs" / f"{name}.md").blocks_of("bash"))
    commands = [shlex.split(line) for line in code.splitlines() if f"examples/{script}.py" in line]
    assert len(commands) == times
    for arguments in commands:
        parser.parse_args(arguments[arguments.index(f"examples/{script}.py") + 1 :])
