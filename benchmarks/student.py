"""Do traces teach? The same small model, trained with LoRA on different traces of the same questions, and asked.

    python -m benchmarks.student --model SMOLLM2 [--folder students] [--rows 160] [--own-rows 80] [--steps 30]

The world is made up (`student_world`): an answer needs the positive and one step of reasoning, and train and test
share no place and no wording. Two teachers write: `ScriptedTeacher`, whose traces are ideal, and the model itself,
whose traces are checked against the gold answers (rejection sampling). From a prompt alone it has next to none right,
whatever the examples in it, so it gets a cold start first: a few steps on a few scripted traces of other rows, which
its students do not get. Each arm trains on the exports of this library for the same number of steps of the same size,
with three seeds:

- `reasoning`: the scripted traces. `answers`: their answers alone.
- `own-right`: the model's own right traces. `own-all`: as many of its traces, right or wrong.
- `own-chosen`: of each row the right trace that suits the model best (`select_traces`). `own-first`: the first one.

Students and the model before training answer the test rows by `evaluate`, with the positive first and last among its
negatives, and with negatives alone. Rates of an arm are those of all its students, with intervals over the rows. Of
the first student of each arm, and before training, the evidence of the documents in ideal traces is measured too.

What stands already in the folder is not done again; the minutes are those of all parts but the evidence. Adapters lie
in `FOLDER/ARM-SEED`; an arm without a row, because no trace was right, has none.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets, load_from_disk

from benchmarks.machine import describe_machine, run_in_process, write_result
from benchmarks.student_world import NEGATIVES, TEMPLATE, ScriptedTeacher, leave_out_positives, make_rows
from hf_rare import (
    Evaluation,
    ReasonDistiller,
    evaluate,
    keep_one_trace,
    measure_evidence,
    select_traces,
    to_sft,
    verify,
)
from hf_rare.evaluation.bootstrap import make_score, mean_of, resample_means

SCRIPTED, OWN = ("reasoning", "answers"), ("own-right", "own-all", "own-chosen", "own-first")
ARMS = (*SCRIPTED, *OWN)
BEFORE = "before"
COMPARED = (("reasoning", "answers"), ("own-right", "own-all"), ("own-chosen", "own-first"))
"""Arms that are compared with each other, beside each with the model before training."""

COLD_SEED = 1999
"""The seed of the rows of the cold start."""

COLD_START = "cold-start"
"""The folder of the adapter that the model has as its own teacher."""


def write_scripted(arguments: argparse.Namespace) -> Dataset:
    """Let the scripted teacher write, also for rows whose positive is missing."""
    rows = make_rows("train", arguments.rows)
    held = round(arguments.rows * arguments.abstain_share)
    without = leave_out_positives(rows.select(range(held)))
    rows = concatenate_datasets([rows.select(range(held, len(rows))).select_columns(without.column_names), without])
    teacher = ReasonDistiller(
        ScriptedTeacher("train", arguments.rows), template=TEMPLATE, gold_column="answer", journal_dir=None
    )
    return teacher.apply(rows)


def write_own(arguments: argparse.Namespace) -> Dataset:
    """Let the model write several traces for each of other rows after a cold start, and check them all."""
    from benchmarks.student_training import train

    folder = arguments.folder / COLD_START
    scripted = ReasonDistiller(
        ScriptedTeacher("train", arguments.cold_rows, COLD_SEED), template=TEMPLATE, journal_dir=None
    )
    rows = to_sft(
        scripted.apply(make_rows("train", arguments.cold_rows, COLD_SEED)), recipe=scripted, reasoning_format="plain"
    )
    alone = argparse.Namespace(**vars(arguments) | {"threads": arguments.threads * arguments.at_once})
    print(COLD_START, train(alone, rows, COLD_SEED, folder, arguments.cold_steps), flush=True)
    teacher = ReasonDistiller.from_pretrained(
        arguments.model,
        adapter=str(folder),
        dtype="float32",
        max_new_tokens=arguments.max_new_tokens,
        generation_kwargs={"do_sample": True, "temperature": 0.7},
        template=TEMPLATE,
        num_samples=arguments.samples,
        seed=1,
        journal_dir=arguments.folder / "journal",
    )
    return verify(teacher.apply(make_rows("train", arguments.own_rows, seed=1)), "answer")


def make_arm(arm: str, traces: Dataset, seed: int, model: str = "", journal: Path | None = None) -> Dataset:
    """Make the training rows of an arm. The same seed draws the same rows for arms of one teacher."""
    if arm == "answers":
        plain = to_sft(traces, template=TEMPLATE, reasoning_format="plain", keep_columns=["answer"])
        return plain.map(keep_answer).remove_columns("answer")
    if arm == "reasoning":
        return to_sft(traces, template=TEMPLATE, reasoning_format="plain")
    asked = {"template": TEMPLATE, "reasoning_format": "plain", "statuses": ("ok",)}
    if arm == "own-chosen":
        chosen = select_traces(traces, model, template=TEMPLATE, dtype="float32", journal_dir=journal)
        return to_sft(chosen, **asked)
    if arm == "own-first":
        return to_sft(keep_one_trace(traces, fallback="none"), **asked)
    right = to_sft(traces, correct_column="reasoning_verdict", **asked)
    every = to_sft(traces, **asked)
    if arm == "own-right":
        return right
    return every.select(random.Random(seed).sample(range(len(every)), len(right)))


def keep_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make a completion of the answer alone."""
    return {"completion": [{"role": "assistant", "content": f"<answer>{row['answer']}</answer>"}]}


TEACHERS = {SCRIPTED: ("scripted", write_scripted), OWN: ("own", write_own)}
"""What writes the traces of which arms, and its name."""


def keep(path: Path, make: Callable[[], Dataset]) -> Dataset:
    """Make a dataset once, and keep it in a folder."""
    if not path.exists():
        make().save_to_disk(path)
    return load_from_disk(path)


def keep_report(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure something once, and keep what came of it in a file."""
    if not path.exists():
        path.write_text(json.dumps(make()))
    kept: dict[str, Any] = json.loads(path.read_text())
    return kept


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--folder", type=Path, default=Path("students"), help="where traces and adapters go")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seeds", type=int, default=3, help="students of each arm")
    parser.add_argument("--rows", type=int, default=160, help="rows of the scripted teacher")
    parser.add_argument("--abstain-share", type=float, default=0.15, help="share of these without the positive")
    parser.add_argument("--own-rows", type=int, default=80, help="rows that the model writes traces for itself")
    parser.add_argument("--cold-rows", type=int, default=24, help="scripted rows of its cold start")
    parser.add_argument("--cold-steps", type=int, default=20, help="steps of its cold start")
    parser.add_argument("--samples", type=int, default=4, help="its traces of each row")
    parser.add_argument("--max-new-tokens", type=int, default=160)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of a student; one core reads about 80 tokens/s")
    parser.add_argument("--at-once", type=int, default=2, help="students that are trained and asked at a time")
    parser.add_argument("--test-rows", type=int, default=40)
    parser.add_argument("--evidence-rows", type=int, default=12)
    parser.add_argument("--student", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    return parser


def write_traces(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let the teachers of the arms write, where that has not been done; say how many traces are right."""
    written = {}
    for arms, (name, write) in TEACHERS.items():
        if not set(arms) & set(arguments.arms):
            continue
        make = partial(write_with, arguments, name, write)
        written[name] = keep_report(arguments.folder / f"traces-{name}.json", make)
    return written


def write_with(arguments: argparse.Namespace, name: str, write: Callable[..., Dataset]) -> dict[str, Any]:
    """Let a teacher write; say how many traces are right, and how long it took."""
    start = time.perf_counter()
    traces = keep(arguments.folder / f"traces-{name}", partial(write, arguments))
    verdicts = [
        one for value in traces["reasoning_verdict"] for one in (value if isinstance(value, list) else [value])
    ]
    return {
        "rows": len(traces),
        "traces": len(verdicts),
        "right": round(verdicts.count("right") / len(verdicts), 3),
        "seconds": round(time.perf_counter() - start, 1),
    }


def train_student(arguments: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    """Train a student, where that has not been done; say how it went."""
    from benchmarks.student_training import train

    folder = arguments.folder / f"{arm}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)

    def make() -> dict[str, Any]:
        name = next(name for arms, (name, _) in TEACHERS.items() if arm in arms)
        traces = load_from_disk(arguments.folder / f"traces-{name}")
        rows = make_arm(arm, traces, seed, arguments.model, arguments.folder / "journal")
        return train(arguments, rows, seed, folder, arguments.steps) if len(rows) else {"rows": 0}

    return keep_report(folder / "training.json", make)


def name_student(arguments: argparse.Namespace, student: str) -> dict[str, Any]:
    """Return the settings of a student, of which `before` has no adapter."""
    settings = {"model_id": arguments.model, "dtype": "float32"}
    return settings if student == BEFORE else {**settings, "adapter": str(arguments.folder / student)}


def ask(arguments: argparse.Namespace, students: Sequence[str]) -> Evaluation:
    """Ask students about the test rows; what a journal has is asked once."""
    return evaluate(
        {student: name_student(arguments, student) for student in students},
        make_rows("test", arguments.test_rows),
        conditions=("with_documents", "negatives"),
        places=(1, NEGATIVES + 1),
        template=TEMPLATE,
        max_new_tokens=arguments.max_new_tokens,
        generation_kwargs={"do_sample": False},
        journal_dir=arguments.folder / "journal",
    )


def read_evidence(arguments: argparse.Namespace, student: str) -> dict[str, float]:
    """Measure what a student takes from the documents of ideal traces of test rows."""
    rows = make_rows("test", arguments.evidence_rows)
    teacher = ReasonDistiller(
        ScriptedTeacher("test", arguments.evidence_rows), template=TEMPLATE, gold_column="answer", journal_dir=None
    )
    model = name_student(arguments, student)
    measured = measure_evidence(
        teacher.apply(rows), model.pop("model_id"), recipe=teacher, journal_dir=arguments.folder / "journal", **model
    )
    of_positive = [evidence[0] for evidence in measured["reasoning_evidence_per_token"]]
    on_positive = measured["reasoning_evidence_on_positive"][:]
    return {
        "nats a token of the positive": round(sum(of_positive) / len(of_positive), 4),
        "rows in which the positive carries most": round(sum(on_positive) / len(on_positive), 3),
    }


def run_student(arguments: argparse.Namespace) -> dict[str, Any]:
    """Be the process of one student: train it and ask it."""
    import torch

    torch.set_num_threads(arguments.threads)
    student, measured = arguments.student, {}
    if student != BEFORE:
        arm, _, seed = student.rpartition("-")
        measured["training"] = train_student(arguments, arm, int(seed))
        if not measured["training"]["rows"]:
            return measured
    start = time.perf_counter()
    ask(arguments, [student])
    measured["seconds of asking"] = round(time.perf_counter() - start, 1)
    if student == BEFORE or student.endswith("-0"):
        measured["evidence"] = read_evidence(arguments, student)
    return measured


def pool(evaluation: Evaluation, arms: Sequence[str]) -> dict[str, Any]:
    """Reckon the accuracy of each arm over its seeds, and how much it is above another, with intervals over rows.

    The answers of all students of an arm to a row are resampled together.
    """
    answers = evaluation.rows.to_pandas()
    answers["condition"] = answers["condition"].map(lambda name: name if name == "negatives" else "with_documents")
    answers["arm"] = answers["student"].map(lambda name: name if name == BEFORE else name.rpartition("-")[0])
    answers["is right"] = answers["reasoning_right"].astype(float)
    pairs = [(arm, BEFORE) for arm in arms] + [pair for pair in COMPARED if set(pair) <= set(arms)]
    pooled: dict[str, Any] = {"accuracy": {}, "differences": {}}
    for condition, of_condition in answers.groupby("condition"):
        grouped = of_condition.groupby(["row", "arm"])["is right"]
        sums, counts = (table.unstack("arm", fill_value=0) for table in (grouped.sum(), grouped.count()))
        places = {arm: place for place, arm in enumerate(sums.columns)}
        means = mean_of(sums.to_numpy(float), counts.to_numpy(float))
        drawn = resample_means(sums.to_numpy(float), counts.to_numpy(float), 10_000, 0)
        pooled["accuracy"][condition] = {
            arm: asdict(make_score(means[place], drawn[:, place], 0.95)) for arm, place in places.items()
        }
        pooled["differences"][condition] = {
            f"{arm} - {other}": asdict(
                make_score(
                    means[places[arm]] - means[places[other]], drawn[:, places[arm]] - drawn[:, places[other]], 0.95
                )
            )
            for arm, other in pairs
            if arm in places and other in places
        }
    return pooled


def main() -> None:
    arguments = make_parser().parse_args()
    if arguments.student:
        made = keep_report(arguments.folder / f"{arguments.student}.json", partial(run_student, arguments))
        Path(arguments.output).write_text(json.dumps(made))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"machine": describe_machine(), "teachers": write_traces(arguments)}
    names = [BEFORE, *(f"{arm}-{seed}" for seed in range(arguments.seeds) for arm in arguments.arms)]
    with ThreadPoolExecutor(arguments.at_once) as processes:
        done = processes.map(lambda name: run_in_process("student", *sys.argv[1:], "--student", name), names)
        result["students"] = {}
        for name, measured in zip(names, done, strict=True):
            result["students"][name] = measured
            print(name, measured, flush=True)
    asked = [name for name, measured in result["students"].items() if "seconds of asking" in measured]
    evaluation = ask(arguments, asked)
    print(evaluation.table())
    result |= {"scores": json.loads(evaluation.to_json()), "arms": pool(evaluation, arguments.arms)}
    of_students = [
        one.get("training", {}).get("seconds", 0) + one.get("seconds of asking", 0)
        for one in result["students"].values()
    ]
    of_teachers = [one["seconds"] for one in result["teachers"].values()]
    result["minutes"] = round((sum(of_teachers) + sum(of_students) / arguments.at_once) / 60, 1)
    write_result("student", result)


if __name__ == "__main__":
    main()
