"""Prompts for trainers that let the student write: the same prompts as for fine-tuning, and what a teacher knows."""

import pytest
from datasets import Dataset

from hf_rare import to_prompts, to_sft
from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from hf_rare.prompts.prompt import build_prompt
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig
from tests.support.distilled import distilled_rows, recipe
from tests.support.tiny import make_model, make_tokenizer
from tests.training.test_student_documents import documents_of, make_row


@pytest.fixture
def distilled(demo_rows) -> Dataset:
    return distilled_rows(demo_rows)


def test_prompts_are_those_of_fine_tuning(distilled, caplog):
    ok = distilled.filter(lambda row: row["reasoning_status"] == "ok")
    asked = {"recipe": recipe(), "positive_share": 0.5, "student_documents": 2}
    prompts = to_prompts(ok, keep_columns=["id"], **asked)
    assert prompts.column_names == ["prompt", "id"]
    assert prompts["prompt"][:] == to_sft(ok, **asked)["prompt"][:]
    assert prompts["id"][:] == ok["id"][:]
    caplog.clear()
    assert len(to_prompts(distilled)) == len(distilled) - 1  # one has no prompt; what became of traces does not count
    assert "1 of 14 rows are left out" in caplog.text


def test_rows_that_were_not_distilled_have_prompts_too(demo_rows, distilled):
    prompts = to_prompts(demo_rows)
    config = DistillConfig()
    assert prompts["prompt"][:] == [build_prompt(read_row(row, config), config).messages for row in demo_rows]
    assert prompts.select([0, 1]).to_list() == to_prompts(distilled.select([0, 1])).to_list()


def test_the_teacher_of_self_distillation_knows_the_positive():
    rows = Dataset.from_list([make_row(i, place=i + 1) for i in range(5)])
    prompts = to_prompts(rows, form="self-distillation", positive_share=0.5)
    assert prompts.column_names == ["prompt", "privileged_context"]
    shown = [documents_of(prompt) for prompt in prompts]
    assert {row["text"] in documents.values() for row, documents in zip(rows, shown, strict=True)} == {True, False}
    for number, (row, prompt) in enumerate(zip(rows, prompts, strict=True), start=1):
        expected = f"The document that settles the question is [{number}]:\n\n{row['text']}"
        assert prompt["privileged_context"] == expected
        assert shown[number - 1].get(number, row["text"]) == row["text"]


def test_or_a_trace_or_a_column():
    rows = [make_row(0, gold="7"), make_row(1, gold=""), make_row(2, gold="9", reasoning_status="truncated")]
    rows = Dataset.from_list(rows)
    traces = to_prompts(rows, form="self-distillation", privileged="trace")
    assert traces["privileged_context"][:] == ["Document [1] settles it.\n\nSo."] * 2
    golds = to_prompts(rows, form="self-distillation", privileged="gold")
    assert golds["privileged_context"][:] == ["7", "9"]
    many = [{"reasoning": ["One.", "Two."], "reasoning_answer": ["A", "B"], "reasoning_status": ["ok", "ok"]}]
    many = Dataset.from_list([make_row(0, **made, right=[False, True]) for made in many])
    first = to_prompts(many, form="self-distillation", privileged="trace")
    assert first["privileged_context"][:] == ["One.\n\nA"]
    right = to_prompts(many, form="self-distillation", privileged="trace", correct_column="right")
    assert right["privileged_context"][:] == ["Two.\n\nB"]


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"form": "sft"}, ConfigError, "'distillation' or 'self-distillation'"),
        ({"privileged": "gold", "form": "self-distillation"}, ColumnError, "no column 'gold'"),
        ({"privileged": "hard_negatives", "form": "self-distillation"}, ColumnError, "expected texts"),
        ({"privileged": "", "form": "self-distillation"}, ConfigError, "privileged"),
        ({"positive_share": 2}, ConfigError, "positive_share=2"),
        ({"keep_columns": ["images"]}, ConfigError, "rename_column"),
        ({"question_column": "q"}, ColumnError, "no column 'q'"),
    ],
)
def test_wrong_settings_are_errors(asked, error, message):
    with pytest.raises(error, match=message):
        to_prompts(Dataset.from_list([make_row(0, images="a")]), **asked)
    with pytest.raises(BatchTypeError):
        to_prompts([make_row(0)])


def make_arguments(folder) -> dict:
    return {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "save_strategy": "no",
    }


@pytest.fixture
def student():
    tokenizer = make_tokenizer()
    tokenizer.padding_side = "left"
    sizes = (len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    return tokenizer, [make_model(*sizes, max_position_embeddings=4096) for _ in range(2)]


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of TRL about its own settings
def test_trl_distils_on_policy(distilled, student, tmp_path):
    trl = pytest.importorskip("trl")
    tokenizer, (model, teacher) = student
    teacher.lm_head.weight.data.mul_(2)  # the student has nothing to learn from its equal
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    trainer = trl.DistillationTrainer(
        model=model,
        teacher_model=teacher,
        args=trl.DistillationConfig(**make_arguments(tmp_path)),
        train_dataset=to_prompts(distilled.select(range(4)), student_documents=1, keep_columns=["id"]),
        processing_class=tokenizer,
    )
    assert trainer.train().global_step == 2
    assert any(not weight.equal(before[name]) for name, weight in model.named_parameters())


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_trl_distils_a_student_from_itself(distilled, student, tmp_path):
    pytest.importorskip("trl")
    from trl.experimental.sdft import SDFTConfig, SDFTTrainer

    tokenizer, (model, _) = student
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    prompts = to_prompts(distilled.select(range(4)), form="self-distillation", student_documents=1)
    trainer = SDFTTrainer(
        model=model,
        args=SDFTConfig(
            **make_arguments(tmp_path), max_prompt_length=4096, num_generations=2, teacher_model_kind="live"
        ),
        train_dataset=prompts,
        processing_class=tokenizer,
    )
    assert trainer.train().global_step == 2
    assert any(not weight.equal(before[name]) for name, weight in model.named_parameters())
