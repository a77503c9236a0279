"""Distill a dataset with a pool of Ray actors, each with a teacher of its own, on one machine or many.

Ray Data hands batches of rows to the actors, starts actors again that died, and repeats their batches. That this
has an end is the business of `ray_deaths`, and that somebody hears of it where none starts, of `ray_start`. Only the
input columns travel to the actors and only the new columns come back, so that all others keep their types. What is
generated goes into the journal as always: a run that is started again goes on where it was.
"""

import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets.arrow_writer import ArrowWriter
from datasets.fingerprint import get_temporary_cache_files_directory
from datasets.utils import tqdm
from huggingface_hub.utils.tqdm import disable_progress_bars

from hf_rare.errors import (
    ConfigError,
    DatasetFileError,
    GenerationError,
    HfRareError,
    OutputExistsError,
)
from hf_rare.paths import is_folder
from hf_rare.rows.batches import read_columns
from hf_rare.rows.parquet import write_parquet
from hf_rare.runs.pickling import PREFIX, variables_for_workers
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.failing import fail_rows
from hf_rare.writers.joined import JoinedBatches
from hf_rare.writers.ray_deaths import Tally, Tries, Turns
from hf_rare.writers.ray_session import import_ray, quiet_logs, session
from hf_rare.writers.ray_start import warning_until_started

ROW = "hf_rare_row"
"""Column that numbers the rows on their way through the actors."""

BATCHES_TOGETHER = 16
"""Most batches that an actor has at a time."""

DEATHS_TOGETHER = 2
"""Deaths after which a batch is written alone, and row by row after another one. Few are a row's fault, and alone is
slow."""

FOREIGN_VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "ACCELERATE_"),
    *("PMI_", "OMPI_COMM_", "MV2_COMM_", PREFIX),
)
"""How variables begin that are not an actor's: it is no rank of a launcher, and has the settings of this run alone."""
SHARD_BYTES = 500_000_000


def distill_with_ray(
    source: datasets.Dataset | str | Path | Sequence[str | Path],
    distill_fn: ColumnWriter[Any, Any],
    *,
    num_actors: int,
    output: str | Path | None = None,
    batch_size: int = 16,
    num_cpus: float = 1,
    num_gpus: float = 0,
    **map_kwargs: Any,
) -> datasets.Dataset:
    """Distill a dataset with a pool of Ray actors.

    Rows, columns and order are those of `distill_fn.apply(dataset)`. An actor that dies is started again and its
    batches are repeated; with a journal, nothing that was written is written again. A row that ends its actor every
    time, as a crash in a kernel does, is found: it fails when it has done so `max_tries` times alone. While no actor
    has started, a warning says each minute what one needs and what the cluster has. A Ray that runs already is used
    and left running; else one is started, or joined where `RAY_ADDRESS` names it, and left at the end. On several
    machines, `journal_dir` and a local teacher must be absolute paths that all of them see. The limits `max_rows`,
    `max_tokens` and `max_hours` hold for each actor.

    Args:
        source ([`~datasets.Dataset`], `str`, `Path` or a list of paths):
            A dataset, or parquet files: a path, a glob, a folder, `hf://datasets/...`, or a list of files.
        distill_fn ([`ReasonDistiller`] or another [`ColumnWriter`]):
            The callable for `map`. Each actor makes its own from the settings, once.
        num_actors (`int`):
            Actors to start. Where there is no room for all, those that fit do the work.
        output (`str` or `Path`, *optional*):
            Folder to write the result to as parquet files, which must be empty or not exist. It is filled at the end.
        batch_size (`int`, *optional*, defaults to 16):
            Rows of a batch. An actor has up to 16 batches at a time, which it writes in one stream.
        num_cpus (`float`, *optional*, defaults to 1):
            CPU cores of an actor. Torch uses no more threads than that.
        num_gpus (`float`, *optional*, defaults to 0):
            GPUs of an actor. It sees no others.
        **map_kwargs:
            Passed to Ray's `map_batches`, for example `memory`, `resources`, `accelerator_type` or `runtime_env`.

    Returns:
        [`~datasets.Dataset`]: the rows with the new columns, which are in a temporary file that ends with the process.

    Raises:
        ConfigError: A setting or `source` cannot be right, the model does not sample and must, or this machine has
            less than one actor needs.
        ColumnError: An input column is missing, or an output column exists already.
        DatasetFileError: The parquet files cannot be read.
        OutputExistsError: `output` has something in it.
        MissingPackageError: Ray Data is not installed.
        GenerationError: The actors die as they load their model, or make prompts.
        HfRareError: What ended the run in an actor, such as a row that failed with `on_error="raise"`.

    Example:
        >>> ds = distill_with_ray("questions/*.parquet", distill_fn, num_actors=8, num_gpus=1, output="traces")
    """
    for name, value in (("num_actors", num_actors), ("batch_size", batch_size)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name}={value!r} cannot be right: expected a number of at least 1.")
    ray = import_ray()
    folder = _check_output(output) if output is not None else None
    dataset = _load(source)
    distill_fn.check_sampling()
    features = distill_fn.features(dataset.features)
    inputs = [*distill_fn.input_columns, *(name for name in distill_fn.optional_columns if name in dataset.features)]
    read_columns({name: [] for name in dataset.features}, inputs, distill_fn.config)
    if len(dataset) == 0:
        distilled = _make_empty(features)
    else:
        batches = list(_number_batches(dataset.select_columns(list(dict.fromkeys(inputs))), batch_size))
        map_kwargs = {"batch_size": batch_size, "num_gpus": num_gpus, **map_kwargs}
        if num_cpus != 1:  # which Ray takes by default; said together with GPUs, it warns
            map_kwargs["num_cpus"] = num_cpus
        with session(ray, CPU=num_cpus, GPU=num_gpus), quiet_logs():
            results = _map(ray, batches, distill_fn, num_actors, num_cpus, map_kwargs)
            with distill_fn.running(len(dataset)):
                new = _collect(results, distill_fn, len(dataset))
        repeated = dataset.select(new[ROW][:])  # a row may come back several times
        distilled = datasets.concatenate_datasets([repeated, new.remove_columns(ROW)], axis=1)
    if folder is not None:
        _write(distilled, folder)
    return distilled


def _number_batches(dataset: datasets.Dataset, batch_size: int) -> Iterator[pa.Table]:
    """Return the rows in batches, with a column that numbers them."""
    for start, batch in zip(
        range(0, len(dataset), batch_size), dataset.with_format("arrow").iter(batch_size), strict=True
    ):
        yield batch.append_column(ROW, pa.array(range(start, start + len(batch)), pa.int64()))


class _Actor:
    """Distills batches in its own process, several in one stream.

    What ends the run comes back as a result: errors Ray buries in text.
    """

    def __init__(self, distill_fn: bytes, variables: dict[str, str], num_threads: int, tally: Any) -> None:
        import ray

        ray.get(tally.note_start.remote())
        for name in [name for name in os.environ if name.startswith(FOREIGN_VARIABLES)]:
            del os.environ[name]
        os.environ |= variables
        datasets.disable_progress_bars()
        disable_progress_bars()  # of transformers too, which asks this when it is imported
        import torch

        torch.set_num_threads(num_threads)
        self.distill_fn: ColumnWriter[Any, Any] = pickle.loads(distill_fn)
        self.batches = JoinedBatches(self.distill_fn)
        self.name = ray.get_runtime_context().get_actor_id()  # which it keeps when it is started again
        self.tries = Tries(ray, tally)
        self.max_tries = self.distill_fn.run.max_tries
        self.turns = Turns()
        self.error: HfRareError | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        result: pa.Table | HfRareError
        try:
            result = self.error or self._write(batch).select([ROW, *self.distill_fn.features()])
        except HfRareError as err:
            result = self.error = err  # and no more is generated: the caller ends the run when it gets to this batch
        except Exception:
            result = self.error = GenerationError(f"An actor failed:\n{traceback.format_exc()}")
        return pa.table({"result": pa.array([pickle.dumps(result)], pa.large_binary())})

    def _write(self, batch: pa.Table) -> pa.Table:
        """Write the new columns of a batch: beside others, alone, or row by row, by how often an actor died of it."""

        def write() -> pa.Table:
            return self.batches(batch)

        key = ("batch", batch[ROW][0].as_py())
        with self.turns.together():
            written = self.tries.run(key, DEATHS_TOGETHER, write, lambda deaths: None)
        if written is not None:
            return written
        with self.turns.alone():
            return self.tries.run(key, DEATHS_TOGETHER + 1, write, lambda deaths: self._write_rows(batch))

    def _write_rows(self, batch: pa.Table) -> pa.Table:
        """Write the new columns of a batch row by row, with models that are loaded: that is no row's fault."""
        self.tries.run(("model", self.name), self.max_tries, self._load, _fail_to("load a model"))
        return pa.concat_tables(self._write_row(batch.slice(number, 1)) for number in range(len(batch)))

    def _write_row(self, row: pa.Table) -> pa.Table:
        """Write the new columns of a row that is alone; it fails where it has ended its actor too often."""

        def fail(deaths: int) -> pa.Table:
            error = f"it ended its actor {_show_times(deaths)}"
            key, give_up = ("failed row", number), _fail_to(f"read row {number}")
            return self.tries.run(key, self.max_tries, lambda: fail_rows(self.distill_fn, row, error), give_up)

        number = row[ROW][0].as_py()
        return self.tries.run(("row", number), self.max_tries, lambda: self.batches(row), fail)

    def _load(self) -> None:
        for writer in (self.distill_fn, *self.distill_fn.companions.values()):
            writer.generator.load()


def _fail_to(what: str) -> Callable[[int], Any]:
    def fail(deaths: int) -> Any:
        raise GenerationError(
            f"An actor died {_show_times(deaths)} as it began to {what}: it was killed, as where memory runs out, or "
            "it crashed. The logs of Ray say more. Run it again once that is mended: the journal has what was written."
        )

    return fail


def _show_times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _map(
    ray: Any,
    batches: Sequence[pa.Table],
    distill_fn: ColumnWriter[Any, Any],
    num_actors: int,
    num_cpus: float,
    map_kwargs: dict[str, Any],
) -> Iterator[pa.Table]:
    """Return the new columns of each batch, in order."""
    pickled = ray.cloudpickle.dumps(distill_fn)  # which leaves the run settings in the environment
    variables = variables_for_workers()
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    # so many that an actor has enough to write, and so few that the last ones are shared out
    together = max(1, min(BATCHES_TOGETHER, len(batches) // (4 * num_actors)))
    # where actors come by this package with `runtime_env`, so does it
    lasting = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    tally = ray.remote(Tally).options(**lasting, runtime_env=map_kwargs.get("runtime_env")).remote()
    results = None
    try:
        with warning_until_started(ray, tally.wait_for_start.remote(), _name_resources(num_cpus, map_kwargs)):
            with ray.data.DataContext.current(context):
                results = ray.data.from_arrow(batches).map_batches(
                    _Actor,
                    fn_constructor_args=(pickled, variables, max(1, int(num_cpus)), tally),
                    batch_format="pyarrow",
                    compute=ray.data.ActorPoolStrategy(
                        size=min(num_actors, len(batches)),
                        max_concurrent_calls_per_actor=together,
                        max_tasks_in_flight_per_actor=together,
                        enable_true_multi_threading=True,
                    ),
                    **map_kwargs,
                )
            for row in results.iter_rows():
                result = pickle.loads(row["result"])
                if isinstance(result, HfRareError):
                    raise result
                yield result
    finally:
        del results, tally  # a traceback that someone keeps would keep the actors too


def _name_resources(num_cpus: float, map_kwargs: Mapping[str, Any]) -> dict[str, float]:
    """Return what an actor needs, as Ray calls it."""
    cpus = max(1, num_cpus)  # one of which Ray Data takes for a moment, to look at the batches
    needed = {"CPU": cpus, "GPU": map_kwargs["num_gpus"], "memory": map_kwargs.get("memory")}
    needed |= map_kwargs.get("resources") or {}
    if kind := map_kwargs.get("accelerator_type"):
        needed[f"accelerator_type:{kind}"] = 0.001  # which is what Ray asks for
    return {name: amount for name, amount in needed.items() if amount}


def _collect(tables: Iterable[pa.Table], distill_fn: ColumnWriter[Any, Any], total: int) -> datasets.Dataset:
    """Write tables to a temporary file as they come, and open it as a dataset, with the column that numbers rows."""
    features = datasets.Features({ROW: datasets.Value("int64"), **distill_fn.features()})
    descriptor, path = tempfile.mkstemp(".arrow", "ray-", get_temporary_cache_files_directory())
    os.close(descriptor)
    with (
        ArrowWriter(path=path, features=features) as writer,
        tqdm(total=total, desc=distill_fn.doing, unit="row") as bar,
    ):
        for table in tables:
            writer.write_table(table)
            bar.update(rows := len(table[ROW].unique()))
            distill_fn.reporter.add_columns(table, rows)
        writer.finalize()
    return datasets.Dataset.from_file(path)


def _load(source: Any) -> datasets.Dataset:
    if isinstance(source, datasets.Dataset):
        return source
    paths = [source] if isinstance(source, str | Path) else source
    if not isinstance(paths, Sequence) or not paths or not all(isinstance(path, str | Path) for path in paths):
        raise ConfigError(
            f"`source` is a {type(source).__name__}. Pass a Dataset (one split of a DatasetDict), or paths of parquet "
            "files."
        )
    files = [str(Path(path) / "*.parquet") if is_folder(path) else str(path) for path in paths]
    try:
        builder = datasets.load_dataset_builder("parquet", data_files=files)
        builder.download_and_prepare()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as err:
        raise DatasetFileError(f"{source!r} cannot be read: {type(err).__name__}: {err}") from err
    if builder.info.splits["train"].num_examples == 0:  # which `datasets` will not open
        return _make_empty(builder.info.features)
    return builder.as_dataset("train")


def _make_empty(features: datasets.Features) -> datasets.Dataset:
    return datasets.Dataset.from_dict({name: [] for name in features}, features=features)


def _check_output(output: str | Path) -> Path:
    folder = Path(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputExistsError(f"{folder} is not an empty folder. Pass another output=..., or remove it first.")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    return folder


def _write(dataset: datasets.Dataset, folder: Path) -> None:
    """Write a dataset beside its place and then move it there, so that no half of it is ever seen."""
    num_shards = min(len(dataset), dataset.data.nbytes // SHARD_BYTES + 1) or 1
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}.") as temporary:
        (Path(temporary) / "data").mkdir()
        for index in range(num_shards):
            shard = dataset.shard(num_shards, index, contiguous=True)
            write_parquet(shard, Path(temporary) / "data" / f"{index:05}-of-{num_shards:05}.parquet")
        (Path(temporary) / "data").replace(folder)
