"""The student's benchmark trains adapters on what its arms are about, and does nothing twice."""

import pytest
from datasets import Dataset

from benchmarks.student import (
    ask,
    make_arm,
    make_parser,
    pool,
    read_evidence,
    train_student,
    write_scripted,
    write_traces,
)
from benchmarks.student_world import ABSTENTION
from hf_rare.checks.answers import check_answer


def make_arguments(tiny: str, *arguments: str):
    sizes = ["--rows", "8", "--steps", "1", "--batch-size", "2", "--threads", "1", "--seeds", "1"]
    return make_parser().parse_args(["--model", tiny, *sizes, *arguments])


def test_arms_of_one_teacher_have_the_same_prompts(tiny):
    traces = write_scripted(make_arguments(tiny, "--abstain-share", "0.25"))
    assert traces["answer"][:].count(ABSTENTION) == 2
    reasoning, answers = (make_arm(arm, traces, 0) for arm in ("reasoning", "answers"))
    assert reasoning["prompt"][:] == answers["prompt"][:]
    for long, short, answer in zip(reasoning["completion"], answers["completion"], traces["answer"], strict=True):
        assert short[0]["content"] == f"<answer>{answer}</answer>"
        assert long[0]["content"].endswith(short[0]["content"])
        assert len(long[0]["content"]) > 2 * len(short[0]["content"])


def test_own_traces_are_right_or_as_many_of_all(tiny):
    scripted = write_scripted(make_arguments(tiny, "--abstain-share", "0"))
    rows = [
        row
        | {
            "reasoning": ["One.", "Two.", "Three."],
            "reasoning_answer": [row["answer"], "-1", "-2"],
            "reasoning_status": ["ok"] * 3,
            "reasoning_verdict": [
                check_answer(row["answer"], answer).outcome for answer in (row["answer"], "-1", "-2")
            ],
        }
        for row in scripted.remove_columns("reasoning_attempts").to_list()
    ]
    own = Dataset.from_list(rows)
    right, every = make_arm("own-right", own, 0), make_arm("own-all", own, 0)
    assert {completion[0]["content"].split()[0] for completion in right["completion"]} == {"One."}
    assert {completion[0]["content"].split()[0] for completion in every["completion"]} == {"One.", "Two.", "Three."}
    assert len(right) == len(every) == 8
    assert every.to_list() != make_arm("own-all", own, 1).to_list()


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")  # of TRL
def test_students_are_trained_once_and_can_be_asked(tiny, tmp_path):
    arguments = make_arguments(
        tiny,
        *("--folder", str(tmp_path), "--own-rows", "2", "--samples", "2", "--max-new-tokens", "4"),
        *("--cold-rows", "2", "--cold-steps", "1"),
        *("--test-rows", "3", "--evidence-rows", "2"),
    )
    teachers = write_traces(arguments)
    assert teachers["scripted"]["right"] == 1
    assert teachers["own"]["traces"] == 4
    assert (tmp_path / "cold-start" / "adapter_model.safetensors").exists()
    trained = train_student(arguments, "reasoning", 0)
    assert trained["tokens/s"] > 0
    for arm in ("own-right", "own-chosen", "own-first"):
        assert train_student(arguments, arm, 0) == {"rows": 0}
    before = (tmp_path / "reasoning-0" / "adapter_model.safetensors").stat().st_mtime_ns
    assert train_student(arguments, "reasoning", 0) == trained
    assert (tmp_path / "reasoning-0" / "adapter_model.safetensors").stat().st_mtime_ns == before
    evaluation = ask(arguments, ["before", "reasoning-0"])
    assert set(evaluation.rows["condition"]) == {"positive_at_1", "positive_at_4", "negatives"}
    pooled = pool(evaluation, ["reasoning", "answers"])
    for condition in ("with_documents", "negatives"):
        accuracy = pooled["accuracy"][condition]
        assert accuracy["before"]["value"] == evaluation.scores["before"][condition]["accuracy"].value
        difference = pooled["differences"][condition]["reasoning - before"]["value"]
        assert difference == pytest.approx(accuracy["reasoning"]["value"] - accuracy["before"]["value"])
    assert set(read_evidence(arguments, "reasoning-0")) == {
        "nats a token of the positive",
        "rows in which the positive carries most",
    }


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")  # of TRL
def test_the_loss_of_completions_is_that_of_trl(tiny, tmp_path):
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from benchmarks.student_training import CompletionTrainer

    rows = make_arm("reasoning", write_scripted(make_arguments(tiny)), 0)
    settings = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "bf16": False}
    settings |= {"max_steps": 3, "logging_steps": 1, "per_device_train_batch_size": 2, "learning_rate": 1e-2}
    losses = []
    for kind in (SFTTrainer, CompletionTrainer):
        trainer = kind(
            AutoModelForCausalLM.from_pretrained(tiny),
            args=SFTConfig(str(tmp_path), gradient_checkpointing=False, seed=0, **settings),
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(tiny),
            peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        trainer.train()
        losses.append([float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry])
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
