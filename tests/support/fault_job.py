"""What the fault tests run in processes of their own: distill rows, and log each micro-batch before it is written."""

import math
import os
import resource
import signal
from pathlib import Path


def distill(
    rows: str, teacher: str, journal: str, log: str, output: str, hold_after: int = -1, batch_size: int = 64
) -> None:
    """Distill the rows of a JSONL file with a teacher, in micro-batches of about four rows; perhaps only so many."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup turns off for all that it starts
    import datasets
    import torch

    from hf_rare import ReasonDistiller
    from tests.support.plain import PlainGenerator
    from tests.support.waiting import hold

    torch.set_num_threads(1)

    class Logging(PlainGenerator):
        begun = 0

        def write_batch(self, write, jobs, observer):
            if self.begun == hold_after:
                hold(observer)
            self.begun += 1
            with Path(log).open("a") as file:
                file.write(f"{len(jobs)}\n")
            return write(jobs, observer)

    datasets.disable_progress_bars()
    generator = Logging.from_pretrained(teacher, max_new_tokens=40, max_batch_tokens=800)
    distill_fn = ReasonDistiller(generator, journal_dir=journal, template="plain")
    ds = datasets.Dataset.from_json(rows)
    distill_fn.apply(ds, batch_size=batch_size, load_from_cache_file=False).to_json(output)


def distil_and_say(
    rows: str, teacher: str, journal: str, output: str, errors: str, pause_after: float = math.inf
) -> None:
    """Distill the rows of a JSONL file as a script does; what it writes to stderr goes to a file.

    After so many rows it stays at the next token, until a signal comes.
    """
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import datasets

    from hf_rare import ReasonDistiller
    from hf_rare.runs import completer, progress

    class Pausing(progress.RowProgress):
        written = 0

        def add_tokens(self, *numbers):
            super().add_tokens(*numbers)
            if self.written >= pause_after:
                signal.pause()

        def finish(self, rows, done):
            super().finish(rows, done)
            self.written += len(rows)

    completer.RowProgress = Pausing
    datasets.disable_progress_bars()
    ds = datasets.Dataset.from_json(rows)
    distill_fn = ReasonDistiller.from_pretrained(
        teacher, max_new_tokens=24, max_batch_tokens=2000, journal_dir=journal
    )
    ds.map(distill_fn, batched=True, batch_size=50, load_from_cache_file=False).to_json(output)
    os.write(2, f"generated {distill_fn.completer.generated}\n".encode())


def distil_with_little_disk(*arguments: str) -> None:
    """Let every file grow to 20 KB at most, as if the disk were full then."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    distill(*arguments)


def distil_with_little_memory(teacher: str, output: str) -> None:
    """Distill 8 rows at once with 200 MB of memory beyond what the loaded model has."""
    import json

    from hf_rare import ReasonDistiller
    from tests.support.plain import PlainGenerator

    # `generate` pads all rows to the longest; the static engine would need little more than the model alone
    generator = PlainGenerator.from_pretrained(
        teacher, max_new_tokens=4, max_batch_tokens=10**6, attn_implementation="eager"
    )
    distill_fn = ReasonDistiller(generator, journal_dir=None)
    rows = [(f"What of {i}?", "", f"Rule {i} says that it is so. " * 40, [f"Not {i}. " * 60]) for i in range(8)]
    names = ("question", "scenario", "text", "hard_negatives")
    batch = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    distill_fn({name: values[:2] for name, values in batch.items()})
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, resource.RLIM_INFINITY))
    limited = distill_fn(batch)
    together = distill_fn.generator.packer.count([1000])
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    whole = ReasonDistiller.from_pretrained(
        teacher, max_new_tokens=4, max_batch_tokens=8000, attn_implementation="eager", journal_dir=None
    )(batch)
    result = {
        "equal": limited == whole,
        "statuses": sorted(set(limited["reasoning_status"])),
        "together": together,
    }
    Path(output).write_text(json.dumps(result))


def distil_by_batches(base_url: str, journal: str, count: int) -> None:
    """Distill rows by the batch API of a server."""
    import datasets

    from hf_rare import ReasonDistiller
    from tests.support.rule_rows import make_plain_rows

    datasets.disable_progress_bars()
    distill_fn = ReasonDistiller.from_endpoint(
        "m", base_url=base_url, mode="batch", requests_per_batch=4, poll_seconds=0.01, journal_dir=journal
    )
    distill_fn.apply(make_plain_rows(count))


def distill_from_endpoint(rows: str, model_id: str, base_url: str, journal: str, output: str) -> None:
    """Distill the rows of a JSONL file with a model behind an address, two requests at a time."""
    import datasets

    from hf_rare import ReasonDistiller

    datasets.disable_progress_bars()
    distill_fn = ReasonDistiller.from_endpoint(
        model_id, base_url=base_url, max_concurrency=2, max_new_tokens=4, journal_dir=journal, template="plain"
    )
    distill_fn.apply(datasets.Dataset.from_json(rows)).to_json(output)
