"""What the tests of several processes run in each of them; as a script, what launchers start."""

import atexit
import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

sys.path.append(str(Path(__file__).parents[2]))  # launchers start it as a script

SETTINGS = {"max_new_tokens": 16, "max_batch_tokens": 700}


def make(teacher: str, journal: str | None, **settings):
    """Make a distiller that logs its rank and the size of each micro-batch.

    With RANK_JOB_HOLD=2 in the environment its third micro-batch takes as long as the job lives. With RANK_JOB_MEET=1
    its first one takes until every rank has one, with RANK_JOB_WAIT_FOR until a file exists.
    """
    from hf_rare import ReasonDistiller
    from tests.support.plain import PlainGenerator
    from tests.support.waiting import hold

    class Logging(PlainGenerator):
        written = 0

        def write_batch(self, write, jobs, observer):
            if os.environ.get("RANK_JOB_HOLD") == str(self.written):
                hold(observer)
            if log := os.environ.get("RANK_JOB_LOG"):
                with Path(log).open("a") as file:
                    file.write(f"{os.environ.get('RANK')} {len(jobs)}\n")
            if "RANK_JOB_MEET" in os.environ:
                hold(observer, lambda: len(ranks_in(log)) == int(os.environ["WORLD_SIZE"]))
            if path := os.environ.get("RANK_JOB_WAIT_FOR"):
                hold(observer, Path(path).exists)
            self.written += 1
            return write(jobs, observer)

    generator = Logging.from_pretrained(teacher, **SETTINGS)
    return ReasonDistiller(generator, journal_dir=journal, **settings)


def ranks_in(log: str) -> set[str]:
    """Return the ranks that have begun to generate."""
    return {line.split()[0] for line in Path(log).read_text().splitlines()}


def distill(
    rows: str, teacher: str, journal: str | None, output: str, in_one_stream: bool = False, **settings
) -> None:
    """Distill rows and write them to a file for each rank."""
    import datasets

    datasets.disable_progress_bars()
    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = make(teacher, journal, **settings)
    if in_one_stream:
        distilled = distill_fn.apply(ds, batch_size=40)
    else:
        distilled = ds.map(distill_fn, batched=True, batch_size=40)
    assert distill_fn.completer.generated <= len(ds)
    distilled.to_json(f"{output}-{os.environ.get('RANK', 'alone')}.jsonl")


def start_rank(rank: int, world_size: int, port: int, home: str, report: str, body, args) -> None:
    """Be one process of a job, as a launcher would start it: run `body(*args)` and report how it ends."""
    import datasets
    import torch

    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK_JOB_LOG": f"{report}-log"}
    datasets.config.HF_DATASETS_CACHE = Path(home) / "datasets"
    with contextlib.ExitStack() as script:
        atexit.register = script.callback  # which these processes, unlike scripts, would end without
        try:
            ending = body(rank, *args)
        except BaseException:
            ending = traceback.format_exc()
        path = Path(f"{report}-{rank}")
        path.with_suffix(".new").write_text(json.dumps(ending))
        path.with_suffix(".new").rename(path)


def wait_for_end_of(rank: int) -> None:
    """Wait until the process of another rank has reported how it ended."""
    from tests.support.waiting import wait_until

    wait_until(Path(os.environ["RANK_JOB_LOG"]).with_name(f"report-{rank}").exists)


def share(rank, rows, teacher, journal, output, settings=()):
    """Share the rows of a dataset."""
    distill(rows, teacher, journal, output, **dict(settings))


def share_and_tell(rank, rows, teacher, journal, output, in_one_stream):
    """Share the rows of a dataset, and give what a callback was told last, and of the end."""
    import datasets

    from hf_rare import Callback

    class Noting(Callback):
        interval = 0.0

        def on_run_begin(self, begin):
            told["begin"] = [begin.rank, begin.world_size, begin.rows]

        def on_progress(self, progress):
            assert progress.rows_ended <= progress.rows_ended_by_all
            told["progress"] = progress.numbers()

        def on_run_end(self, end):
            told["end"] = {"how": end.how, **end.summary.numbers()}

    told: dict = {}
    os.environ["RANK_JOB_MEET"] = "1"
    datasets.disable_progress_bars()
    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = make(teacher, journal, callbacks=[Noting()])
    with distill_fn.running(len(ds)):
        distill_fn.apply(ds) if in_one_stream else ds.map(distill_fn, batched=True, batch_size=40)
    return told


def share_equally(rank, rows, teacher, journal, output):
    """Share the rows of a dataset, so that every rank gets some, however busy the machine is."""
    os.environ["RANK_JOB_MEET"] = "1"
    distill(rows, teacher, journal, output)


def share_and_be_suspended(rank, rows, teacher, journal, output):
    """Share the rows of a dataset; whenever this process is continued, 100 seconds have passed on its clock."""
    import hf_rare.runs.team

    resumptions = []

    def resume(number, frame):
        resumptions.append(number)
        Path(f"{output}-resumed-{rank}-{len(resumptions)}").touch()

    signal.signal(signal.SIGCONT, resume)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 100 * len(resumptions), sleep=time.sleep)
    hf_rare.runs.team.time = clock
    os.environ["RANK_JOB_WAIT_FOR"] = f"{output}-resumed-{rank}-2"
    distill(rows, teacher, journal, output)


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
    if rank == 0:
        os.environ["RANK_JOB_HOLD"] = "1"  # else it might write all that there is
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

    import hf_rare.runs.team

    hf_rare.runs.team.PASSED_SECONDS = hf_rare.runs.team.STAYED_SECONDS = 0.5
    distill_fn = make(teacher, journal)
    if rank == 1:
        Hasher.hash(distill_fn)  # all that a cached `map` does
        wait_for_end_of(0)
        return
    datasets.load_dataset("json", data_files=rows, split="train").map(distill_fn, batched=True, batch_size=40)


def come_only_in_rank_0(rank, rows, teacher, journal, output):
    """Distill under `if is_main_process`, and wait elsewhere in the other process."""
    if rank == 1:
        wait_for_end_of(0)
        return
    distill(rows, teacher, journal, output, rank_timeout=1)


def end_rank_1_early(rank, rows, teacher, journal, output):
    """End the script of rank 1 after its first map; rank 0 has a second one."""
    import datasets

    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = make(teacher, journal)
    ds.select(range(8)).map(distill_fn, batched=True)
    if rank == 0:
        ds.map(distill_fn, batched=True)


def kill_rank(rank, rows, teacher, journal, output, victim, patience=1.0):
    """Let a process die in its second micro-batch; only then do others lose patience."""
    import hf_rare.runs.team
    from hf_rare.runs.journal import Journal
    from tests.support.waiting import wait_until

    append, appended = Journal.append, []

    def die(self, entries):
        append(self, entries)
        appended.append(1)
        if rank == victim and len(appended) == 2:
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def lose_patience():
        wait_until(died.exists)
        hf_rare.runs.team.DEAD_SECONDS = patience

    died = Path(f"{output}-died")
    Journal.append = die
    if rank != victim:
        os.environ["RANK_JOB_HOLD"] = "1"
        threading.Thread(target=lose_patience, daemon=True).start()
    distill(rows, teacher, journal, output)


def share_until_one_is_killed(rank, rows, teacher, journal, output, victim):
    """Share the rows of a dataset; the others lose patience once a file says that a process was killed."""
    import hf_rare.runs.team
    from tests.support.waiting import wait_until

    def lose_patience():
        wait_until(Path(f"{output}-killed").exists)
        hf_rare.runs.team.DEAD_SECONDS = 1.0

    os.environ["RANK_JOB_HOLD"] = "3" if rank == victim else "1"  # else they might write all that there is
    if rank != victim:
        threading.Thread(target=lose_patience, daemon=True).start()
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
    from tests.support.waiting import wait_until

    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = make(teacher, journal, max_rows=30)
    try:
        ds.map(distill_fn, batched=True, batch_size=40)
    except BudgetReachedError:
        if rank == 1:
            wait_until(Path(f"{output}-selected").exists)
        finished = distill_fn.select_finished(ds)
        Path(f"{output}-selected").touch()
        distill_fn.apply(finished).to_json(f"{output}-{rank}.jsonl")


def keep_a_journal_alone(rank, rows, teacher, journal, output):
    """Run ahead, with a journal in one process only."""
    distill(rows, teacher, journal if rank == 0 else None, output, in_one_stream=True)


def judge_and_stop(rank, rows, teacher, journal, output):
    """Run ahead with a judge whose limit one process reaches before the other."""
    import datasets
    import torch.distributed  # noqa: F401 - a generator with a model has it

    from hf_rare import AnswerJudge, ReasonDistiller
    from hf_rare.errors import BudgetReachedError
    from tests.support.scripted import ScriptedGenerator

    ds = datasets.load_dataset("json", data_files=rows, split="train")
    ds = ds.add_column("gold", ["1"] * len(ds))

    def reason(text, seed):
        time.sleep(0.05 * rank)
        return "<think>So.</think><answer>1</answer>"

    judges = ScriptedGenerator(lambda text, seed: '{"verdict": "right"}', "judge", is_sampling=False)
    judge = AnswerJudge(judges, journal_dir=journal, max_rows=40)
    distill_fn = ReasonDistiller(ScriptedGenerator(reason), judge=judge, gold_column="gold", journal_dir=journal)
    try:
        distill_fn.apply(ds)
    except BudgetReachedError as err:
        return str(err)
    return "it went on"


def be_one_model(rank, rows, teacher, journal, output):
    """Spread every layer over the processes."""
    os.environ["ACCELERATE_USE_CPU"] = "true"
    import datasets

    from hf_rare import ReasonDistiller
    from hf_rare.generation.teacher import get_teacher
    from hf_rare.settings.generation import ModelConfig

    ds = datasets.load_dataset("json", data_files=rows, split="train")
    distill_fn = ReasonDistiller.from_pretrained(teacher, journal_dir=journal, tp_plan="auto", **SETTINGS)
    ds.map(distill_fn, batched=True, batch_size=40).to_json(f"{output}-{rank}.jsonl")
    model = get_teacher(ModelConfig(**distill_fn.generator.settings()["model"])).model
    weight = model.model.layers[0].self_attn.q_proj.weight
    assert type(weight).__name__ == "DTensor", type(weight)


def main() -> None:
    """Distill under a real launcher; `--die R` lets rank R die once, in the first attempt."""
    rows, teacher, journal, output, *rest = sys.argv[1:]
    if rest[:1] == ["--die"] and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        kill_rank(int(os.environ["RANK"]), rows, teacher, journal, output, int(rest[1]), patience=60.0)
    distill(rows, teacher, journal, output, in_one_stream=True)


if __name__ == "__main__":
    main()
