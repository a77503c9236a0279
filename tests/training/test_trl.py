"""Exports hold what the trainers read, in the teacher's order, and fit the student's chat template."""

from functools import partial

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from hf_rare.prompts.prompt import build_prompt
from hf_rare.rows.row import read_row
from hf_rare.settings.writers import DistillConfig
from hf_rare.training.on_policy import to_prompts
from hf_rare.training.student import Student
from hf_rare.training.trl import to_preference, to_sft
from tests.support.distilled import distilled_rows, recipe
from tests.support.tiny import CHAT_TEMPLATE, THINKING_CHAT_TEMPLATE, make_model, make_tokenizer

DROPPING_TEMPLATE = CHAT_TEMPLATE.replace("message['content']", "message['content'].split('</think>')[-1]")
STRIPPING_TEMPLATE = CHAT_TEMPLATE.replace("message['content']", "message['content'] | trim")
FIELD_TEMPLATE = CHAT_TEMPLATE.replace(
    "{{ message['content'] }}",
    "{% if message['reasoning_content'] %}<think>\n{{ message['reasoning_content'] }}\n</think>\n\n{% endif %}"
    "{{ message['content'] }}",
)
OWN_THOUGHT_TEMPLATE = FIELD_TEMPLATE.replace(
    "{% if message['reasoning_content'] %}<think>", "{% if message['role'] == 'assistant' %}<think>"
).replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")


@pytest.fixture
def distilled(demo_rows) -> Dataset:
    return distilled_rows(demo_rows)


@pytest.fixture
def sampled(distilled) -> Dataset:
    """Four samples a row: right, wrong, right but cut off, not graded."""
    rows = [
        row
        | {
            "reasoning": [f"{row['reasoning']} ({i})" for i in range(4)],
            "reasoning_answer": ["A", "B", "A", "C"],
            "reasoning_status": ["ok", "ok", "truncated", "ok"],
            "reasoning_verdict": ["right", "wrong", "right", "unchecked"],
        }
        for row in distilled.select(range(2))
    ]
    return Dataset.from_list(rows)


def test_the_prompt_is_what_the_teacher_saw(distilled):
    exported = to_sft(distilled, keep_columns=["id"])
    assert exported.column_names == ["prompt", "completion", "id"]
    by_id = {row["id"]: row for row in distilled}
    assert exported["id"][:] == [row["id"] for row in distilled if row["reasoning_status"] == "ok"]
    for row in exported:
        source = by_id[row["id"]]
        assert row["prompt"] == build_prompt(read_row(source, DistillConfig()), DistillConfig()).messages
        reasoning, answer = source["reasoning"], source["reasoning_answer"]
        assert row["completion"] == [
            {"role": "assistant", "content": f"<think>\n{reasoning}\n</think>\n\n{answer}"},
        ]


def test_the_order_is_the_rows_own(distilled):
    row = next(row for row in distilled if row["reasoning_status"] == "ok")
    (exported,) = to_sft(Dataset.from_list([row | {"reasoning_document_order": [3, 2, 1, 0]}]))
    texts = [*reversed(row["hard_negatives"]), row["text"]]
    content = exported["prompt"][0]["content"]
    assert all(f"[{number}] {text}" in content for number, text in enumerate(texts, start=1))


def test_statuses_decide_which_rows_are_used(distilled):
    assert len(to_sft(distilled)) == 11
    assert len(to_sft(distilled, statuses=["ok", "truncated"])) == 13
    assert len(to_sft(distilled, statuses=None)) == 13  # a row without a prompt or a trace teaches nothing
    assert len(to_sft(distilled, statuses=[])) == 0
    assert to_sft(distilled.select([])).features == to_sft(distilled).features


@pytest.mark.parametrize(
    ("reasoning_format", "message"),
    [
        ("plain", {"content": "R\n\nA"}),
        ("tags", {"content": "<think>\nR\n</think>\n\nA"}),
        ("field", {"content": "A", "reasoning_content": "R"}),
    ],
)
def test_where_the_reasoning_stands(distilled, reasoning_format, message):
    row = distilled[0] | {"reasoning": "R", "reasoning_answer": "A"}
    (exported,) = to_sft(Dataset.from_list([row]), reasoning_format=reasoning_format)
    assert exported["completion"] == [{"role": "assistant", **message}]


BARE = {
    "plain": {"content": "R"},
    "tags": {"content": "R"},
    "field": {"content": "R", "reasoning_content": ""},
}


@pytest.mark.parametrize("reasoning_format", BARE)
def test_a_trace_without_an_answer_is_no_thought_with_nothing_behind_it(distilled, caplog, reasoning_format):
    rows = [distilled[0] | {"reasoning": "R", "reasoning_answer": answer} for answer in ("A", "", None, "B")]
    exported = to_sft(Dataset.from_list(rows), reasoning_format=reasoning_format)
    assert exported.column_names == ["prompt", "completion"]
    contents = [row["completion"][0] for row in exported]
    assert contents[1] == contents[2] == {"role": "assistant", **BARE[reasoning_format]}
    if reasoning_format == "tags":
        assert contents[0]["content"] == "<think>\nR\n</think>\n\nA"
    assert contents[3]["content"].endswith("B")
    words = "2 of 4 examples (50.0%) have no answer apart from the reasoning"
    assert caplog.text.count(words) == (reasoning_format != "plain")


def test_pairs_and_labels_of_traces_without_an_answer(sampled, caplog):
    rows = sampled.map(lambda _: {"reasoning_answer": ["", "B", "", ""]})
    (pair, _) = to_preference(rows)
    assert pair["chosen"][0]["content"] == sampled[0]["reasoning"][0]
    assert pair["rejected"][0]["content"].startswith("<think>\n")
    assert "2 of 2 examples (100.0%)" in caplog.text
    labelled = to_preference(rows, form="kto")
    assert [row["completion"][0]["content"].startswith("<think>") for row in labelled] == [False, True] * 2
    assert "2 of 4 examples (50.0%)" in caplog.text


def test_a_student_that_always_thinks_learns_from_no_bare_trace(distilled, caplog):
    tokenizer = make_tokenizer(THINKING_CHAT_TEMPLATE)
    rows = distilled.select([0, 1])
    mixed = rows.map(lambda row, number: {"reasoning_answer": ["", "A"][number]}, with_indices=True)
    exported = to_sft(mixed, student_tokenizer=tokenizer, keep_columns=["id"])
    assert exported["id"][:] == [rows[1]["id"]]
    assert "1 of 2 rows are left out: the chat template spoils them (it opens the assistant's turn" in caplog.text
    with pytest.raises(ConfigError, match="The student's chat template does not fit: it opens the assistant's turn"):
        to_sft(rows.map(lambda _: {"reasoning_answer": ""}), student_tokenizer=tokenizer)
    off = {"enable_thinking": False}
    bare = rows.map(lambda _: {"reasoning_answer": ""})
    assert len(to_sft(bare, student_tokenizer=tokenizer, chat_template_kwargs=off)) == 2
    assert len(to_sft(bare, student_tokenizer=make_tokenizer())) == 2


def test_settings_come_from_a_recipe_and_from_the_caller(distilled, tiny):
    row = distilled.select([0])
    system, user = to_sft(row, recipe=recipe())[0]["prompt"]
    assert system == {"role": "system", "content": "Answer in English."}
    changed = to_sft(row, recipe=recipe(), template="plain", system_prompt=None)[0]["prompt"]
    assert [message["role"] for message in changed] == ["user"]
    assert changed[0]["content"] != user["content"]
    from hf_rare import ReasonDistiller

    distiller = ReasonDistiller.from_pretrained(tiny, template="plain")
    assert to_sft(row, recipe=distiller)[0]["prompt"] == changed


def test_a_template_file_that_has_changed_gives_other_prompts(distilled, tmp_path):
    distilled.save_to_disk(tmp_path / "rows")
    rows, path = load_from_disk(tmp_path / "rows"), tmp_path / "own.jinja"  # of which `map` keeps what it has made
    for word in ("first", "second"):
        path.write_text(word + " {{ question }}")
        for export in (to_sft, partial(to_preference, form="kto"), to_prompts):
            assert export(rows, template=path)[0]["prompt"][-1]["content"].startswith(word)


def test_the_answer_has_the_tags_that_the_template_asks_for(distilled):
    row = Dataset.from_list([distilled[0] | {"options": ["One", "Two"], "reasoning": "R", "reasoning_answer": "A"}])
    (exported,) = to_sft(row, template="rare-qa")
    assert exported["completion"][0]["content"] == "<think>\nR\n</think>\n\n<answer>A</answer>"
    assert "B. Two" in exported["prompt"][0]["content"]


def test_columns_are_carried_along_as_they_are(distilled):
    kinds = distilled.add_column("kind", [i % 2 for i in range(14)]).cast_column("kind", ClassLabel(names=["a", "b"]))
    exported = to_sft(kinds, keep_columns=["id", "kind", "hard_negatives", "reasoning_document_order"])
    assert exported.features["kind"] == kinds.features["kind"]
    ok = kinds.filter(lambda row: row["reasoning_status"] == "ok")
    for name in ("id", "kind", "hard_negatives", "reasoning_document_order"):
        assert exported[name][:] == ok[name][:]
    with pytest.raises(ConfigError, match="rename_column"):
        to_sft(distilled.rename_column("id", "prompt"), keep_columns=["prompt"])


def test_each_sample_becomes_a_row(sampled):
    exported = to_sft(sampled, keep_columns=["id"])
    assert exported["reasoning_sample"][:] == [0, 1, 3] * 2
    assert exported["id"][:] == [row["id"] for row in sampled for _ in range(3)]
    assert len(to_sft(sampled, correct_column="reasoning_verdict")) == 2
    assert len(to_sft(sampled, correct_column="reasoning_verdict", statuses=None)) == 4


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, THINKING_CHAT_TEMPLATE, STRIPPING_TEMPLATE])
def test_the_mask_covers_the_completion_only(distilled, template):
    tokenizer = make_tokenizer(template)
    exported = to_sft(distilled, student_tokenizer=tokenizer)
    assert exported.to_list() == to_sft(distilled).to_list()
    for row in exported:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
        whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]
        assert whole[: len(prompt)] == prompt
        content = row["completion"][0]["content"]
        learnt = tokenizer.decode(whole[len(prompt) :])
        prefilled = "<think>\n" if template == THINKING_CHAT_TEMPLATE else ""
        assert learnt == f"{content.removeprefix(prefilled)}<|im_end|>\n"


@pytest.mark.parametrize(
    ("template", "arguments", "message"),
    [
        (None, {}, "without a chat template"),
        (DROPPING_TEMPLATE, {}, "drops or changes a part"),
        (CHAT_TEMPLATE, {"reasoning_format": "field"}, "drops or changes a part"),
        (THINKING_CHAT_TEMPLATE, {"reasoning_format": "plain"}, "opens the assistant's turn"),
        ("{{ raise_exception('no') }}", {}, "cannot render"),
    ],
)
def test_a_chat_template_that_does_not_fit_is_an_error(distilled, template, arguments, message):
    with pytest.raises(ConfigError, match=message):
        to_sft(distilled, student_tokenizer=make_tokenizer(template), **arguments)


def test_a_template_that_opens_a_thought_of_its_own_gets_no_second_one(distilled):
    tokenizer = make_tokenizer(OWN_THOUGHT_TEMPLATE)
    with pytest.raises(ConfigError, match="opens a thought of its own beside"):
        to_sft(distilled, student_tokenizer=tokenizer)
    made = to_sft(distilled, student_tokenizer=tokenizer, reasoning_format="field")
    text = tokenizer.apply_chat_template([*made[0]["prompt"], *made[0]["completion"]], tokenize=False)
    assert text.count("<think>") == 1 and "<think>\n\n" not in text


def test_other_formats_make_it_fit(distilled):
    assert len(to_sft(distilled, student_tokenizer=make_tokenizer(DROPPING_TEMPLATE), reasoning_format="plain")) == 11
    assert len(to_sft(distilled, student_tokenizer=make_tokenizer(FIELD_TEMPLATE), reasoning_format="field")) == 11
    off = {"enable_thinking": False}
    exported = to_sft(
        distilled,
        student_tokenizer=make_tokenizer(THINKING_CHAT_TEMPLATE),
        reasoning_format="plain",
        chat_template_kwargs=off,
    )
    assert exported["chat_template_kwargs"][:] == [off] * 11


def test_rows_that_the_template_spoils_are_left_out(distilled, caplog):
    template = CHAT_TEMPLATE.replace("message['content']", "message['content'].split('<<')[0]")
    rows = distilled.select([0, 1]).to_list()
    rows[1]["reasoning"] = "It is << so."
    exported = to_sft(Dataset.from_list(rows), student_tokenizer=make_tokenizer(template), keep_columns=["id"])
    assert exported["id"][:] == [rows[0]["id"]]
    assert "1 of 2 rows are left out" in caplog.text


def test_what_is_left_out_is_said_with_its_reasons(distilled, sampled, caplog):
    rows = sampled.to_list()
    rows[1] |= {"reasoning": [""] * 4, "reasoning_status": ["failed"] * 4, "reasoning_document_order": []}
    rows = Dataset.from_list(rows)
    assert len(to_sft(rows)) == 3
    assert "5 of 8 traces are left out: 4 failed, 1 truncated." in caplog.text
    assert len(to_sft(rows, correct_column="reasoning_verdict")) == 1
    assert "7 of 8 traces are left out: 4 failed, 1 truncated, 2 not right, or of a row" in caplog.text
    assert len(to_preference(rows.remove_columns("reasoning_verdict"), form="kto")) == 4
    assert "4 of 8 traces are left out: 4 failed." in caplog.text
    assert len(to_preference(rows, form="kto")) == 2
    assert "6 of 8 traces are left out: 4 failed, 1 truncated, 1 not graded" in caplog.text
    caplog.clear()
    assert len(to_sft(distilled.filter(lambda row: row["reasoning_status"] == "ok"))) > 0
    assert len(to_preference(rows)) == 1
    assert not caplog.text
    assert len(to_preference(rows.select([1]))) == 0
    assert "there are no pairs" in caplog.text


def test_a_row_without_a_list_of_traces_is_none_that_is_left_out(sampled, caplog):
    names = ["reasoning", "reasoning_answer", "reasoning_status", "reasoning_verdict"]
    rows = Dataset.from_list([sampled[0], sampled[1] | dict.fromkeys(names)], features=sampled.features)
    assert len(to_sft(rows)) == 3
    assert "1 of 4 traces are left out: 1 truncated." in caplog.text


tokenizer = make_tokenizer(THINKING_CHAT_TEMPLATE)


@settings(deadline=None)
@given(st.text(min_size=1).filter(str.strip), st.text())
def test_any_trace_is_masked_rightly_or_found_at_fault(reasoning, answer):
    student = Student(tokenizer, ("<think>", "</think>"))
    prompt = [{"role": "user", "content": "Why?"}]
    completion = [{"role": "assistant", "content": f"<think>\n{reasoning}\n</think>\n\n{answer}"}]
    whole = tokenizer.apply_chat_template(prompt + completion)["input_ids"]
    start = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
    assert bool(student.find_fault(prompt, completion)) == (whole[: len(start)] != start)


def test_pairs_of_right_and_wrong_traces(sampled):
    exported = to_preference(sampled, keep_columns=["id"])
    assert exported.column_names == ["prompt", "chosen", "rejected", "id"]
    assert len(exported) == 2
    for row, source in zip(exported, sampled, strict=True):
        assert row["id"] == source["id"]
        assert row["prompt"] == build_prompt(read_row(source, DistillConfig()), DistillConfig()).messages
        assert f"{source['reasoning'][0]}\n</think>\n\nA" in row["chosen"][0]["content"]
        assert f"{source['reasoning'][1]}\n</think>\n\nB" in row["rejected"][0]["content"]
    assert len(to_preference(sampled, max_pairs=None, statuses=None)) == 4
    assert len(to_preference(sampled, max_pairs=1, statuses=None)) == 2


def test_each_trace_is_paired_once_before_one_is_paired_again(sampled):
    row = sampled[0] | {"reasoning_verdict": ["right", "wrong", "wrong", "right"], "reasoning_status": ["ok"] * 4}
    pairs = to_preference(Dataset.from_list([row]), max_pairs=2)
    assert len({pair["chosen"][0]["content"] for pair in pairs}) == 2
    assert len({pair["rejected"][0]["content"] for pair in pairs}) == 2


def test_grades_have_a_threshold(sampled):
    row = sampled[0] | {"grade": [0.2, 0.7, 0.9, 0.1], "reasoning_status": ["ok"] * 4}
    row["hard_negatives_by_kind"] = {"mined": row["hard_negatives"]}
    rows = Dataset.from_list([row])
    labels = to_preference(rows, form="kto", correct_column="grade")["label"][:]
    assert labels == [False, True, True, False]
    assert to_preference(rows, form="kto", correct_column="grade", threshold=0.8)["label"][:] == [
        False,
        False,
        True,
        False,
    ]
    right = rows.map(lambda _: {"right": [False, True, None, True]})
    assert to_preference(right, form="kto", correct_column="right")["label"][:] == [False, True, True]
    with pytest.raises(ColumnError, match="'right', 'wrong', 'unchecked', booleans or numbers"):
        to_preference(rows, correct_column="reasoning_answer")
    with pytest.raises(ColumnError, match="expected verdicts, booleans or numbers"):
        to_preference(rows, correct_column="hard_negatives_by_kind")


def test_without_grades_the_status_says_what_is_right(sampled, distilled):
    rows = sampled.remove_columns("reasoning_verdict")
    assert to_preference(rows, form="kto")["label"][:] == [True, True, False, True] * 2
    assert len(to_preference(rows, max_pairs=None)) == 6
    labels = to_preference(distilled, form="kto")["label"][:]
    assert (labels.count(True), labels.count(False)) == (11, 2)


def test_labelled_traces(sampled):
    exported = to_preference(sampled, form="kto", keep_columns=["id"], student_tokenizer=make_tokenizer())
    assert exported.column_names == ["prompt", "completion", "label", "reasoning_sample", "id"]
    assert exported["label"][:] == [True, False] * 2
    with pytest.raises(ConfigError, match="drops or changes"):
        to_preference(sampled, student_tokenizer=make_tokenizer(DROPPING_TEMPLATE))


def test_pairs_need_samples(distilled):
    with pytest.raises(ColumnError, match="num_samples"):
        to_preference(distilled)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"question_column": "q"}, ColumnError, "no column 'q'"),
        ({"keep_columns": ["nothing"]}, ColumnError, "no column 'nothing'"),
        ({"output_column": "trace"}, ColumnError, "columns='full'"),
        ({"reasoning_format": "xml"}, ConfigError, "'tags'"),
        ({"statuses": ["good"]}, ConfigError, "'truncated'"),
        ({"statuses": "ok"}, ConfigError, "expected a list"),
        ({"questions_column": "q"}, ConfigError, "question_column"),
        ({"recipe": 3}, ConfigError, "distiller"),
    ],
)
def test_wrong_settings_are_errors(distilled, arguments, error, message):
    with pytest.raises(error, match=message):
        to_sft(distilled, **arguments)


def test_wrong_settings_of_the_other_exports_are_errors(sampled):
    with pytest.raises(ConfigError, match="'dpo' or 'kto'"):
        to_preference(sampled, form="ppo")
    with pytest.raises(ConfigError, match="max_pairs"):
        to_preference(sampled, max_pairs=0)
    for export in (to_sft, to_preference):
        with pytest.raises(BatchTypeError, match="DatasetDict"):
            export(DatasetDict(train=sampled))


def test_batches_indices_and_formats_change_nothing(distilled):
    many = Dataset.from_list(distilled.to_list() * 90, features=distilled.features)
    expected = to_sft(distilled).to_list() * 90
    assert to_sft(many).to_list() == expected
    assert to_sft(many.with_format("numpy")).to_list() == expected
    backwards = many.select(range(len(many) - 1, -1, -1))
    assert to_sft(backwards).to_list() == expected[::-1]


def make_trainer(name: str, dataset: Dataset, folder, roles=("model",)):
    """A trainer of TRL over a tiny student: two steps on the CPU."""
    trl = pytest.importorskip("trl")
    config = getattr(trl, f"{name}Config")(
        output_dir=str(folder),
        max_steps=2,
        per_device_train_batch_size=2,
        max_length=4096,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
    )
    student = make_tokenizer(THINKING_CHAT_TEMPLATE)
    student.model_max_length = 4096
    sizes = (len(student), student.eos_token_id, student.pad_token_id)
    models = {role: make_model(*sizes, max_position_embeddings=4096) for role in roles}
    return getattr(trl, f"{name}Trainer")(args=config, train_dataset=dataset, processing_class=student, **models)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of TRL about its own settings
def test_trl_learns_the_completion_and_nothing_else(distilled, tmp_path):
    exported = to_sft(distilled, student_tokenizer=make_tokenizer(THINKING_CHAT_TEMPLATE), keep_columns=["id"])
    trainer = make_trainer("SFT", exported, tmp_path)
    assert trainer.train().training_loss > 0
    assert len(trainer.train_dataset) == len(exported)
    tokenizer = trainer.processing_class
    columns = trainer.train_dataset.column_names
    rows = [{name: row[name] for name in columns if name in ("input_ids", "labels")} for row in trainer.train_dataset]
    batch = trainer.data_collator(rows)
    assert batch["labels"].shape == batch["input_ids"].shape
    for i, source in enumerate(exported):
        read = batch["attention_mask"][i].bool()
        assert (batch["labels"][i][~read] == -100).all()  # the padding
        ids, labels = batch["input_ids"][i][read].tolist(), batch["labels"][i][read].tolist()
        prompt = tokenizer.apply_chat_template(source["prompt"], add_generation_prompt=True)["input_ids"]
        start = len(prompt)
        assert ids[:start] == prompt
        assert labels == [-100] * start + ids[start:]
        learnt = source["completion"][0]["content"].removeprefix("<think>\n") + "<|im_end|>\n"
        assert tokenizer.decode(ids[start:]) == learnt


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ["DPO", "KTO"])
def test_trl_learns_from_preferences(sampled, tmp_path, name):
    exported = to_preference(sampled, form=name.lower(), student_tokenizer=make_tokenizer(), keep_columns=["id"])
    assert make_trainer(name, exported, tmp_path, roles=("model", "ref_model")).train().training_loss > 0
