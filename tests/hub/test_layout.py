"""What a push leaves of what is there already, and what the card says of rows from several pushes."""

import json

import pytest
from datasets import DatasetDict

from hf_rare.errors import ConfigError
from hf_rare.hub.card.provenance import OTHER_ROWS
from hf_rare.hub.push import push_to_hub
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.pushing import (
    REPO,
    load,
    make_recipe_without_model,
    no_waiting_fixture,  # noqa: F401
    rows_of,
    table_fixture,  # noqa: F401
)


def test_a_config_cannot_have_the_folder_of_the_default_one(hub, table):
    push_to_hub(table, REPO)
    with pytest.raises(ConfigError, match="the folder data/ is that of config 'default'"):
        push_to_hub(table.select(range(3)), REPO, config_name="data")
    assert rows_of(load()) == rows_of(table)


def test_files_that_another_config_names_are_not_taken(hub, table):
    push_to_hub(table, REPO)
    text = hub.read(REPO, "README.md").decode()
    hub.commit(REPO, {"README.md": text.replace("config_name: default", "config_name: en").encode()})
    with pytest.raises(ConfigError, match="split 'train' of config 'en' too, whose files are data/train-"):
        push_to_hub(table.select(range(3)), REPO)
    assert rows_of(load(name="en")) == rows_of(table)


@pytest.mark.parametrize("has_card", [True, False])
@pytest.mark.parametrize("pattern", ["data/{}-00000-of-00001.parquet", "{}.parquet"])
def test_splits_that_no_card_names_stay(hub, table, tmp_path, has_card, pattern):
    hub.create_repo(REPO)
    files = {}
    for split, rows in (("train", table), ("test", table.select(range(9)))):
        rows.to_parquet(tmp_path / split)
        files[pattern.format(split)] = (tmp_path / split).read_bytes()
    hub.commit(REPO, {**files, **({"README.md": b"# Mine\n"} if has_card else {}), "notes.txt.bak": b"x"})
    before = {split: rows_of(load(split)) for split in ("train", "test")}
    push_to_hub(table.select(range(5)), REPO, split="dev")
    push_to_hub(table.select(range(3)), REPO, config_name="small")
    assert {split: rows_of(load(split)) for split in ("train", "test")} == before
    assert rows_of(load("dev")) == rows_of(table.select(range(5)))
    assert hub.read(REPO, "README.md").decode().count("# Mine\n") == has_card


def test_rows_are_not_appended_to_files_that_another_library_wrote(hub, table, tmp_path):
    hub.create_repo(REPO)
    table.to_json(tmp_path / "train.jsonl")
    hub.commit(REPO, {"train.jsonl": (tmp_path / "train.jsonl").read_bytes()})
    with pytest.raises(ConfigError, match=r"which has files that hf_rare did not write: train\.jsonl"):
        push_to_hub(table.select(range(3)), REPO, append=True)
    assert len(load()) == len(table)


def test_files_without_splits_in_the_header_are_the_train_split(hub, table, tmp_path):
    hub.create_repo(REPO)
    table.to_parquet(tmp_path / "rows")
    header = b"---\nconfigs:\n- config_name: default\n  data_files: rows.parquet\n---\n"
    hub.commit(REPO, {"rows.parquet": (tmp_path / "rows").read_bytes(), "README.md": header})
    push_to_hub(table.select(range(5)), REPO, split="test")
    assert (len(load()), len(load("test"))) == (len(table), 5)


def test_a_config_that_names_a_folder(hub, table, tmp_path):
    hub.create_repo(REPO)
    table.to_parquet(tmp_path / "rows")
    header = b"---\nconfigs:\n- config_name: en\n  data_dir: english\n---\n"
    hub.commit(REPO, {"english/train.parquet": (tmp_path / "rows").read_bytes(), "README.md": header})
    push_to_hub(table.select(range(5)), REPO, config_name="small")
    assert (len(load(name="en")), len(load(name="small"))) == (len(table), 5)
    with pytest.raises(ConfigError, match="'en' names a folder and no splits"):
        push_to_hub(table, REPO, config_name="en")
    with pytest.raises(ConfigError, match=r"english/test-.* would be read as split '' of config 'en' too"):
        push_to_hub(table, REPO, config_name="english", split="test")


def test_files_of_another_kind_do_not_go_with_ours(hub, table, tmp_path):
    hub.create_repo(REPO)
    table.to_json(tmp_path / "rows")
    hub.commit(REPO, {"train.jsonl": (tmp_path / "rows").read_bytes()})
    with pytest.raises(
        ConfigError, match=r"has split 'train' in train\.jsonl, and `datasets` reads files of one kind"
    ):
        push_to_hub(table.select(range(5)), REPO, split="test")
    push_to_hub(table.select(range(5)), REPO)
    assert len(load()) == 5


def test_a_split_keeps_the_columns_of_its_config(hub, table):
    push_to_hub(DatasetDict(train=table, test=table.select(range(4))), REPO)
    commits = len(hub.commits(REPO))
    with pytest.raises(ConfigError, match="Split 'test' of config 'default' has other columns"):
        push_to_hub(table.add_column("more", range(len(table))), REPO)
    assert len(hub.commits(REPO)) == commits


def test_the_line_ends_of_a_card_stay(hub, table):
    push_to_hub(table, REPO)
    windows = hub.read(REPO, "README.md").replace(b"\n", b"\r\n") + b"Mine.\r\n"
    hub.commit(REPO, {"README.md": windows})
    push_to_hub(table.select(range(3)), REPO)
    after = hub.read(REPO, "README.md")
    assert after.count(b"\n") == after.count(b"\r\n")
    assert after.endswith(b"Mine.\r\n")


# what the card says of a config that was pushed piece by piece


def block(hub, name="default") -> str:
    text = hub.read(REPO, "README.md").decode()
    return text.partition(f"<!-- hf_rare: config {name} -->")[2].partition("<!-- /hf_rare -->")[0]


def test_the_card_describes_all_splits_of_a_config(hub, table):
    push_to_hub(table, REPO)
    push_to_hub(table.select(range(7)), REPO, split="test")
    assert "57 rows in `train` and `test`" in block(hub)
    push_to_hub(table.select(range(4)), REPO)
    assert "11 rows in `train` and `test`" in block(hub)
    push_to_hub(table.select(range(2)), REPO, config_name="small")
    assert "2 rows in `train`" in block(hub, "small")
    assert "11 rows in `train` and `test`" in block(hub)


def test_the_card_says_where_rows_have_other_settings(hub, table):
    recipe = make_recipe_without_model()
    push_to_hub(table, REPO, recipe=recipe)
    push_to_hub(table.select(range(7)), REPO, split="test", recipe=recipe | {"command": "another"})
    assert OTHER_ROWS not in block(hub)
    other = recipe | {"distill": {**recipe["distill"], "seed": 7}}
    push_to_hub(table.select(range(5)), REPO, recipe=other, append=True)
    push_to_hub(table.select(range(5, 9)), REPO, recipe=other, append=True)
    assert OTHER_ROWS in block(hub)
    assert "| `seed` | `7` |" in block(hub)
    push_to_hub(DatasetDict(train=table, test=table), REPO, recipe=other)
    assert OTHER_ROWS not in block(hub)


def test_a_recipe_goes_with_the_rows_that_it_made(hub, table):
    recipe = make_recipe_without_model()
    push_to_hub(table, REPO, recipe=recipe)
    push_to_hub(table.select(range(7)), REPO, append=True)
    assert json.loads(hub.read(REPO, "recipe.json")) == recipe
    assert OTHER_ROWS in block(hub)
    push_to_hub(table, REPO)
    assert "recipe.json" not in hub.commits(REPO)[0].files
    assert "How these rows were made was not recorded." in block(hub)


def test_an_append_that_is_tried_again_adds_nothing_twice(hub, table):
    push_to_hub(table.select(range(30)), REPO, max_shard_size=1)
    new = table.select(range(30, 50))
    first = push_to_hub(new, REPO, append=True, max_shard_size=1)
    again = push_to_hub(new, REPO, append=True, max_shard_size=1)
    assert (again.oid, again.has_changed) == (first.oid, False)
    assert rows_of(load()) == rows_of(table)


@pytest.mark.parametrize(
    "files", ["{train: {a: [1]}, 7: null}", "[rows.parquet, 7]", "[{split: a}]", "data/**.parquet"]
)
def test_files_that_are_none_are_an_error_of_ours(hub, table, files):
    hub.create_repo(REPO)
    header = f"---\nconfigs:\n- config_name: default\n  data_files: {files}\n---\n# Mine\n".encode()
    hub.commit(REPO, {"README.md": header})
    with pytest.raises(ConfigError, match=r"'data_files' in the YAML header of the card .* Mend it"):
        push_to_hub(table, REPO)
    assert hub.read(REPO, "README.md") == header
