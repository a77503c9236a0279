"""Students get other documents than their teachers, and no trace cites one of them by the number of another."""

import logging
import re

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare.checks.citations import find_citations
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.rows.row import Row
from hf_rare.training.student_documents import choose_documents
from hf_rare.training.trl import to_preference, to_sft


def make_row(number: int, negatives: int = 4, place: int = 1, trace: str = "", **changes) -> dict:
    """A distilled row whose positive stands at a place, from 1."""
    order = list(range(1, negatives + 1))
    order.insert(place - 1, 0)
    return {
        "question": f"What of {number}?",
        "scenario": "",
        "text": f"Rule {number} settles it.",
        "hard_negatives": [f"Rule {number}-{i} is other." for i in range(1, negatives + 1)],
        "others": [f"Rule {number}-{i} is new." for i in range(3)],
        "reasoning": trace or f"Document [{place}] settles it.",
        "reasoning_answer": "So.",
        "reasoning_status": "ok",
        "reasoning_document_order": order,
        **changes,
    }


def make_rows(count: int, **arguments) -> Dataset:
    return Dataset.from_list([make_row(i, place=i % 5 + 1, **arguments) for i in range(count)])


def documents_of(example: dict) -> dict[int, str]:
    """The documents of an exported prompt, by their numbers."""
    content = example["prompt"][0]["content"]
    return {int(number): text for number, text in re.findall(r"^\[(\d+)\] (.+)$", content, re.MULTILINE)}


def numbered(row: dict) -> dict[int, str]:
    """The documents of a row as the teacher saw them."""
    documents = [row["text"], *row["hard_negatives"]]
    return {number: documents[i] for number, i in enumerate(row["reasoning_document_order"], start=1)}


def test_by_default_the_student_gets_what_the_teacher_had():
    rows = make_rows(5)
    assert [documents_of(example) for example in to_sft(rows)] == [numbered(row) for row in rows]
    assert to_sft(rows, positive_share=1).to_list() == to_sft(rows).to_list()
    assert to_sft(rows, student_documents=9).to_list() == to_sft(rows).to_list()


def test_the_positive_is_left_out_in_a_share_of_rows():
    rows = make_rows(500)
    made = to_sft(rows, positive_share=0.8)
    assert len(made) == 500
    without = 0
    for example, row in zip(made, rows, strict=True):
        shown, seen = documents_of(example), numbered(row)
        left_out = {number: text for number, text in seen.items() if number not in shown}
        assert shown == {number: text for number, text in seen.items() if number in shown}
        assert left_out in ({}, {row["reasoning_document_order"].index(0) + 1: row["text"]})
        without += bool(left_out)
    assert 70 < without < 130
    assert made["completion"][:] == to_sft(rows)["completion"][:]
    assert all(
        row["text"] not in documents_of(e).values()
        for e, row in zip(to_sft(rows, positive_share=0), rows, strict=True)
    )


def test_which_rows_depends_on_content_and_seed_alone():
    rows = make_rows(60)
    asked = {"positive_share": 0.5, "student_documents": 2}
    by_question = {row["question"]: example for row, example in zip(rows, to_sft(rows, **asked), strict=True)}
    shuffled = rows.shuffle(seed=3).select(range(40))
    assert to_sft(shuffled, **asked).to_list() == [by_question[row["question"]] for row in shuffled]
    other = to_sft(rows, **asked, seed=1)
    same = [a["prompt"] == b["prompt"] for a, b in zip(to_sft(rows, **asked), other, strict=True)]
    assert 0 < sum(same) < 40


def test_fewer_negatives_keep_their_numbers():
    rows = make_rows(50)
    few, one = to_sft(rows, student_documents=2), to_sft(rows, student_documents=1)
    for row, with_two, with_one in zip(rows, few, one, strict=True):
        shown, seen = documents_of(with_two), numbered(row)
        assert len(shown) == 3
        assert row["text"] in shown.values()
        assert shown.items() <= seen.items()
        assert list(shown) == sorted(shown)
        assert documents_of(with_one).items() <= shown.items()
    assert {tuple(documents_of(example)) for example in few} > {(1, 2, 3), (1, 2, 4)}
    assert [list(documents_of(e).values()) for e in to_sft(rows, student_documents=0)] == [[t] for t in rows["text"]]


def test_new_documents_get_no_number_that_a_trace_cites():
    rows = [
        make_row(0, place=2, trace="Document [2] settles it."),
        make_row(1, place=5, trace="[1] and [3] are about others; [5] settles it."),
        make_row(2, place=1, trace="Documents 2 to 5 and [7] do not help, the first document does."),
        make_row(3, negatives=0, place=1),
    ]
    made = [documents_of(example) for example in to_sft(Dataset.from_list(rows), student_documents="others")]
    for row, shown in zip(rows, made, strict=True):
        assert len(shown) == 4
        assert {text for number, text in shown.items() if number in find_citations(row["reasoning"])} == {row["text"]}
        assert set(shown.values()) == {row["text"], *row["others"]}
    assert max(made[0]) <= 5
    assert sorted(made[1])[-1] == 6
    assert sorted(made[2]) == [1, 6, 8, 9]
    assert sorted(made[3]) == [1, 2, 3, 4]


def test_documents_that_the_teacher_saw_keep_their_numbers_also_from_a_column():
    row = make_row(0, place=3, trace="[1] is about another one, [3] settles it.")
    row["others"] = [row["text"], "New.", row["hard_negatives"][0], "New."]
    (example,) = to_sft(Dataset.from_list([row]), student_documents="others")
    shown = documents_of(example)
    assert shown[1] == row["hard_negatives"][0]
    assert shown[3] == row["text"]
    assert list(shown.values()).count("New.") == 1
    assert len(shown) == 3
    assert (
        to_sft(Dataset.from_list([row]), student_documents="hard_negatives").to_list()
        == to_sft(Dataset.from_list([row])).to_list()
    )


def test_rows_whose_new_documents_cannot_be_used():
    rows = Dataset.from_list([make_row(0), make_row(1, others=None), make_row(2, others=[" "])])
    made = to_sft(rows, student_documents="others")
    assert [len(documents_of(example)) for example in made] == [4, 1]  # none, and a text that is empty


def test_the_place_of_the_positive_says_nothing():
    rows = make_rows(400)
    for asked in ({"student_documents": 2}, {"student_documents": "others"}):
        places = [
            list(documents_of(example).values()).index(row["text"])
            for example, row in zip(to_sft(rows, **asked), rows, strict=True)
        ]
        counts = [places.count(place) for place in range(max(places) + 1)]
        assert min(counts) > 0.7 * len(rows) / len(counts), counts


def test_what_traces_cite_and_students_lack_is_logged(caplog):
    caplog.set_level(logging.INFO, "hf_rare")
    rows = make_rows(40)
    made = to_sft(rows, positive_share=0.5)
    lost = sum(row["text"] not in documents_of(e).values() for e, row in zip(made, rows, strict=True))
    assert f"{lost} of 40 prompts lack the positive (positive_share=0.5)" in caplog.text
    assert f"{lost} of 40 examples cite a document that their prompt lacks" in caplog.text
    caplog.clear()
    to_sft(rows, student_documents=1)
    assert "0 of 40 prompts lack the positive" in caplog.text
    assert "cite a document" not in caplog.text  # only the positive is cited
    assert made.column_names == ["prompt", "completion"]


def test_all_traces_of_a_row_share_a_prompt():
    row = make_row(0, place=4)
    many = ["[4] settles it.", "[4] does, [1] does not.", "[2] settles it."]
    row |= {"reasoning": many, "reasoning_answer": ["So."] * 3, "reasoning_status": ["ok"] * 3}
    row["right"] = [True, True, False]
    rows = Dataset.from_list([row])
    prompts = [example["prompt"] for example in to_sft(rows, student_documents="others")]
    assert prompts[0] == prompts[1] == prompts[2]
    assert {1, 2}.isdisjoint(documents_of(to_sft(rows, student_documents="others")[0]))
    asked = {"correct_column": "right", "student_documents": "others", "positive_share": 0.5}
    for form in ("dpo", "kto"):
        (prompt,) = {str(example["prompt"]) for example in to_preference(rows, form=form, **asked)}
        assert prompt == str(to_sft(rows, **asked)[0]["prompt"])


def test_a_row_without_another_document_keeps_its_positive():
    alone = Dataset.from_list([make_row(i, negatives=0) for i in range(4)])
    assert to_sft(alone, positive_share=0).to_list() == to_sft(alone).to_list()
    copies = alone.map(lambda row: {"others": [row["text"].upper()]})
    asked = {"positive_share": 0, "student_documents": "others"}
    assert [documents_of(example) for example in to_sft(copies, **asked)] == [numbered(row) for row in alone]
    assert not any(map(documents_of, to_sft(make_rows(4), positive_share=0, student_documents=0)))


@pytest.mark.parametrize(
    "counting",
    [
        "{% for document in documents %}({{ loop.index }}) {{ document.text }}\n{% endfor %}{{ question }}",
        "{% set n = namespace(i=0) %}{% for document in documents %}{% set n.i = n.i + 1 %}[{{ n.i }}] "
        "{{ document.text }}\n{% endfor %}{{ question }}",
        "1. {{ documents[0].text }}\n2. {{ documents[1].text }}\n{{ question }}",
    ],
    ids=["loop", "namespace", "places"],
)
def test_a_template_that_counts_by_itself_is_an_error(counting):
    rows = make_rows(2)
    assert len(to_sft(rows, template=counting)) == 2
    with pytest.raises(ConfigError, match=r"document\.number"):
        to_sft(rows, template=counting, positive_share=0.5)
    unnumbered = "{% for document in documents %}{{ document.text }}\n{% endfor %}{{ question }}"
    assert len(to_sft(rows, template=unnumbered, positive_share=0.5)) == 2


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"positive_share": 1.2}, ConfigError, "from 0 to 1"),
        ({"positive_share": True}, ConfigError, "from 0 to 1"),
        ({"student_documents": -1}, ConfigError, "student_documents=-1"),
        ({"student_documents": "fewer"}, ColumnError, "no column 'fewer'"),
        ({"student_documents": "question"}, ColumnError, "expected lists of texts"),
    ],
)
def test_wrong_settings_are_errors(asked, error, message):
    with pytest.raises(error, match=message):
        to_sft(make_rows(2), **asked)


def test_what_equals_the_positive_is_left_out_with_it():
    row = Row("What?", "", "The rule.", ("The  RULE.\n", "Another.", "The rule."))
    chosen = choose_documents(row, [1, 0, 2, 3], 0, positive_share=0)
    assert (chosen.numbers, chosen.texts) == ((3,), ("Another.",))
    assert chosen.left_out == {1, 2, 4}
    for share, kept in ((0, ()), (1, ("The rule.",))):
        chosen = choose_documents(row, [0, 1, 2, 3], 0, positive_share=share, negatives=[" the rule. ", "New."])
        assert sorted(chosen.texts) == sorted([*kept, "New."])


texts = st.sampled_from([f"Text {i}." for i in range(8)])


@settings(deadline=None)
@given(
    st.lists(texts, max_size=5, unique=True),
    st.one_of(st.integers(0, 6), st.lists(texts, max_size=6), st.none()),
    st.sets(st.integers(1, 9)),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
def test_a_number_never_means_two_documents(negatives, others, cited, share, random):
    row = Row("What?", "", "The rule.", tuple(negatives))
    order = list(range(len(row.documents)))
    random.shuffle(order)
    chosen = choose_documents(row, order, 0, positive_share=share, negatives=others, cited=cited)
    seen = {number: row.documents[i] for number, i in enumerate(order, start=1)}
    shown = dict(zip(chosen.numbers, chosen.texts, strict=True))
    assert len(shown) == len(chosen.texts) == len(set(chosen.texts))
    assert chosen.has_positive == ("The rule." in chosen.texts)
    for number in cited & shown.keys():
        assert shown[number] == seen[number]
    assert all(shown[number] == text for number, text in seen.items() if text in chosen.texts)
    assert chosen.left_out == {number for number, text in seen.items() if text not in chosen.texts}
    if isinstance(others, list):
        assert set(chosen.texts) - {"The rule."} == set(others)
