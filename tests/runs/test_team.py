"""Which process of a job this is: one place reads it from the environment, for all who write once for a job."""

import pytest
from datasets import Dataset

from hf_rare import ConfigError, push_to_hub
from hf_rare.cli.main import main
from hf_rare.runs.team import get_team, is_first_process, read_place
from tests.support.commands import RAN
from tests.support.loopback_hub import hub_fixture  # noqa: F401

ALONE = [{}, {"RANK": ""}, {"RANK": "3"}, {"RANK": "3", "WORLD_SIZE": "1"}, {"RANK": "0", "WORLD_SIZE": ""}]
ALONE += [{"WORLD_SIZE": "4"}, {"RANK": "", "WORLD_SIZE": "4"}, {"RANK": " 1 ", "WORLD_SIZE": " 1 "}]


@pytest.fixture
def place(monkeypatch):
    """Sets the variables of a launcher, and no others."""

    def set_place(variables):
        for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_place


@pytest.mark.parametrize("variables", ALONE, ids=str)
def test_a_process_that_works_alone_is_the_first(place, variables):
    place(variables)
    assert read_place() == (0, 1)
    assert is_first_process()
    assert get_team() is None


def test_in_a_job_the_process_of_rank_0_is_the_first(place):
    place({"RANK": "0", "WORLD_SIZE": "4"})
    assert is_first_process()
    place({"RANK": "3", "WORLD_SIZE": "4"})
    assert read_place() == (3, 4)
    assert not is_first_process()


@pytest.mark.parametrize(
    "rank, world_size", [("x", "2"), ("4", "4"), ("-1", "2"), ("0", "two"), ("0", "0"), ("1.0", "2")]
)
def test_what_no_launcher_would_say_is_an_error(place, rank, world_size):
    place({"RANK": rank, "WORLD_SIZE": world_size})
    with pytest.raises(ConfigError, match=f"RANK='{rank}' and WORLD_SIZE='{world_size}'"):
        is_first_process()


@pytest.mark.parametrize("variables", [{"RANK": ""}, {"RANK": "3", "WORLD_SIZE": "1"}], ids=str)
def test_what_is_left_of_a_launcher_stops_neither_output_nor_push(place, variables, hub, rows, tiny, tmp_path, capsys):
    place(variables)
    rows.to_json(tmp_path / "rows.jsonl")
    output = tmp_path / "traces.parquet"
    arguments = ["distill", str(tmp_path / "rows.jsonl"), "--model", tiny, "--max-new-tokens", "4"]
    assert main([*arguments, "--output", str(output)]) in RAN
    assert len(Dataset.from_parquet(str(output))) == len(rows)
    assert "6 truncated" in capsys.readouterr().err
    assert push_to_hub(rows, "me/rows").has_changed
