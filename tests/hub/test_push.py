"""Pushes with the real clients to a Hub on this machine: one commit, nothing lost, nothing twice."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
import yaml
from datasets import Dataset, DatasetDict, Image, Value
from huggingface_hub import DatasetCard, HfApi, constants

import hf_rare.hub.push
from hf_rare import ReasonDistiller
from hf_rare.errors import ConfigError, HubError
from hf_rare.hub.push import push_to_hub
from hf_rare.writers.recipe import describe_command, make_recipe
from tests.support.loopback_hub import hub_fixture, quick_retries_fixture, xet_fixture  # noqa: F401
from tests.support.pushing import (
    REPO,
    load,
    make_recipe_without_model,
    no_waiting_fixture,  # noqa: F401
    rows_of,
    table_fixture,  # noqa: F401
)


def header(hub, revision="main") -> dict:
    return yaml.safe_load(hub.read(REPO, "README.md", revision).decode().split("---\n")[1])


# what is there afterwards


@pytest.mark.parametrize("way", ["lfs", "xet"])
def test_one_commit_brings_data_card_recipe_and_plot(hub, request, rows, tiny, way):
    if way == "xet":
        request.getfixturevalue("xet")
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=4)
    distilled = distill_fn.apply(rows)
    before = len(hub.commits(REPO)) if REPO in hub.repo_ids() else 1
    result = push_to_hub(distilled, REPO, recipe=distill_fn, license="mit", language="en", private=True)
    commits = hub.commits(REPO)
    assert len(commits) == before + 1
    assert result.oid == commits[0].oid
    assert result.commit_url == f"{hub.url}/datasets/{REPO}/commit/{result.oid}"
    assert (result.pr_url, result.has_changed) == (None, True)
    files = set(commits[0].files)
    assert {"README.md", "recipe.json", "assets/default.png"} < files
    (shard,) = (path for path in files if path.startswith("data/train-00000-"))
    assert bool(commits[0].files[shard].xet) == (way == "xet")
    assert rows_of(load()) == rows_of(distilled)
    assert rows_of(load(streaming=True)) == rows_of(distilled)
    assert load().features == distilled.features
    recipe = json.loads(hub.read(REPO, "recipe.json"))
    assert recipe == make_recipe(distill_fn)
    again = ReasonDistiller.from_recipe(REPO, model_id=tiny)
    assert again.config == distill_fn.config
    assert header(hub)["license"] == "mit"
    assert header(hub)["dataset_info"]["splits"][0]["num_examples"] == 6
    if huggingface_hub.__version__ >= "2":  # versions 1 ask the public Hub, whatever HF_ENDPOINT says
        DatasetCard(hub.read(REPO, "README.md").decode()).validate()


@pytest.mark.parametrize("way", ["lfs", "xet"])
def test_an_identical_push_makes_no_commit_and_uploads_nothing(hub, request, table, way):
    if way == "xet":
        request.getfixturevalue("xet")
    first = push_to_hub(table, REPO)
    puts = sum(map(len, hub.puts.values()))
    again = push_to_hub(table, REPO)
    assert (again.oid, again.has_changed) == (first.oid, False)
    assert len(hub.received("POST .*/commit/")) == 1
    assert sum(map(len, hub.puts.values())) == puts


@pytest.mark.parametrize("way", ["lfs", "xet"])
def test_configs_splits_and_what_people_wrote_stay(hub, request, table, way):
    if way == "xet":
        request.getfixturevalue("xet")
    push_to_hub(table, REPO, license="mit")
    text = hub.read(REPO, "README.md").decode()
    mine = text.replace("\n# ", "\n# Mine: ", 1) + "\nA word of my own.\n"
    hub.commit(REPO, {"README.md": mine.encode(), "notes.txt": b"mine"})
    push_to_hub(table.select(range(7)), REPO, split="test")
    push_to_hub(DatasetDict(train=table.select(range(3)), test=table.select(range(2))), REPO, config_name="small")
    push_to_hub(table.select(range(40)), REPO)
    counts = {("default", "train"): 40, ("default", "test"): 7, ("small", "train"): 3, ("small", "test"): 2}
    for (name, split), count in counts.items():
        for streaming in (False, True):
            assert rows_of(load(split, name, streaming=streaming)) == rows_of(table.select(range(count)))
    text = hub.read(REPO, "README.md").decode()
    assert "A word of my own." in text
    assert "# Mine: " in text
    assert hub.read(REPO, "notes.txt") == b"mine"
    assert header(hub)["license"] == "mit"
    assert len(hub.commits(REPO)) == 6


@pytest.mark.parametrize("way", ["lfs", "xet"])
def test_rows_are_appended_without_uploading_old_ones(hub, request, table, way):
    if way == "xet":
        request.getfixturevalue("xet")
    settings = {"max_shard_size": 1}
    old, new = table.select(range(30)), table.select(range(30, 50))
    push_to_hub(old, REPO, recipe={**make_recipe_without_model()}, **settings)
    before = dict(hub.commits(REPO)[0].files)
    puts = set(hub.puts)
    push_to_hub(new, REPO, recipe={**make_recipe_without_model()}, append=True, **settings)
    after = hub.commits(REPO)[0].files
    assert {path: after[path].oid for path in before if path.startswith("data/")} == {
        path: file.oid for path, file in before.items() if path.startswith("data/")
    }
    assert len(set(hub.puts) - puts) == (2 if way == "lfs" else 0)  # one shard, one plot
    for streaming in (False, True):
        assert rows_of(load(streaming=streaming)) == rows_of(table)
    assert header(hub)["dataset_info"]["splits"][0]["num_examples"] == 50
    assert "50 rows" in hub.read(REPO, "README.md").decode()
    with pytest.raises(ConfigError, match="other columns"):
        push_to_hub(new.remove_columns("question"), REPO, append=True)


def test_no_file_of_the_repository_holds_a_token(hub, rows, tiny, monkeypatch):
    given = "hf_" + "Given0Token" * 3
    hub.tokens[given] = hub.tokens[hub.write_token]
    monkeypatch.setattr(sys, "argv", ["hf-rare", "run", "--token", given, f"--hub-token={hub.write_token}"])
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=4)
    recipe = make_recipe(distill_fn, describe_command())
    assert "--token hf_... " in recipe["command"]
    recipe["command"] = shlex.join(sys.argv)  # as a person may write it
    push_to_hub(distill_fn.apply(rows.select(range(2))), REPO, recipe=recipe, token=given)
    push_to_hub(rows.select(range(2)), REPO, recipe=recipe, config_name="with_login")
    assert {given, hub.write_token} <= {
        request.headers["authorization"].split()[1] for request in hub.received("POST")
    }
    for commit in hub.commits(REPO):
        texts = [hub.read(REPO, path, commit.oid) for path in commit.files]
        texts += [commit.summary.encode(), commit.description.encode()]
        for token in (given, hub.write_token):
            assert not any(token.encode() in text for text in texts)


def test_a_grown_dataset_uploads_its_last_shard_only(hub):
    texts = [f"{i} " + "x" * 100 for i in range(5000)]
    push_to_hub(Dataset.from_dict({"text": texts[:3500]}), REPO, max_shard_size=100_000)
    puts = set(hub.puts)
    push_to_hub(Dataset.from_dict({"text": texts}), REPO, max_shard_size=100_000)
    shards = sorted(path for path in hub.commits(REPO)[0].files if path.endswith(".parquet"))
    assert len(shards) == 5
    assert len(set(hub.puts) - puts) == 2
    assert load()["text"][:] == texts


def test_a_pull_request(hub, table):
    push_to_hub(table, REPO)
    result = push_to_hub(table.select(range(5)), REPO, create_pr=True, commit_message="Fewer rows")
    assert result.pr_url == f"{hub.url}/datasets/{REPO}/discussions/1"
    assert len(load()) == 50
    assert len(load(revision="refs/pr/1")) == 5
    assert hub.commits(REPO, "refs/pr/1")[0].summary == "Fewer rows"


def test_a_branch_is_made(hub, table):
    push_to_hub(table, REPO, revision="next")
    assert len(load(revision="next")) == 50
    assert "data" not in str(hub.commits(REPO)[0].files)


def test_readers_see_all_of_many_shards_or_none(hub, table, monkeypatch):
    push_to_hub(table, REPO)
    monkeypatch.setattr("hf_rare.hub.shards.BLOCK_ROWS", 1)
    many = Dataset.from_dict({"text": [f"Text {i}." for i in range(120)]})
    hub.fault("POST .*/commit/", status=403)
    with pytest.raises(HubError, match="Nothing of this push is visible"):
        push_to_hub(many, REPO, max_shard_size=1)
    assert rows_of(load(download_mode="force_redownload")) == rows_of(table)
    puts = sum(map(len, hub.puts.values()))
    push_to_hub(many, REPO, max_shard_size=1)
    assert sum(map(len, hub.puts.values())) == puts  # the failure cost no upload
    assert len(hub.commits(REPO)) == 3
    assert load(download_mode="force_redownload")["text"][:] == many["text"][:]


def test_more_shards_than_one_commit_takes_are_committed_before_the_card(hub, monkeypatch):
    monkeypatch.setattr(hf_rare.hub.push, "MAX_FILES_PER_COMMIT", 3)
    many = Dataset.from_dict({"text": [f"{i} " + "x" * 100 for i in range(8000)]})
    hub.fault("POST .*/commit/", nth=2, status=403)
    with pytest.raises(HubError, match="3 of its shards are on the Hub, its card and the others are not"):
        push_to_hub(many, REPO, max_shard_size=1)
    assert "README.md" not in hub.commits(REPO)[0].files
    puts = sum(map(len, hub.puts.values()))
    push_to_hub(many, REPO, max_shard_size=1)
    assert sum(map(len, hub.puts.values())) == puts  # the failure cost no upload
    shards = [sum(path.startswith("data/") for path in commit.files) for commit in reversed(hub.commits(REPO))]
    assert shards == [0, 3, 6, 8]
    assert load()["text"][:] == many["text"][:]


def test_under_a_launcher_one_process_pushes(hub, table, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert push_to_hub(table, REPO) is None
    assert hub.requests == []


def test_an_empty_split(hub, table):
    push_to_hub(DatasetDict(train=table, test=table.select([])), REPO)
    assert len(load()) == 50  # `datasets` itself does not load a split without rows
    assert header(hub)["dataset_info"]["splits"][1]["num_examples"] == 0


# races and lost answers


def test_a_raced_push_is_made_again_on_the_new_head(hub, table):
    push_to_hub(table, REPO)
    hub.fault("POST .*/commit/", race={"other.txt": b"theirs"})
    push_to_hub(table.select(range(9)), REPO)
    assert hub.read(REPO, "other.txt") == b"theirs"
    assert len(load()) == 9


@pytest.mark.slow
def test_two_processes_that_push_different_configs_at_once_both_arrive(hub, table, tmp_path):
    push_to_hub(table, REPO)
    table.to_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys, datasets, hf_rare; name = sys.argv[1]; ds = datasets.Dataset.from_parquet('rows.parquet');"
        f"hf_rare.push_to_hub(ds.select(range(len(name))), {REPO!r}, config_name=name)"
    )
    environment = {**os.environ, **hub.environment(), "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, name], env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
        for name in ("one", "three")
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    assert (len(load(name="one")), len(load(name="three")), len(load(name="default"))) == (3, 5, 50)


@pytest.mark.parametrize("create_pr", [False, True])
def test_a_lost_answer_is_recognised(hub, table, create_pr):
    push_to_hub(table, REPO)
    before = len(hub.commits(REPO))
    hub.fault("POST .*/commit/", cut="before", times=4)  # until the last try, whose answer is lost
    hub.fault("POST .*/commit/", nth=5, cut="after")
    result = push_to_hub(table.select(range(9)), REPO, create_pr=create_pr)
    revision = "refs/pr/1" if create_pr else "main"
    assert len(hub.commits(REPO, revision)) == before + 1
    assert hub.commits(REPO, revision)[0].oid == result.oid
    assert len(hub.discussions(REPO)) == create_pr
    if create_pr:
        assert result.pr_url == f"{hub.url}/datasets/{REPO}/discussions/1"


def faults_of(kind) -> dict:
    return {
        "refused": {"status": 403},
        "500": {"status": 500, "times": 99},
        "cut before": {"cut": "before", "times": 99},
        "cut after": {"cut": "after", "times": 99},
        "delay": {"delay": 0.1},
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["refused", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("500", "cut before", "cut after", "delay"))],
)
def test_whatever_request_fails_the_repository_is_as_before_or_complete(hub, quick_retries, table, kind):
    push_to_hub(table, REPO, recipe=make_recipe_without_model())
    start = len(hub.requests)
    push_to_hub(table.select(range(20)), REPO, recipe=make_recipe_without_model())
    requests = [f"{request.method} {request.path.split('?')[0]}" for request in hub.requests[start:]]
    before, size, outcomes = 20, 20, set()
    for number, request in enumerate(dict.fromkeys(requests)):
        size = 21 + number
        shutil.rmtree(f"{constants.HF_HUB_CACHE}/datasets--me--rare", ignore_errors=True)  # what was read before
        fault = hub.fault(re.escape(re.sub(r"[0-9a-f]{40,64}.*", "", request)), **faults_of(kind))
        try:
            push_to_hub(table.select(range(size)), REPO, recipe=make_recipe_without_model())
            arrived = True
        except HubError:
            arrived = False
        assert fault.used
        outcomes.add(arrived)
        fault.times = 0
        count = len(load(download_mode="force_redownload"))
        assert count == size if arrived else count in (before, size), request
        assert header(hub)["dataset_info"]["splits"][0]["num_examples"] == count
        push_to_hub(table.select(range(size)), REPO, recipe=make_recipe_without_model())
        assert len(load(download_mode="force_redownload")) == size
        before = size
    assert (False in outcomes) is (kind != "delay")


def test_settings_that_cannot_be_right(hub, table):
    with pytest.raises(ConfigError, match="Dataset or a DatasetDict"):
        push_to_hub(table.to_iterable_dataset(), REPO)
    with pytest.raises(ConfigError, match="brings its own splits"):
        push_to_hub(DatasetDict(train=table), REPO, split="test")
    with pytest.raises(ConfigError, match="config_name='a/b'"):
        push_to_hub(table, REPO, config_name="a/b")
    with pytest.raises(ConfigError, match="split='a-b'"):
        push_to_hub(table, REPO, split="a-b")
    for name in ("all", "ALL", "a..b", "a.", "trän"):  # `datasets` would not load the repository any more
        with pytest.raises(ConfigError, match=f"split='{re.escape(name)}'"):
            push_to_hub(DatasetDict({"train": table, name: table}), REPO)
    with pytest.raises(ConfigError, match="no splits"):
        push_to_hub(DatasetDict(), REPO)
    for token in ("hf_abc\n", " hf_abc", "", "hf_\u00e4"):
        with pytest.raises(ConfigError, match="characters") as caught:
            push_to_hub(table, REPO, token=token)
        assert not token.strip() or token.strip() not in str(caught.value)
    with pytest.raises(ConfigError, match="equal columns"):
        push_to_hub(DatasetDict(train=table, test=table.remove_columns("question")), REPO)
    assert HfApi().repo_exists(REPO, repo_type="dataset") is False


def test_pictures_that_are_none_are_pushed_as_they_are(hub, table):
    storage = {"bytes": Value("binary"), "path": Value("string")}
    spoilt = table.add_column("picture", [{"bytes": b"no picture", "path": None}] * 50, feature=storage)
    push_to_hub(spoilt.cast_column("picture", Image()), REPO)
    assert load().cast_column("picture", storage)["picture"][0]["bytes"] == b"no picture"
