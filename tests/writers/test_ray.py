"""Real Ray actors: the rows of `map`, with actors that are killed, rows that are bad, and errors that are ours."""

import logging
import os
import runpy
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from datasets import (
    Array2D,
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    List,
    Value,
    load_dataset,
)

from hf_rare import ReasonDistiller, RunProgress, Summary
from hf_rare.errors import (
    ColumnError,
    ConfigError,
    DatasetFileError,
    GenerationError,
    MissingPackageError,
    OutputExistsError,
)
from hf_rare.runs.journal import Journal
from hf_rare.writers import ray_start
from hf_rare.writers.ray import DEATHS_TOGETHER, distill_with_ray
from tests.conftest import REPOSITORY
from tests.support import ray_job
from tests.support.chat_server import complete, serving
from tests.support.loopback_hub import hub_fixture  # noqa: F401
from tests.support.pages import Page, run_blocks, write_inputs
from tests.support.rote import put_into_cache, save_rote_model
from tests.support.waiting import wait_until

ray = pytest.importorskip("ray.data") and sys.modules["ray"]

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning:ray.data.context"),  # its own settings
]

LAUNCHER = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "OMP_NUM_THREADS": "2"}
NICENESS = {"RAY_worker_niceness": "0"}  # added to that of this process; Ray's own 15 lets whatever runs beside it win


@pytest.fixture(scope="module")
def cluster():
    """Two CPU cores, and two GPUs that are there in name only, started by a rank of a launcher."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (LAUNCHER | NICENESS).items():
            patch.setenv(name, value)
        ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv("HF_RARE_TEST_LOG", str(path))
    return path


@pytest.fixture(scope="module")
def rows() -> Dataset:
    """Thirty rows, the longest last, two of them bad, with columns of types that are easily lost."""
    features = Features(
        {
            "label": ClassLabel(names=["no", "yes"]),
            "nested": List(List(Value("int32"))),
            "matrix": Array2D((2, 2), "float32"),
            "question": Value("string"),
            "scenario": Value("null"),
            "text": Value("large_string"),
            "hard_negatives": List(Value("string")),
        }
    )
    rows = [
        {
            "label": i % 2,
            "nested": [[i], [], [1, 2]],
            "matrix": np.full((2, 2), i),
            "question": f"What of {i}?",
            "scenario": None,
            "text": f"Rule {i} says that a part is counted once. " * (1 + i // 10),
            "hard_negatives": [f"Rule {i + 1} is other.", f"Rule {i + 2} too."],
        }
        for i in range(30)
    ]
    rows[5]["text"] = None
    rows[17]["question"] = " "
    return Dataset.from_list(rows, features=features)


@pytest.fixture(scope="module")
def whole(rows, tiny) -> Dataset:
    """What `map` makes of the rows."""
    return make(tiny).apply(rows)


def make(tiny: str, teacher: type = ray_job.PlainGenerator, **settings) -> ReasonDistiller:
    generator = teacher.from_pretrained(tiny, max_new_tokens=12, max_batch_tokens=1000)
    return ReasonDistiller(generator, **{"template": "plain", "journal_dir": None, **settings})


def is_equal(first: Dataset, second: Dataset) -> bool:
    return first.features == second.features and first.to_list() == second.to_list()


@pytest.fixture
def nothing_starts(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray.data, "from_arrow", fail)


def test_what_cannot_be_right_is_found_out_before_ray_starts(nothing_starts, rows, whole, tiny, tmp_path):
    distill_fn = make(tiny)
    with pytest.raises(ColumnError, match="no column 'question'"):
        distill_with_ray(rows.remove_columns("question"), distill_fn, num_actors=2)
    with pytest.raises(ColumnError, match="already has a column 'reasoning'"):
        distill_with_ray(whole, distill_fn, num_actors=2)
    for setting in ({"num_actors": 0}, {"num_actors": 2, "batch_size": 0}, {"num_actors": True}):
        with pytest.raises(ConfigError, match="expected a number of at least 1"):
            distill_with_ray(rows, distill_fn, **setting)
    with pytest.raises(ConfigError, match="num_samples=2 asks for different traces"):
        distill_with_ray(rows, make(tiny, num_samples=2), num_actors=2)
    for source in (DatasetDict({"train": rows}), {}, [], None, [1]):
        with pytest.raises(ConfigError, match="`source` is a"):
            distill_with_ray(source, distill_fn, num_actors=2)
    with pytest.raises(DatasetFileError, match="cannot be read"):
        distill_with_ray(tmp_path / "missing.parquet", distill_fn, num_actors=2)
    (tmp_path / "file").touch()
    for output in (tmp_path, tmp_path / "file"):
        with pytest.raises(OutputExistsError, match="not an empty folder"):
            distill_with_ray(rows, distill_fn, num_actors=2, output=output)


def test_no_rows_need_no_ray(nothing_starts, rows, whole, tiny, tmp_path):
    rows.select([]).to_parquet(tmp_path / "in" / "none.parquet")
    empty = distill_with_ray(tmp_path / "in", make(tiny), num_actors=2, output=tmp_path / "out")
    assert len(empty) == 0
    assert empty.features == whole.features
    distill_fn = make(tiny, output_column="again")
    assert distill_with_ray(tmp_path / "out", distill_fn, num_actors=1).features == distill_fn.features(empty.features)


def test_rows_from_the_hub(nothing_starts, rows, whole, tiny, tmp_path, hub):
    rows.select([]).to_parquet(tmp_path / "none.parquet")
    hub.create_repo("me/rows")
    hub.commit("me/rows", {"data/none.parquet": (tmp_path / "none.parquet").read_bytes()})
    assert (
        distill_with_ray("hf://datasets/me/rows/data/*.parquet", make(tiny), num_actors=2).features == whole.features
    )
    with pytest.raises(DatasetFileError, match="cannot be read"):
        distill_with_ray("hf://datasets/me/rows/other/*.parquet", make(tiny), num_actors=2)


def test_without_ray_the_package_is_named(rows, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ray.data")
    with pytest.raises(MissingPackageError, match=r"pip install hf-rare\[ray\]"):
        distill_with_ray(rows, make(tiny), num_actors=2)


@pytest.mark.slow
@pytest.mark.timeout(600)  # so that it is among the first: `cluster` stays
def test_a_machine_without_room_for_an_actor_is_an_error_and_ray_is_left(rows, tiny):
    assert not ray.is_initialized()
    with pytest.raises(ConfigError, match="num_gpus=99 is more than this machine has"):
        distill_with_ray(rows, make(tiny), num_actors=1, num_gpus=99)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_actors_make_of_parquet_files_what_map_makes_of_the_rows(
    cluster, log, rows, whole, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr("hf_rare.writers.ray.SHARD_BYTES", 5000)
    for part, name in ((range(20), "a"), (range(20, 30), "b")):
        rows.select(part).to_parquet(tmp_path / f"in-{name}.parquet")
    preserve_order = ray.data.DataContext.get_current().execution_options.preserve_order
    output = tmp_path / "new" / "out"
    told: list[RunProgress] = []
    distilled = distill_with_ray(
        str(tmp_path / "in-*.parquet"),
        make(tiny, ray_job.Logging, callbacks=[told.append]),
        num_actors=2,
        num_gpus=1,
        batch_size=4,
        output=output,
    )
    assert is_equal(distilled, whole)
    assert is_equal(load_dataset("parquet", data_files=str(output / "*.parquet"), split="train"), whole)
    assert told[-1].rows == told[-1].rows_ended == 30
    assert told[-1].summary.statuses == Summary.of_dataset(whole).statuses
    assert len(list(output.iterdir())) > 1
    assert [path.name for path in output.parent.iterdir()] == ["out"]
    statuses = distilled["reasoning_status"][:]
    assert [i for i, status in enumerate(statuses) if status == "invalid_input"] == [5, 17]
    assert len(set(distilled["reasoning"])) > 20
    entries = ray_job.read_log()
    assert os.getpid() not in {entry["pid"] for entry in entries}
    assert all(entry["threads"] == 1 and entry["gpus"] in ("0", "1") and not entry["ranks"] for entry in entries)
    assert {entry["niceness"] for entry in entries} == {os.nice(0)}
    assert ray.data.DataContext.get_current().execution_options.preserve_order == preserve_order


@pytest.mark.slow
def test_a_killed_actor_costs_nothing_and_a_rerun_reads_the_journal(cluster, log, rows, whole, tiny, tmp_path):
    killed = make(tiny, ray_job.KilledOnce, journal_dir=tmp_path / "journal")
    assert is_equal(distill_with_ray(rows, killed, num_actors=2, batch_size=8), whole)
    entries = ray_job.read_log()
    assert int((tmp_path / "killed").read_text()) in {entry["pid"] for entry in entries}
    assert len({entry["pid"] for entry in entries}) >= 2
    assert sum(entry["rows"] for entry in entries) == 28  # what had been written before the kill was not written again
    (folder,) = (tmp_path / "journal").iterdir()
    assert len(Journal(folder, {})) == 28
    sampling = {"max_new_tokens": 12, "generation_kwargs": {"temperature": 1.0}}
    settings = {"template": "plain", "journal_dir": tmp_path / "journal", "num_samples": 2, "expand": True}
    first, again = (
        ReasonDistiller(teacher.from_pretrained(tiny, **sampling), **settings)
        for teacher in (ray_job.PlainGenerator, ray_job.Failing)
    )
    expected = first.apply(rows)
    expanded = distill_with_ray(rows, again, num_actors=1, batch_size=30)
    assert expanded["reasoning_sample"][:] == [0, 1] * 30
    assert is_equal(expanded, expected)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_that_kill_every_time_fail_and_no_others(cluster, log, rows, whole, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_RARE_TEST_KILLERS", "What of 12?|What of 13?")
    settings = {"journal_dir": tmp_path / "journal", "max_tries": 2}
    distilled = distill_with_ray(rows, make(tiny, ray_job.KilledByPrompts, **settings), num_actors=1, batch_size=2)
    assert ray_job.count_deaths() == DEATHS_TOGETHER + 1 + 2 * 2
    others = [i for i in range(30) if i not in (12, 13)]
    assert is_equal(distilled.select(others), whole.select(others))
    for i in (12, 13):
        assert distilled[i]["reasoning_status"] == "failed"
        assert distilled[i]["reasoning_error"] == "it ended its actor 2 times"
        assert not distilled[i]["reasoning"]
    again = make(tiny, ray_job.Failing, **settings).apply(rows)  # the journal has what failed too
    assert is_equal(again, distilled)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_a_journal_the_row_is_found_as_well(cluster, log, rows, whole, tiny, monkeypatch):
    monkeypatch.setenv("HF_RARE_TEST_KILLERS", "What of 1?")
    killed = make(tiny, ray_job.KilledByPrompts, max_tries=1)
    distilled = distill_with_ray(rows.select(range(6)), killed, num_actors=2, batch_size=3)
    others = [0, 2, 3, 4, 5]
    assert is_equal(distilled.select(others), whole.select(others))
    assert distilled[1]["reasoning_status"] == "failed"
    assert distilled[1]["reasoning_error"] == "it ended its actor once"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (ray_job.KilledByPrompts, r"it ended its actor once\. Its prompt ends with .*What of 1\?"),
        (ray_job.KilledAsItLoads, "An actor died once as it began to load a model"),
    ],
)
def test_what_kills_actors_ends_the_run_where_it_is_to_be_raised(
    cluster, log, rows, tiny, tmp_path, monkeypatch, teacher, message
):
    monkeypatch.setenv("HF_RARE_TEST_KILLERS", "What of 1?")
    settings = {"journal_dir": tmp_path / "journal", "max_tries": 1, "on_error": "raise"}
    with pytest.raises(GenerationError, match=message):
        distill_with_ray(rows.select(range(4)), make(tiny, teacher, **settings), num_actors=1, batch_size=2)
    assert ray_job.count_deaths() == DEATHS_TOGETHER + 2


@ray.remote
class Placeholder:
    """Has what others need."""


class AtTheFirst(logging.Handler):
    """Does something when the first warning comes."""

    def __init__(self, do) -> None:
        super().__init__(logging.WARNING)
        self.do = do
        self.texts = []

    def emit(self, record) -> None:
        self.texts.append(record.getMessage())
        if len(self.texts) == 1:
            self.do()


@pytest.mark.slow
def test_that_no_actor_starts_is_said_until_one_does(cluster, log, rows, whole, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_start, "WARN_SECONDS", 0.5)
    placeholder = Placeholder.options(num_cpus=2).remote()
    handler = AtTheFirst(lambda: ray.kill(placeholder))
    monkeypatch.setattr(ray_start.logger, "handlers", [handler])
    held = make(tiny, ray_job.Held)
    with ThreadPoolExecutor() as pool:
        distilling = pool.submit(distill_with_ray, rows.select(range(4)), held, num_actors=1, num_gpus=1)
        try:
            wait_until(lambda: handler.texts or distilling.done())
            wait_until(lambda: distilling.done() or not is_watched())  # which ends as the actor starts
            assert ray_job.read_log() == []
        finally:
            ray.kill(placeholder)
            (tmp_path / "go").touch()
        assert is_equal(distilling.result(), whole.select(range(4)))
    assert handler.texts[0].startswith("No actor has started for ")
    assert "CPU: needed 1, there are 2 (at most 2 on one machine), free 0; GPU: needed 1" in handler.texts[0]
    assert "Others have it: end them" in handler.texts[0]


def is_watched() -> bool:
    return any(thread.name == ray_start.WATCHER for thread in threading.enumerate())


@pytest.mark.slow
def test_an_error_in_an_actor_arrives_as_what_it_is(cluster, rows, tiny):
    with pytest.raises(GenerationError, match="nothing should be generated") as caught:
        distill_with_ray(rows, make(tiny, ray_job.Failing, on_error="raise"), num_actors=1, batch_size=4)
    assert type(caught.value) is GenerationError
    wait_until(lambda: ray.available_resources().get("CPU") == 2)  # the actors go, although the error is still here


@pytest.mark.slow
def test_actors_ask_an_endpoint(cluster, rows):
    with serving(complete("<think>Because.</think>It is so.")) as server:
        distill_fn = ReasonDistiller.from_endpoint("m", base_url=server.base_url, max_concurrency=2)
        distilled = distill_with_ray(rows, distill_fn, num_actors=2, batch_size=2)
    statuses = distilled["reasoning_status"][:]
    assert set(statuses) == {"ok", "invalid_input"}
    assert len(server.requests) == statuses.count("ok") == 28


@pytest.fixture
def inputs_of_pages(tmp_path, monkeypatch):
    """A folder with what pages of the documentation read, and their teacher in the cache that actors have too."""
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    place = put_into_cache("Qwen/Qwen3-8B", save_rote_model(tmp_path / "teacher"))
    yield tmp_path
    shutil.rmtree(place)


@pytest.mark.slow
def test_the_page_on_ray_runs(cluster, inputs_of_pages):
    ((_, namespace),) = run_blocks(Page(REPOSITORY / "docs" / "ray.md"), inputs_of_pages)
    assert namespace["ds"]["reasoning_status"][:] == ["ok"] * 6
    written = load_dataset("parquet", data_files=str(inputs_of_pages / "traces" / "*.parquet"), split="train")
    assert written["question"][:] == namespace["ds"]["question"][:]


EXAMPLE = REPOSITORY / "examples" / "distill_with_ray.py"


@pytest.mark.slow
def test_the_example_writes_what_map_writes(cluster, rows, tiny, tmp_path, capsys):
    rows.to_parquet(tmp_path / "rows.parquet")
    arguments = [str(tmp_path / "rows.parquet"), str(tmp_path / "traces"), "--model", tiny, "--max-new-tokens", "12"]
    main = runpy.run_path(str(EXAMPLE))["main"]
    assert main([*arguments, "--journal", str(tmp_path / "journal")]) == 0
    assert "30 rows are in" in capsys.readouterr().out
    whole = ReasonDistiller.from_pretrained(tiny, max_new_tokens=12, journal_dir=None).apply(rows)
    assert is_equal(load_dataset("parquet", data_files=str(tmp_path / "traces" / "*.parquet"), split="train"), whole)
    assert main(arguments) == 1
    assert "OutputExistsError: " in capsys.readouterr().err
