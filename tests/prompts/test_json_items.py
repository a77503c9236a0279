import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_rare.prompts.json_items import find_items
from hf_rare.prompts.json_text import find_json

NAMES = ("question", "query")
TEXT = st.text(st.characters(exclude_characters="\b\f\n\r\t"))  # what escapes like commands of LaTeX
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('{"questions": [{"scenario": "s", "question": "q"}]}', [{"scenario": "s", "question": "q"}]),
        ('{"hard_query": ["one", "two"]}', ["one", "two"]),
        ('```json\n{"hard_query": ["one"]}\n```\nThat is all.', ["one"]),
        ('Let {me} think of [1].\n{"questions": ["one"]}', ["one"]),
        ('{"question": "q", "scenario": "{a} and [b]"}', [{"question": "q", "scenario": "{a} and [b]"}]),
        ('{"question": "one"}\n{"question": "two"}', [{"question": "one"}, {"question": "two"}]),
        ('["one", "two"]', ["one", "two"]),
        ('A draft: {"questions": ["bad"]}\nBetter: {"questions": ["good"]}', ["good"]),
        ('{"result": {"hard_query": [{"Question": "q", "Scenario": "s"}]}}', [{"question": "q", "scenario": "s"}]),
        ('{"query": "q"}', [{"query": "q"}]),
        ('{"questions": ["line\nbreak"]}', ["line\nbreak"]),
        ("{'questions': ['single quotes',]}", ["single quotes"]),
        ('{"questions": [{"question": "cut off", "scenario": "bef', [{"question": "cut off", "scenario": "bef"}]),
        ('{"questions": ["half \\ud800"]}', ["half ?"]),
        ('See [1].\n{"question": "q"}', [{"question": "q"}]),
        ("no JSON at all", []),
        ("{}", []),
        ('{"questions": []}', []),
        ('{"answer": 3}', []),
        ("[[[[", []),
        ('{"number": ' + "1" * 5000 + '} {"question": "q"}', [{"question": "q"}]),
    ],
)
def test_items_are_found_whatever_stands_around_them(text, items):
    assert find_items(text, NAMES) == items


@given(JSON)
def test_valid_json_is_found_as_it_is(value):
    text = f"Here it is:\n```json\n{json.dumps(value, indent=1)}\n```"
    if isinstance(value, dict | list):
        assert find_json(text) == ([value] if value else [])


@given(st.text(), st.text(alphabet='{}[]",:\\ab1 \n', max_size=60))
def test_nothing_makes_it_fail_and_what_is_found_can_be_stored(before, rest):
    for item in find_items(before + rest, NAMES):
        assert isinstance(item, str | dict)
        json.dumps(item, ensure_ascii=False).encode()


def test_brackets_without_end_take_no_time():
    assert find_items("[" * 20_000, NAMES) == []
    assert find_items('{"a":' * 20_000, NAMES) == []


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('{"notes": [{"text": "The document is short."}], "hard_negatives": []}', []),
        ('{"references": [{"document": "A book of 2010."}], "hard_negatives": [{"document": "d e"}]}', ["d e"]),
        ('{"hard_negatives": [{"text": "d e"}], "notes": [{"text": "short"}]}', ["d e"]),
        ('{"result": {"passage": "d e"}}', ["d e"]),
        ('["I cannot write a document that does not help."]', []),
    ],
)
def test_what_stands_beside_the_items_is_none(text, items):
    names = ("document", "text", "passage")
    found = find_items(text, names)
    assert [item if isinstance(item, str) else next(item[n] for n in names if n in item) for item in found] == items


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ('{"questions": [{"scenario": "A boiler., "question": "Which?"}]}', "Which?"),
        ('{"questions": [{"scenario": "A boiler.", "question": "Which?}]}', "Which?"),
        ('{"questions": [{"scenario": """A boiler.""", "question": """Which?"""}]}', "Which?"),
        ('{"questions": [{"scenario": "A boiler.", "question": "Is {"a": "b"} it, or $\\frac{1}{2}$?"}]}', None),
    ],
)
def test_quotation_marks_that_were_forgotten_or_not_escaped(text, question):
    (item,) = find_items(text, NAMES)
    assert item == {"scenario": "A boiler.", "question": question or 'Is {"a": "b"} it, or $\\frac{1}{2}$?'}


def test_of_a_text_that_was_cut_only_whole_items_are_taken():
    text = '{"questions": [{"question": "one?"}, {"question": "is it in {[1, 2]}'
    assert find_items(text, NAMES, is_cut=True) == [{"question": "one?"}]
    assert find_items(text, NAMES) == [{"question": "one?"}, {"question": "is it in {[1, 2]"}]
    assert find_items('{"questions": ["one?", "two?", "thr', NAMES, is_cut=True) == ["one?", "two?"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ['"', '{"a":"', '["a",', "{'a':", '{"question": "x "y" ', "\u201c"])
def test_broken_texts_take_no_time(part):
    find_items(part * (60_000 // len(part)), NAMES)
