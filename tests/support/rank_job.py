"""What the tests of several processes run in each of them; as a script, what launchers start."""

import atexit
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # launchers start it as a script

SETTINGS = {"max_new_tokens": 16, "max_batch_tokens": 700}


def make(teacher: str, journal: str | None, **settings):
    """Make a distiller that logs its rank and the size of each micro-batch."""
    from hf_rare import ReasonDistiller
    from tests.support.plain import PlainGenerator

    class Logging(PlainGenerator):
        def write_batch(self, write, prompts, seeds, observer):
            if log := os.environ.get("RANK_JOB_LOG"):
                with Path(log).open("a") as file:
                    file.write(f"{os.environ.get('RANK')} {len(prompts)}\n")
            time.sleep(float(os.environ.get("RANK_JOB_SLEEP", "0")))
            return super().write_batch(write, prompts, seeds, observer)

    generator = Logging.from_pretrained(teacher, **SETTINGS)
    return ReasonDistiller(generator, journal_dir=journal, **settings)


def distill(rows: str, teacher: str, journal: str | None, output: str, **settings) -> None:
    """Distill rows and write them to a file for each rank."""
    import datasets

    datasets.disable_progress_bars()
    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = make(teacher, journal, **settings)
    distilled = ds.map(distill_fn, batched=True, batch_size=40)
    assert distill_fn.completer.generated <= len(ds)
    distilled.to_json(f"{output}-{os.environ.get('RANK', 'alone')}.jsonl")


def start_rank(rank: int, world_size: int, port: int, home: str, report: str, body, args) -> None:
    """Be one process of a job, as a launcher would start it: run `body(*args)` and report how it ends."""
    import datasets
    import torch

    import hf_rare.runs.team

    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK_JOB_LOG": f"{report}-log"}
    datasets.config.HF_DATASETS_CACHE = Path(home) / "datasets"
    hf_rare.runs.team.DEAD_SECONDS, hf_rare.runs.team.PASSED_SECONDS, hf_rare.runs.team.STAYED_SECONDS = 4.0, 3.0, 3.0
    start = time.monotonic()
    try:
        ending = body(rank, *args)
    except BaseException:
        ending = traceback.format_exc()
    Path(f"{report}-{rank}").write_text(json.dumps([ending, time.monotonic() - start]))
    atexit._run_exitfuncs()  # as at the end of a script


def share(rank, rows, teacher, journal, output, settings=()):
    """Share the rows of a dataset."""
    distill(rows, teacher, journal, output, **dict(settings))


def share_with_journals_of_their_own(rank, rows, teacher, journal, output):
    """Be a machine of one's own: the first of it, with a journal of its own."""
    os.environ["LOCAL_RANK"] = "0"
    distill(rows, teacher, f"{journal}-{rank}", output)


def fail_in_rank_1(rank, rows, teacher, journal, output):
    """Let the journal of rank 1 fail in the middle."""
    from hf_rare.errors import JournalError
    from hf_rare.runs.journal import Journal

    append = Journal.append

    def fail(self, entries):
        if rank == 1:
            raise JournalError("the disk of rank 1 is full")
        append(self, entries)

    Journal.append = fail
    os.environ["RANK_JOB_SLEEP"] = "0.1"
    distill(rows, teacher, journal, output)


def see_other_rows(rank, rows, teacher, journal, output):
    """Shuffle without a common seed."""
    import datasets

    ds = datasets.load_dataset("json", data_files=rows, split="train").shuffle(seed=rank)
    ds.map(make(teacher, journal), batched=True, batch_size=40)


def have_it_cached_in_rank_1(rank, rows, teacher, journal, output):
    """Meet the same `map` everywhere, and let rank 1 find its result in the cache."""
    import datasets
    from datasets.fingerprint import Hasher

    distill_fn = make(teacher, journal)
    if rank == 1:
        Hasher.hash(distill_fn)  # all that a cached `map` does
        time.sleep(8)
        return
    datasets.load_dataset("json", data_files=rows, split="train").map(distill_fn, batched=True, batch_size=40)


def come_only_in_rank_0(rank, rows, teacher, journal, output):
    """Distill under `if is_main_process`, and wait elsewhere in the other process."""
    if rank == 1:
        time.sleep(8)
        return
    distill(rows, teacher, journal, output, rank_timeout=2)


def end_rank_1_early(rank, rows, teacher, journal, output):
    """End the script of rank 1 after its first map; rank 0 has a second one."""
    import datasets

    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = make(teacher, journal)
    ds.select(range(8)).map(distill_fn, batched=True)
    if rank == 0:
        ds.map(distill_fn, batched=True)


def kill_rank(rank, rows, teacher, journal, output, victim):
    """Let a process die in its second micro-batch."""
    from hf_rare.runs.journal import Journal

    append, appended = Journal.append, []

    def die(self, entries):
        append(self, entries)
        appended.append(1)
        if rank == victim and len(appended) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.append = die
    os.environ["RANK_JOB_SLEEP"] = "0.05"
    distill(rows, teacher, journal, output)


def stream(rank, rows, teacher, journal, output):
    """Split a stream by process."""
    import datasets
    from datasets.distributed import split_dataset_by_node

    ds = datasets.load_dataset("json", data_files=rows, split="train", streaming=True)
    ds = split_dataset_by_node(ds, rank=rank, world_size=int(os.environ["WORLD_SIZE"]))
    distill_fn = make(teacher, journal, share_rows=False)
    distilled = list(ds.map(distill_fn, batched=True, batch_size=16))
    Path(f"{output}-{rank}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in distilled))


def save_what_a_limit_leaves(rank, rows, teacher, journal, output):
    """Go on after a limit with the rows that are done, one process later than the other."""
    import datasets

    from hf_rare.errors import BudgetReachedError

    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = make(teacher, journal, max_rows=30)
    try:
        ds.map(distill_fn, batched=True, batch_size=40)
    except BudgetReachedError:
        time.sleep(1.5 * rank)
        distill_fn.apply(distill_fn.select_finished(ds)).to_json(f"{output}-{rank}.jsonl")


def be_one_model(rank, rows, teacher, journal, output):
    """Spread every layer over the processes."""
    os.environ["ACCELERATE_USE_CPU"] = "true"
    import datasets

    from hf_rare import ReasonDistiller

    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = ReasonDistiller.from_pretrained(teacher, journal_dir=journal, tp_plan="auto", **SETTINGS)
    ds.map(distill_fn, batched=True, batch_size=40).to_json(f"{output}-{rank}.jsonl")
    weight = distill_fn.generator.teacher.model.model.layers[0].self_attn.q_proj.weight
    assert type(weight).__name__ == "DTensor", type(weight)


def main() -> None:
    """Distill under a real launcher; `--die R` lets rank R die once, in the first attempt."""
    rows, teacher, journal, output, *rest = sys.argv[1:]
    if rest[:1] == ["--die"] and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        kill_rank(int(os.environ["RANK"]), rows, teacher, journal, output, int(rest[1]))
    distill(rows, teacher, journal, output)


if __name__ == "__main__":
    main()
