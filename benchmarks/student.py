"""Students of a made-up world: the same small model, trained with LoRA on different traces of the same questions.

    python -m benchmarks.student --model SMOLLM2 [--folder students] [--rows 160] [--own-rows 80] [--steps 30]

Two teachers write: `ScriptedTeacher`, whose traces are ideal, and the model itself, whose traces are checked against
the gold answers (rejection sampling, with an example in its prompt that its students do not get). Each arm trains on
the exports of this library for the same number of steps of the same size:

- `reasoning`: the scripted traces. `answers`: their answers alone.
- `own-right`: the model's own right traces. `own-all`: as many of its traces, right or wrong.

What stands already in the folder is not done again. Adapters lie in `FOLDER/ARM-SEED`; an arm without a row, because
no trace was right, has none.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets, load_from_disk

from benchmarks.machine import describe_machine
from benchmarks.student_world import TEMPLATE, ScriptedTeacher, leave_out_positives, make_rows
from hf_rare import ReasonDistiller, to_sft, verify

SCRIPTED, OWN = ("reasoning", "answers"), ("own-right", "own-all")
ARMS = (*SCRIPTED, *OWN)

EXAMPLE_SEED = 1999
"""The seed of the example that the model gets when it is its own teacher."""


def make_teacher_template() -> str:
    """Write the template of the model as its own teacher: an example of another place, then the row."""
    rows = make_rows("train", 1, EXAMPLE_SEED)
    teacher = ReasonDistiller(ScriptedTeacher("train", 1, EXAMPLE_SEED), template=TEMPLATE, journal_dir=None)
    example = to_sft(teacher.apply(rows), recipe=teacher, reasoning_format="plain")[0]
    asked, written = (example[name][-1]["content"] for name in ("prompt", "completion"))
    return f"Here is an example.\n\n{asked}\n\n{written}\n\nNow do the same for this question.\n\n{TEMPLATE}"


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
    """Let the model write several traces for each of other rows, and check them all."""
    rows = make_rows("train", arguments.own_rows, seed=1)
    teacher = ReasonDistiller.from_pretrained(
        arguments.model,
        dtype="float32",
        max_new_tokens=arguments.max_new_tokens,
        generation_kwargs={"do_sample": True, "temperature": 0.7},
        template=make_teacher_template(),
        num_samples=arguments.samples,
        seed=1,
    )
    return verify(teacher.apply(rows), "answer")


def make_arm(arm: str, traces: Dataset, seed: int) -> Dataset:
    """Make the training rows of an arm. The same seed draws the same rows for arms of one teacher."""
    if arm == "answers":
        plain = to_sft(traces, template=TEMPLATE, reasoning_format="plain", keep_columns=["answer"])
        return plain.map(keep_answer).remove_columns("answer")
    if arm == "reasoning":
        return to_sft(traces, template=TEMPLATE, reasoning_format="plain")
    asked = {"template": TEMPLATE, "reasoning_format": "plain", "statuses": ("ok",)}
    right = to_sft(traces, correct_column="reasoning_verdict", **asked)
    every = to_sft(traces, **asked)
    if arm == "own-right":
        return right
    return every.select(random.Random(seed).sample(range(len(every)), len(right)))


def keep_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make a completion of the answer alone."""
    return {"completion": [{"role": "assistant", "content": f"<answer>{row['answer']}</answer>"}]}


def train(arguments: argparse.Namespace, rows: Dataset, seed: int, folder: Path) -> dict[str, Any]:
    """Train an adapter for a number of steps; say how fast."""
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(arguments.threads)
    config = SFTConfig(
        output_dir=str(folder),
        max_steps=arguments.steps,
        per_device_train_batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, arguments.steps // 20),
        max_length=1024,
        seed=seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        logging_steps=max(1, arguments.steps // 10),
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(arguments.model, dtype="float32"),
        args=config,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(arguments.model),
        peft_config=LoraConfig(
            r=arguments.rank, lora_alpha=2 * arguments.rank, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
    start = time.perf_counter()
    result = trainer.train()
    seconds = time.perf_counter() - start
    trainer.save_model(str(folder))
    tokens = sum(lengths) / len(lengths) * arguments.steps * arguments.batch_size
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "rows": len(rows),
        "tokens of a row": round(sum(lengths) / len(lengths), 1),
        "seconds": round(seconds, 1),
        "tokens/s": round(tokens / seconds, 1),
        "losses": [round(loss, 3) for loss in losses],
        "loss": round(result.training_loss, 3),
    }


def keep(path: Path, make: Callable[[], Dataset]) -> Dataset:
    """Make a dataset once, and keep it in a folder."""
    if not path.exists():
        make().save_to_disk(path)
    return load_from_disk(path)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--folder", type=Path, default=Path("students"), help="where traces and adapters go")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seeds", type=int, default=3, help="students of each arm")
    parser.add_argument("--rows", type=int, default=160, help="rows of the scripted teacher")
    parser.add_argument("--abstain-share", type=float, default=0.15, help="share of these without the positive")
    parser.add_argument("--own-rows", type=int, default=80, help="rows that the model writes traces for itself")
    parser.add_argument("--samples", type=int, default=4, help="its traces of each row")
    parser.add_argument("--max-new-tokens", type=int, default=160)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of a student; one core reads about 80 tokens/s")
    return parser


def train_students(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the traces and train a student of each arm and seed; give what was measured on the way."""
    folder, trained = arguments.folder, {}
    writers = {SCRIPTED: ("scripted", write_scripted), OWN: ("own", write_own)}
    for arms, (name, write) in writers.items():
        if not set(arms) & set(arguments.arms):
            continue
        start = time.perf_counter()
        traces = keep(folder / f"traces-{name}", partial(write, arguments))
        verdicts = [
            one for value in traces["reasoning_verdict"] for one in (value if isinstance(value, list) else [value])
        ]
        trained[name] = {
            "rows": len(traces),
            "traces": len(verdicts),
            "right": round(verdicts.count("right") / len(verdicts), 3),
            "seconds": round(time.perf_counter() - start, 1),
        }
        for arm in (arm for arm in arms if arm in arguments.arms):
            for seed in range(arguments.seeds):
                report = folder / f"{arm}-{seed}" / "training.json"
                if not report.exists():
                    rows = make_arm(arm, traces, seed)
                    made = train(arguments, rows, seed, report.parent) if len(rows) else {"rows": 0}
                    report.parent.mkdir(parents=True, exist_ok=True)
                    report.write_text(json.dumps(made))
                trained[f"{arm}-{seed}"] = json.loads(report.read_text())
                print(f"{arm}-{seed}", trained[f"{arm}-{seed}"], flush=True)
    return trained


def main() -> None:
    arguments = make_parser().parse_args()
    trained = train_students(arguments)
    text = json.dumps({"machine": describe_machine(), "students": trained}, indent=2)
    (arguments.folder / "training.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
