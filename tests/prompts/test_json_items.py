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
