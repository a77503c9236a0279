"""Which traces of a dataset give the gold answer."""

import pickle

import pytest
from datasets import Dataset, DatasetDict, List, Value

from hf_rare import AnswerJudge, Completion, ReasonDistiller, to_preference, to_sft, verify
from hf_rare.checks.verify import AnswerCheck
from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from tests.support.distilled import distilled_rows
from tests.support.scripted import ScriptedGenerator
from tests.support.versions import skip_before_datasets_5

STATUSES = ["ok", "ok", "truncated", "ok", "failed", "ok", "unparsed", "empty"]
ANSWERS = ["B", "The answer is (A).", "B", "", "", "Paris", "A", "B"]
TRACES = ["It is so.", "It is so.", "It is so.", "So the answer is B.", "", "It is so.", "Hm.", ""]
VERDICTS = ["right", "wrong", "wrong", "right", "unchecked", "right", "wrong", "unchecked"]


@pytest.fixture
def rows() -> Dataset:
    return Dataset.from_dict(
        {
            "answer": ["B"] * 8,
            "options": [["Rome", "Paris"]] * 8,
            "reasoning": TRACES,
            "reasoning_answer": ANSWERS,
            "reasoning_status": STATUSES,
        }
    )


def test_each_trace_gets_a_verdict(rows):
    checked = verify(rows)
    assert checked["reasoning_verdict"][:] == VERDICTS
    assert checked.features["reasoning_verdict"] == Value("string")
    assert checked.remove_columns("reasoning_verdict").to_list() == rows.to_list()


def test_unfinished_traces_can_be_judged_by_what_they_say(rows):
    assert verify(rows, statuses=None)["reasoning_verdict"][2] == "right"
    assert verify(rows, statuses=["ok", "truncated"])["reasoning_verdict"][2] == "right"
    bare = rows.remove_columns(["reasoning_status", "reasoning_answer"])
    assert verify(bare, statuses=None)["reasoning_verdict"][3] == "right"


def test_verdicts_are_those_of_the_distiller():
    written = [
        "<think>x</think> The numbers are 5 and 6 so",
        "<think>x</think> \u6211\u8ba4\u4e3a",  # in which no number can be read
        "<think>",
        "",
        "<think>It is so.</think> The answer is 5.",
    ]
    rows = Dataset.from_dict(
        {
            "question": [f"Question {number}?" for number in range(len(written) + 1)],
            "text": ["Text."] * (len(written) + 1),
            "answer": ["5"] * len(written) + [None],
        }
    )

    def write(text: str, seed: int) -> Completion:
        number = int(text.partition("Question ")[2][0]) % len(written)
        return Completion(written[number], "stop" if number > 2 else "length", 7, 9)

    settings = {"gold_column": "answer", "max_attempts": 1, "template": "{{ question }}", "scenario_column": None}
    writer = ReasonDistiller(ScriptedGenerator(write), hard_negatives_column=None, **settings)
    judge = AnswerJudge(ScriptedGenerator(lambda text, seed: '{"verdict": "right"}'))
    distilled = writer.apply(rows)
    expected = ["wrong", "wrong", "wrong", "unchecked", "right", "unchecked"]
    assert distilled["reasoning_status"][:5] == ["truncated"] * 3 + ["empty", "ok"]
    assert distilled["reasoning_verdict"][:] == expected
    bare = distilled.remove_columns("reasoning_verdict")
    assert verify(bare)["reasoning_verdict"][:] == expected
    assert verify(bare, judge=judge)["reasoning_verdict"][:] == expected
    assert verify(bare, statuses=None)["reasoning_verdict"][:] == ["wrong", *["unchecked"] * 3, "right", "unchecked"]


def test_a_judge_is_asked_of_an_answer_without_a_trace(rows):
    judge = AnswerJudge(ScriptedGenerator(lambda text, seed: '{"verdict": "right"}'))
    bare = rows.select([0]).add_column("question", ["Which?"]).map(lambda _: {"reasoning": ""})
    assert verify(bare)["reasoning_verdict"][:] == verify(bare, judge=judge)["reasoning_verdict"][:] == ["right"]


def test_samples_have_a_list_of_verdicts_and_exports_go_by_it(demo_rows):
    distilled = distilled_rows(demo_rows).select(range(2))
    samples = {
        "reasoning": ["One.", "Two.", "The answer is 7."],
        "reasoning_answer": ["7", "8", ""],
        "reasoning_status": ["ok"] * 3,
    }
    rows = Dataset.from_list(
        [row | samples | {"answer": gold} for row, gold in zip(distilled, (7, None), strict=True)]
    )
    checked = verify(rows)
    assert checked.features["reasoning_verdict"] == List(Value("string"))
    assert checked["reasoning_verdict"][:] == [["right", "wrong", "right"], ["unchecked"] * 3]
    assert [pair["rejected"][0]["content"][8:12] for pair in to_preference(checked)] == ["Two."]
    assert to_preference(checked, form="kto")["label"][:] == [True, False, True]
    assert len(to_sft(checked, correct_column="reasoning_verdict")) == 2


@pytest.mark.parametrize("format", [None, "numpy", "torch", "pandas", "polars", "arrow"])
def test_a_row_without_a_list_of_traces_has_no_verdicts(demo_rows, format):
    distilled = distilled_rows(demo_rows).select(range(2)).to_list()
    samples = {
        "reasoning": ["The answer is 7.", "So 8."],
        "reasoning_answer": ["7", "8"],
        "reasoning_status": ["ok"] * 2,
    }
    rows = Dataset.from_list([distilled[0] | samples, distilled[1] | dict.fromkeys(samples)])
    rows = rows.remove_columns("answer").add_column("answer", [7, 7])
    for places in ([0, 1], [1, 0], [1, 1]):
        checked = verify(rows.select(places).with_format(format)).with_format(None)
        assert checked["reasoning_verdict"][:] == [[] if place else ["right", "wrong"] for place in places]
        assert checked.features["reasoning_verdict"] == List(Value("string"))
        assert len(to_sft(checked, correct_column="reasoning_verdict")) == places.count(0)
        assert to_preference(checked, form="kto")["label"][:] == [True, False] * places.count(0)


@pytest.mark.parametrize("format", ["numpy", "torch", "pandas", "polars", "arrow"])
def test_formats_change_nothing(rows, format):
    checked = verify(rows.with_format(format)).with_format(None)
    assert checked.to_list() == verify(rows).to_list()


@pytest.mark.parametrize("format", [None, "numpy", "torch", "pandas", "polars", "arrow"])
@pytest.mark.parametrize("last", [0, None])
def test_a_gold_answer_does_not_depend_on_a_missing_one_beside_it(format, last):
    if format == "polars":
        skip_before_datasets_5("it cannot write lists of polars with nulls")
    rows = Dataset.from_dict(
        {
            "answer": [2, 1, 5, last],
            "options": [["Rome", "Paris", "York"]] * 3 + [None],
            "reasoning": ["So."] * 4,
            "reasoning_answer": ["C", "C", "5", "0"],
            "reasoning_status": ["ok"] * 4,
        }
    )
    verdicts = verify(rows.with_format(format)).with_format(None)["reasoning_verdict"][:]
    assert verdicts == ["right", "wrong", "right", "unchecked" if last is None else "right"]


def test_splits_empty_datasets_and_streams(rows):
    checked = verify(DatasetDict(train=rows, test=rows.select([])))
    assert checked["train"]["reasoning_verdict"][:] == VERDICTS
    assert checked["test"].features == checked["train"].features
    stream = rows.to_iterable_dataset().map(AnswerCheck(), batched=True, batch_size=3)
    assert [row["reasoning_verdict"] for row in stream] == VERDICTS


def test_other_columns_kinds_of_gold_answers_and_structs_of_options(rows):
    renamed = rows.rename_columns({"answer": "gold", "options": "choices"})
    assert verify(renamed, "gold", options_column="choices")["reasoning_verdict"][:] == VERDICTS
    structs = rows.map(lambda _: {"options": {"A": "Rome", "B": "Paris"}}, remove_columns="options")
    assert verify(structs, check="choice")["reasoning_verdict"][:] == VERDICTS
    lists = rows.map(lambda _: {"answer": ["b", "Paris"]}, remove_columns="answer")
    assert verify(lists)["reasoning_verdict"][:] == VERDICTS


def test_the_cache_is_hit_again(rows, tmp_path):
    rows.to_parquet(tmp_path / "rows.parquet")
    loaded = Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path))
    assert verify(loaded).cache_files == verify(loaded).cache_files != []
    assert verify(loaded).cache_files != verify(loaded, statuses=None).cache_files
    check = AnswerCheck(statuses={"truncated", "ok"})
    assert pickle.loads(pickle.dumps(check)) == check == AnswerCheck(statuses=["ok", "truncated"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"gold_column": "gold"}, ColumnError, "needs the column 'gold'"),
        ({"output_column": "trace"}, ColumnError, "statuses=None"),
        ({"check": "letter"}, ConfigError, "'choice'"),
        ({"statuses": ["good"]}, ConfigError, "'truncated'"),
        ({"tolerances": 1}, ConfigError, "tolerance"),
    ],
)
def test_wrong_settings_are_errors(rows, arguments, error, message):
    with pytest.raises(error, match=message):
        verify(rows, **arguments)


def test_checked_rows_and_other_things_are_errors(rows):
    with pytest.raises(ColumnError, match="exists already"):
        verify(verify(rows))
    with pytest.raises(BatchTypeError, match="AnswerCheck"):
        verify([1, 2])


@pytest.mark.parametrize(
    "setting",
    [
        {"gold_column": 5},
        {"gold_column": ""},
        {"output_column": None},
        {"options_column": ["options"]},
        {"statuses": "ok"},
        {"statuses": 5},
        {"statuses": [["ok"]]},
        {"tolerance": True},
        {"tolerance": 1},
        {"check": "exact"},
    ],
    ids=str,
)
def test_settings_of_another_kind_are_refused(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=f"^{name}=.* cannot be right: expected "):
        AnswerCheck(**setting)
