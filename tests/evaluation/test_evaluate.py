"""Students whose answers are known are measured: every measure has its right value, however the questions are run."""

import json
from pathlib import Path

import pytest
from datasets import Dataset

from hf_rare import AnswerJudge, Evaluation, ReasonDistiller, build_card, evaluate, mine_hard_negatives
from hf_rare.errors import BudgetReachedError, ColumnError, ConfigError
from hf_rare.generation.protocol import Completion
from tests.conftest import REPOSITORY
from tests.support import fares
from tests.support.adapters import save_adapter
from tests.support.fares import make_fares, student
from tests.support.scripted import ScriptedGenerator

DATA = REPOSITORY / "tests" / "data"
CHANGED = {"changed": "changed_text", "changed_gold": "changed_answer"}
NOTHING_CHANGED = {"changed": None, "changed_gold": None}
FEW = {"num_resamples": 200}


def ask(students, rows=None, **settings) -> Evaluation:
    return evaluate(students, rows if rows is not None else make_fares(), **{**FEW, **CHANGED, **settings})


def values(evaluation: Evaluation, name: str = "student") -> dict[str, dict[str, float]]:
    return {
        condition: {measure: score.value for measure, score in measures.items()}
        for condition, measures in evaluation.scores[name].items()
    }


def numbers(evaluation: Evaluation) -> tuple:
    rows = evaluation.rows
    return evaluation.scores, evaluation.differences, rows.select_columns(sorted(rows.column_names)).to_list()


def test_one_that_reads_its_documents():
    found = values(ask(student(fares.read)))
    assert list(found) == [
        "closed_book",
        "positive",
        "with_documents",
        "positive_at_1",
        "positive_at_2",
        "positive_at_3",
        "negatives",
        "changed",
    ]
    there = {"accuracy": 1.0, "read": 1.0, "abstains": 0.0, "cites_positive": 1.0, "tokens": 3.0}
    for condition in ("positive", "with_documents", "positive_at_1", "positive_at_2", "positive_at_3"):
        assert found[condition] == there
    assert found["changed"] == {**there, "original_answer": 0.0}  # it goes by the document
    assert found["negatives"] == {"accuracy": 1.0, "read": 1.0, "abstains": 1.0, "tokens": 3.0}
    assert found["closed_book"] == {"accuracy": 0.0, "read": 1.0, "abstains": 1.0, "tokens": 3.0}


@pytest.mark.parametrize("tags", ["<answer>{}</answer>", "<think></think>{}", "<think>\n\n</think>\n\n{}"])
def test_one_that_gives_its_answers_alone(tags):
    def answer(prompt: str, seed: int) -> str:
        found = fares.find_fare(prompt)
        return tags.format(found[1] if found else "The documents do not say what it costs.")

    found = values(ask(student(answer)))
    assert {found[condition]["accuracy"] for condition in ("positive", "with_documents", "changed", "negatives")} == {
        1.0
    }
    assert {measures["read"] for measures in found.values()} == {1.0}
    assert found["negatives"]["abstains"] == 1.0
    assert found["closed_book"]["accuracy"] == 0.0


def test_one_that_always_says_the_same():
    found = values(ask(student(fares.seven)))
    for condition, measures in found.items():
        is_right = {"negatives": 0.0, "changed": 0.0}.get(condition, 1 / 6)
        assert (measures["accuracy"], measures["abstains"], measures["read"]) == (is_right, 0.0, 1.0)
        assert measures.get("cites_positive", 0.0) == 0.0
    assert found["changed"]["original_answer"] == 1 / 6


def test_one_that_abstains():
    found = values(ask(student(fares.abstain)))
    for condition, measures in found.items():
        assert measures["accuracy"] == float(condition == "negatives")
        assert (measures["abstains"], measures["read"]) == (1.0, 1.0)


def test_one_that_reads_the_first_document_alone():
    found = values(ask(student(fares.read_first)))
    places = [found[f"positive_at_{place}"] for place in (1, 2, 3)]
    assert [measures["accuracy"] for measures in places] == [1.0, 0.0, 0.0]
    assert found["with_documents"]["accuracy"] == 1 / 3
    assert found["negatives"]["accuracy"] == 0.0


def test_one_that_cites_another_document():
    def cite_wrongly(prompt, seed):
        number, fare = fares.find_fare(prompt) or ("1", "0")
        return f"<think>See document [{int(number) % 3 + 1}].</think>The answer is {fare}."

    measures = values(ask(student(cite_wrongly)))["with_documents"]
    assert (measures["accuracy"], measures["cites_positive"]) == (1.0, 0.0)


def test_what_is_not_finished_or_has_no_answer_is_not_read():
    def ramble(prompt, seed):
        if "Orla" in prompt:
            return Completion("<think>Well, let me", "length", 7, 9)
        if "Brim" in prompt:
            return Completion("", "error", 7, 0, error="it broke")
        return "" if "Cask" in prompt else fares.read(prompt, seed)

    found = values(ask(student(ramble)))["positive"]
    assert found["read"] == found["accuracy"] == 3 / 6
    assert found["tokens"] == (9 + 0 + 3 * 4) / 6


def test_an_answer_that_is_required_must_be_there():
    template = "{% for document in documents %}[{{ document.number }}] {{ document.text }} {% endfor %}{{ question }}"
    settings = {"template": template, "require_answer": True, "conditions": ["positive", "changed"]}

    def write(prompt, seed):
        place = next(place for place in fares.PLACES if f"ticket to {place} cost?" in prompt)
        fare = fares.PLACES.index(place) + 4
        return f"So. <answer>{fare}</answer>" if fare % 2 else f"So. It is {fare}."

    found = values(ask(student(write), **settings))["positive"]
    assert found["read"] == found["accuracy"] == 1 / 2


def test_students_side_by_side_with_paired_differences():
    evaluation = ask({"before": student(fares.seven), "after": student(fares.read)}, num_resamples=500)
    assert evaluation.baseline == "before"
    difference = evaluation.differences["after"]["positive"]["accuracy"]
    before = evaluation.scores["before"]["positive"]["accuracy"]
    # the other one is always right: what they differ by is one less what the first has, on each resample
    assert difference.value == pytest.approx(1 - before.value)
    assert (difference.low, difference.high) == pytest.approx((1 - before.high, 1 - before.low))
    assert before.low < before.value < before.high
    same = ask({"one": student(fares.seven, "a"), "other": student(fares.seven, "b")})
    assert {(d.value, d.low, d.high) for c in same.differences["other"].values() for d in c.values()} == {(0, 0, 0)}


def test_prompts_are_those_of_the_training_rows():
    rows = make_fares().rename_column("text", "page")
    teacher = ReasonDistiller(student(fares.read), text_column="page", template="plain", system_prompt="Be brief.")
    learner = student(fares.read, "learner")
    evaluation = ask(learner, rows, recipe=teacher, conditions=["positive", "changed"])
    assert values(evaluation)["positive"]["accuracy"] == 1.0
    prompts = [text for text, _ in learner.asked]
    assert prompts[0] == "[1] A ticket to Orla costs 4 coins.\n\nWhat does a ticket to Orla cost?"
    assert evaluation.settings["system_prompt"] == "Be brief."
    asked_as_distiller = ask({"a": teacher}, rows, conditions=["positive", "changed"])
    assert numbers(asked_as_distiller)[0]["a"] == numbers(evaluation)[0]["student"]
    other = ReasonDistiller(student(fares.read), text_column="page")
    with pytest.raises(ConfigError, match="The distillers differ in template, system_prompt"):
        ask({"a": teacher, "b": other}, rows)


def test_a_recipe_without_hard_negatives_asks_without():
    teacher = ReasonDistiller(student(fares.read), hard_negatives_column=None)
    rows = make_fares()
    asked = ask(student(fares.read), rows, recipe=teacher)
    assert asked.settings["hard_negatives_column"] is None
    assert set(asked.rows["condition"]) == {"closed_book", "positive", "changed"}
    without = ask(student(fares.read), rows.remove_columns("hard_negatives"), recipe=teacher)
    assert values(without) == values(asked)


@pytest.mark.parametrize("setting", [{"gold_column": None}, {"output_column": "other"}, {"check": "text"}])
def test_no_student_is_asked_or_measured_in_a_way_of_its_own(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=f"The student 'b' has '{name}'.* Pass it to evaluate: {name}="):
        ask({"a": student(fares.read), "b": {"model_id": "me/student", **setting}})


def test_a_judge_in_the_place_of_rules():
    judge = AnswerJudge(ScriptedGenerator(lambda text, seed: '{"verdict": "right"}', "judge"))
    found = values(ask(student(fares.seven), judge=judge))
    assert found["positive"]["accuracy"] == 1.0
    assert found["negatives"]["accuracy"] == 0.0


def test_rows_without_right_answers():
    rows = make_fares().remove_columns("answer")
    found = values(ask(student(fares.read), rows, gold_column=None))
    assert "accuracy" not in found["positive"]
    assert found["positive"]["read"] == found["negatives"]["accuracy"] == 1.0
    partly = make_fares().map(lambda row: {"answer": None if row["id"] == "orla" else row["answer"]})
    assert values(ask(student(fares.seven), partly))["positive"]["accuracy"] == 1 / 5


def test_the_answers_can_be_looked_at():
    evaluation = ask({"a": student(fares.read), "b": student(fares.seven)}, keep_columns=["id"])
    rows = evaluation.rows
    assert rows.column_names[0] == "student"
    assert rows.num_rows == 2 * 6 * 7
    row = rows.filter(lambda row: row["condition"] == "positive_at_2" and row["id"] == "orla")[0]
    assert (row["student"], row["row"], row["reasoning_positive_position"]) == ("a", 0, 2)
    assert row["reasoning_document_order"] == [1, 0, 2]
    assert row["reasoning_cited_documents"] == [0]
    assert (row["reasoning_verdict"], row["reasoning_abstains"]) == ("right", False)
    assert "documents" not in rows.column_names
    for name, scores in evaluation.scores.items():
        for condition in ("positive", "negatives", "changed"):
            own = rows.filter(lambda row, n=name, c=condition: (row["student"], row["condition"]) == (n, c))
            assert sum(own["reasoning_right"]) / len(own) == scores[condition]["accuracy"].value
    wrong = rows.filter(lambda row: row["reasoning_right"] is False)
    assert set(wrong.filter(lambda row: row["student"] == "a")["condition"]) == {"closed_book"}


def test_what_accuracy_does_not_count_is_null():
    partly = make_fares().map(lambda row: {"answer": None if row["id"] == "orla" else row["answer"]})
    for rows, settings in ((partly.select([0]), {}), (make_fares().remove_columns("answer"), {"gold_column": None})):
        answers = ask(student(fares.read), rows, conditions=["positive", "negatives"], **NOTHING_CHANGED, **settings)
        right = dict(zip(answers.rows["condition"], answers.rows["reasoning_right"], strict=True))
        assert right == {"positive": None, "negatives": True}


# Runs that end, other batches


def test_a_run_that_a_limit_has_ended_goes_on_where_it_was(tmp_path):
    journal = {"journal_dir": tmp_path / "journal"}
    expected = ask({"a": student(fares.read), "b": student(fares.seven)}, journal_dir=None)
    with pytest.raises(BudgetReachedError):
        ask({"a": student(fares.read), "b": student(fares.seven)}, max_rows=30, **journal)
    first, second = student(fares.read), student(fares.seven)
    evaluation = ask({"a": first, "b": second}, batch_size=5, **journal)
    assert len(first.asked) == 42 - 30
    assert len(second.asked) == 42
    assert numbers(evaluation) == numbers(expected)
    assert evaluation.to_json() == expected.to_json()


@pytest.fixture(scope="module")
def real_rows() -> Dataset:
    lines = (DATA / "pg_docs.jsonl").read_text(encoding="utf-8").splitlines()
    documents = Dataset.from_list([json.loads(line) for line in lines])
    texts = dict(zip(documents["id"], documents["text"], strict=True))
    rows = [json.loads(line) for line in (DATA / "pg_questions.jsonl").read_text(encoding="utf-8").splitlines()]
    names = ("id", "question", "scenario", "options", "answer")
    rows = [{**{name: row[name] for name in names}, "text": texts[row["doc_id"]]} for row in rows]
    return mine_hard_negatives(Dataset.from_list(rows), documents, num_negatives=2)


@pytest.mark.slow
def test_real_rows_give_the_same_numbers_resumed_and_in_other_batches(real_rows, tiny, tmp_path):
    assert len(real_rows) == 48
    settings = {
        "template": "rare-qa",
        "changed": lambda row: row["text"].replace("the", "no"),
        "changed_gold": lambda row: "A" if row["answer"] != "A" else "B",
        "max_new_tokens": 6,
        "keep_columns": ["id"],
        "num_resamples": 500,
    }
    expected = evaluate(tiny, real_rows, journal_dir=None, **settings)
    assert expected.rows.num_rows == 48 * 7
    assert len(set(expected.rows["reasoning"])) > 100, "a comparison of equal texts proves nothing"
    journal = {"journal_dir": tmp_path / "journal"}
    with pytest.raises(BudgetReachedError):
        evaluate(tiny, real_rows, max_rows=100, **journal, **settings)
    resumed = evaluate(tiny, real_rows, batch_size=7, max_batch_tokens=4000, **journal, **settings)
    assert numbers(resumed) == numbers(expected)
    written = [path.read_text().count('{"key"') for path in journal["journal_dir"].rglob("*.jsonl")]
    assert sum(written) == len(set(expected.rows["row"])) * 7


@pytest.mark.slow
def test_smollm2_answers_better_with_the_document(smollm2):
    rows = make_fares().select(range(4))
    settings = {"template": "plain", "max_new_tokens": 24, "conditions": ["closed_book", "positive"], **FEW}
    found = values(evaluate(smollm2, rows, **settings))
    assert found["positive"]["accuracy"] > found["closed_book"]["accuracy"]


# What is said


def test_tables_json_plot_and_card(tmp_path):
    evaluation = ask({"before|": student(fares.seven), "after": student(fares.read)})
    table = evaluation.table()
    assert "| with_documents | after" in table
    assert "| 100.0 % [100.0, 100.0] |" in table
    assert "before/" in table
    assert "after less before/, in points" in table
    widths = {len(line) for line in table.split("\n\n")[1].splitlines()}
    assert len(widths) == 1
    report = json.loads(evaluation.to_json())
    assert report["scores"]["after"]["positive"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert report["abstaining_is"]["positive_at_2"] == "wrong"
    assert report["answers"]["with_documents"] == 18
    assert report["students"]["after"] == {"model_id": "read"}
    picture = evaluation.plot(tmp_path / "plot.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = ask({"before|": student(fares.seven), "after": student(fares.read)})
    assert again.plot(tmp_path / "again.png").read_bytes() == picture.read_bytes()
    (tmp_path / "evaluation.json").write_text(evaluation.to_json())
    rows = make_fares()
    cards = [build_card(rows, evaluation=one) for one in (evaluation, report, tmp_path / "evaluation.json")]
    assert cards[0] == cards[1] == cards[2]
    assert "### What students learn from them" in cards[0]
    assert "| `with_documents` | `after` | 18 | 100.0 % [100.0, 100.0] |" in cards[0]
    assert "What students learn" not in build_card(rows)
    for wrong in ({"scores": 1}, 7, tmp_path / "nothing.json"):
        with pytest.raises(ConfigError, match="evaluation"):
            build_card(rows, evaluation=wrong)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"conditions": ["open_book"]}, ConfigError, "expected some of 'closed_book'"),
        ({"conditions": []}, ConfigError, r"conditions=\[\] cannot be right: expected some of"),
        ({"conditions": 7}, ConfigError, "conditions=7 cannot be right"),
        ({"places": 1}, ConfigError, "places=1 cannot be right: expected a list of whole numbers"),
        ({"max_new_tokens": 64}, ConfigError, "max_new_tokens= cannot change the student 'student'"),
        ({"conditions": ["changed"], "changed": None}, ConfigError, "go together"),
        ({"conditions": ["positive"]}, ConfigError, "go together"),
        ({"num_resamples": 0}, ConfigError, "num_resamples=0"),
        ({"confidence": 1.5}, ConfigError, "confidence=1.5"),
        ({"places": [0]}, ConfigError, "places"),
        ({"num_samples": 2}, ConfigError, "answers each question once"),
        ({"nothing": 2}, ConfigError, "nothing"),
        ({"gold_column": "other"}, ColumnError, "no column 'other'"),
        ({"places": [9], "conditions": ["with_documents"], "changed": None}, ColumnError, "nothing to ask"),
    ],
)
def test_what_cannot_be_right_is_said_at_once(settings, error, words):
    learner = student(fares.read)
    with pytest.raises(error, match=words):
        ask(learner, **settings)
    assert learner.asked == []


def test_students_that_are_none():
    for wrong in (7, {"a": 7}, {}, {"": student(fares.read)}):
        with pytest.raises(ConfigError, match="student"):
            ask(wrong)


def test_a_distiller_is_not_changed_without_a_word(tiny, caplog):
    distiller = ReasonDistiller(student(fares.read))
    with pytest.raises(ConfigError, match="max_new_tokens= cannot change the student 'a'"):
        ask({"a": distiller}, max_new_tokens=64)
    few = make_fares().select([0])
    ask({"a": distiller, "b": tiny}, few, max_new_tokens=4, conditions=["positive"], **NOTHING_CHANGED)
    assert "max_new_tokens= cannot change the student 'a'" in caplog.text


def test_settings_without_a_model_are_none():
    with pytest.raises(ConfigError, match=r"The student 'a' has no model_id; it has 'adapter'"):
        ask({"a": {"adapter": "./lora"}})
    with pytest.raises(ConfigError, match=r"The student 'b' has no model_id"):
        ask({"a": student(fares.read), "b": {"model_id": ""}})


def test_what_was_asked_for_and_has_no_question_is_said(caplog):
    places = {"places": [1, 9], **NOTHING_CHANGED}
    ask(student(fares.read), conditions=["positive", "with_documents"], **places)
    assert "stand at 9." in caplog.text
    assert "No row can be asked" not in caplog.text
    ask(student(fares.read), conditions=["positive", "with_documents"], **{**places, "places": [9]})
    assert "No row can be asked in 'with_documents'" in caplog.text
    caplog.clear()
    ask(student(fares.read), make_fares().map(lambda row: {"hard_negatives": []}), **NOTHING_CHANGED)
    assert "No row" not in caplog.text


def test_a_student_by_name_and_by_settings(tiny, tmp_path):
    settings = {"max_new_tokens": 6, "conditions": ["positive"], "changed": None, "changed_gold": None}
    by_name = ask(tiny, **settings)
    by_dict = ask({"model_id": tiny, "max_new_tokens": 6}, **{**settings, "max_new_tokens": 3})
    assert numbers(by_name) == numbers(by_dict)
    assert str(Path(tiny).parent) not in by_name.to_json()


def test_a_student_with_an_adapter_beside_the_model_itself(tiny, tmp_path):
    settings = {"max_new_tokens": 6, "conditions": ["positive", "negatives"], **NOTHING_CHANGED}
    adapted = {"model_id": tiny, "adapter": save_adapter(tiny, tmp_path / "adapter")}
    evaluation = ask({"before": tiny, "after": adapted}, journal_dir=tmp_path / "journal", **settings)
    texts = {
        name: evaluation.rows.filter(lambda row, name=name: row["student"] == name)["reasoning"][:]
        for name in ("before", "after")
    }
    assert texts["before"] != texts["after"]
    assert str(tmp_path) not in evaluation.to_json()
    again = ask({"after": adapted, "before": tiny}, journal_dir=tmp_path / "journal", **settings)
    assert again.scores == evaluation.scores
