"""What a report counts is so, each number lists what it counts, and what rows hold stays text."""

import base64
import functools
import hashlib
import json
import re
import urllib.parse
from html.parser import HTMLParser

import pytest
from datasets import Dataset, DatasetDict, IterableDataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare import ReasonDistiller, report
from hf_rare.errors import BatchTypeError, ColumnError, ConfigError, DatasetFileError, RecipeError
from hf_rare.text import clean
from tests.support.distilled import recipe
from tests.support.report_pages import ROW, count_listed, make_rows, make_samples, unpack
from tests.views.test_preview import ATTACKS

pytestmark = pytest.mark.timeout(120)


class Overview(HTMLParser):
    """The elements of a page, its text, and the text of each link by where it leads."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.links: dict[str, list[str]] = {}
        self._address: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self._address = urllib.parse.unquote_plus(dict(attrs).get("href", ""))

    def handle_endtag(self, tag):
        self._address = None if tag == "a" else self._address

    def handle_data(self, data):
        self.text += data
        if self._address is not None:
            self.links.setdefault(self._address, []).append(data)


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return make_rows()


@pytest.fixture(scope="module")
def html(rows) -> str:
    return report(rows).html


def numbers_of(html: str) -> dict[str, int]:
    """The number of each link to rows, by the name of what it counts; a place is a number too, and comes first."""
    found = {}
    for address, texts in Overview(html).links.items():
        match = re.fullmatch(r"#view=rows&f=(here:.*)", address)
        digits = [text.replace(",", "") for text in texts if re.fullmatch(r"[\d,]+", text)]
        if match and digits:
            found[match[1].removeprefix("here:")] = int(digits[-1])
    return found


def test_what_is_wrong_is_counted(html):
    numbers = numbers_of(html)
    expected = {
        "status/ok": 4, "status/truncated": 2, "status/prompt_too_long": 1, "completion/loop": 1,
        "completion/shortened": 1, "completion/no_answer": 1, "verdict/wrong": 4, "verdict/right": 2,
        "verdict/unchecked": 1, "first/1": 1, "first/2": 1, "first/never": 4, "grounding/cites": 2,
        "grounding/quotes": 2, "grounding/ungrounded": 2, "grounding/distracted": 2, "grounding/unknown": 2,
        "place/2": 6,
    }  # fmt: skip
    assert {name: numbers[name] for name in expected} == expected


def test_each_number_lists_the_traces_that_it_counts(html):
    index, _, _ = unpack(html)
    numbers = numbers_of(html)
    assert len(numbers) > 15
    for name, number in numbers.items():
        assert count_listed(index, name) == number, name


def test_tokens_are_summed_and_those_of_traces_that_are_not_ok(html):
    text = " ".join(Overview(html).text.split())
    assert "tokens read600 tokens written760 median of a trace40 one in ten is longer than300" in text
    assert "written for traces that are not ok78.9%" in text


def test_a_row_with_several_traces_is_counted_by_them():
    html = report(make_samples()).html
    numbers = numbers_of(html)
    expected = {
        "status/ok": 2, "status/truncated": 2, "first/2": 1, "first/never": 1, "evidence/on_positive": 1,
        "evidence/elsewhere": 1, "grounding/grounded": 1, "place/2": 2,
    }  # fmt: skip
    assert {name: numbers[name] for name in expected} == expected
    index, bodies, _ = unpack(html)
    assert [len(row[4]) for row in index["rows"]] == [2, 2]
    assert bodies[0]["traces"][1]["evidence"] == [0.5, 7.0, -1.0]  # in the order of the prompt
    assert "2 rows with 4 traces" in " ".join(html.split())
    assert "borderline" in html  # one trace is right and the other wrong


def test_rates_by_place_have_intervals(html):
    text = Overview(html).text
    assert "50% (15% to 85%)" in text  # 2 of 4, by Wilson


def test_documents_stand_as_the_teacher_saw_them(html):
    _, bodies, texts = unpack(html)
    row = bodies[0]
    assert [texts[number] for number in row["documents"]] == [
        ROW["hard_negatives"][0], ROW["text"], ROW["hard_negatives"][1],
    ]  # fmt: skip
    assert row["positive"] == 1
    assert row["numbered"]
    assert bodies[5]["numbered"] is False  # the row has no prompt
    assert len(texts) == 3  # each is packed once


def test_citations_are_found_in_the_units_of_a_browser(html):
    _, bodies, _ = unpack(html)
    trace = bodies[6]["traces"][0]
    units = trace["text"].encode("utf-16-le")
    (start, end, number), *others = trace["citations"]
    assert others == []
    assert units[2 * start : 2 * end].decode("utf-16-le") == "[3]"
    assert number == 3


def test_equal_rows_give_equal_pages(rows, html):
    assert report(rows.with_format("numpy")).html == html
    assert report(rows.select(range(6))).html != html


def test_splits_are_told_apart(rows):
    both = DatasetDict(train=rows.select(range(4)), test=rows.select(range(4, 7)))
    html = report(both).html
    assert numbers_of(html)["split/test"] == 3
    index, _, _ = unpack(html)
    assert [(index["splits"][row[1]], row[0], row[2]) for row in index["rows"]][4] == ("test", 0, "shortened")


@pytest.mark.parametrize(
    "missing",
    [
        ["text", "hard_negatives"],
        ["question", "scenario", "id"],
        ["reasoning_status", "reasoning_error", "reasoning_answer"],
        ["reasoning_document_order", "reasoning_positive_position", "reasoning_documents_truncated"],
        ["reasoning_completion_tokens", "reasoning_prompt_tokens", "reasoning_verdict", "reasoning_attempts"],
        ["reasoning_cited_documents", "reasoning_quoted_documents", "reasoning_unknown_citations"],
    ],
)
def test_columns_may_be_missing_or_null(rows, missing):
    nulls = Dataset.from_list([row | dict.fromkeys(missing) for row in rows])
    for fewer in (rows.remove_columns(missing), nulls):
        made = report(fewer)
        assert made.embedded_rows == 7
        assert not re.search(r"\b(None|nan)\b", Overview(made.html).text.split("use strict")[0])


def test_a_trace_is_enough(rows):
    assert report(rows.select_columns("reasoning")).embedded_rows == 7
    assert report(rows.select([])).rows == 0


def test_other_names_of_columns_come_from_the_recipe_or_the_caller(rows):
    renamed = rows.rename_columns({name: name.replace("reasoning", "why") for name in rows.column_names})
    renamed = renamed.rename_column("text", "passage")
    said = recipe()
    said["distill"] |= {"output_column": "why", "text_column": "passage"}
    for made in (report(renamed, recipe=said), report(renamed, output_column="why", text_column="passage")):
        assert numbers_of(made.html)["grounding/cites"] == 2
        assert ROW["text"] in unpack(made.html)[2]
    assert "Qwen/Qwen3-8B" in report(renamed, recipe=said).html


def test_a_distiller_says_how_rows_were_made(rows, tiny):
    distiller = ReasonDistiller.from_pretrained(tiny, max_new_tokens=77)
    html = report(rows, recipe=distiller).html
    assert "max_new_tokens: 77" in html
    assert tiny not in html  # no folder of this machine


def test_beyond_the_most_rows_a_sample_has_all_that_is_rare(rows):
    several = rows.to_list()
    many = Dataset.from_list([several[0] | {"id": str(i)} for i in range(40)] + several[1:])
    made = report(many, max_rows=20)
    assert (made.rows, made.embedded_rows) == (46, 20)
    index, _, _ = unpack(made.html)
    assert {"loop", "cut", "astray", "shortened", "long", "unchecked"} <= {row[2] for row in index["rows"]}
    assert numbers_of(made.html)["verdict/right"] == 41  # exact over all rows
    text = " ".join(made.html.split())
    assert "20 of them are in this page" in text
    assert report(many, max_rows=20).html == made.html
    assert report(many, max_rows=20, seed=1).html != made.html


def test_rows_that_take_too_many_bytes_are_left_out(rows):
    made = report(rows, max_bytes=1500)
    assert 0 < made.embedded_rows < made.rows
    assert sum(map(len, re.findall(r'text/plain"[^>]*>([^<]*)', made.html))) <= 1500


def test_two_datasets_are_compared_by_key(rows):
    other = rows.select([6, 2, 1, 0]).map(
        lambda row: {"reasoning_status": "ok", "reasoning_verdict": "wrong", "reasoning_document_order": [0, 1, 2]}
    )
    other = other.add_item(ROW | {"id": "elsewhere"} | {name: rows[0][name] for name in rows.column_names[16:]})
    made = report(rows, compare=other, names=("one", "two $x$ <b>"))
    numbers = numbers_of(made.html)
    assert numbers["change/only_here"] == 3
    assert numbers["change/truncated here, ok there"] == 2
    assert numbers["change/right here, wrong there"] == 1
    index, bodies, _ = unpack(made.html)
    assert [row[2] for row in index["rows"]][:3] == ["harbour", "loop", "cut"]
    assert bodies[0]["others"][0]["verdict"] == "wrong"
    assert bodies[0]["others_places"] == [1, 0, 2]  # where the documents that it counts stand here
    assert "others" not in bodies[3]
    assert "1 of which have a key that is not here" in " ".join(made.html.split())
    listed = [text for texts in Overview(made.html).links.items() if "change/" in texts[0] for text in texts[1]]
    assert listed == ["3", "2", "1", "1"]  # what differs most often comes first
    by_content = report(
        rows.remove_columns("id").select([0]), compare=rows.remove_columns("id").select([0]), key_column=None
    )
    assert len(unpack(by_content.html)[1][0]["others"]) == 1


def test_what_cannot_be_shown_is_an_error_that_says_what_to_do(rows, tmp_path):
    with pytest.raises(ColumnError, match=r"has no column 'reasoning'; it has 'q'\. Distill it first"):
        report(Dataset.from_dict({"q": [1]}))
    with pytest.raises(BatchTypeError, match="this is a IterableDataset"):
        report(IterableDataset.from_generator(lambda: iter([{"reasoning": "x"}])))
    with pytest.raises(ConfigError, match=r"'txt_column' is not known.*Did you mean 'text_column'"):
        report(rows, txt_column="x")
    with pytest.raises(ConfigError, match="key_column='key' cannot be right: rows have 'hard_negatives', 'id'"):
        report(rows, key_column="key")
    with pytest.raises(RecipeError):
        report(rows, recipe={"recipe": 1})
    for wrong in ({"marks": []}, {"marks": "good"}, {"marks": ["a"] * 2}, {"names": ["one"]}, {"max_rows": 0}):
        with pytest.raises(ConfigError, match="cannot be right"):
            report(rows, **wrong)
    with pytest.raises(DatasetFileError, match="cannot be written"):
        report(rows).save(tmp_path / "missing" / "report.html")


# what rows hold is text


def hostile(text: str) -> Dataset:
    return Dataset.from_list(
        [
            {name: text if isinstance(value, str) else value for name, value in ROW.items()}
            | {"hard_negatives": [text] * 2}
        ]
    )


def structure(html: str) -> list[tuple[str, dict]]:
    """All elements and attributes of a page but what is packed, and numbers and links that are of other names."""
    varying = ("href", "style", "content", "value")
    tags = Overview(html).tags
    return [(tag, {name: value for name, value in attrs.items() if name not in varying}) for tag, attrs in tags]


@functools.cache
def plain_structure() -> list[tuple[str, dict]]:
    return structure(report(hostile("plain"), title="plain").html)


TEXTS = st.one_of(
    st.text(min_size=1, max_size=60),
    st.lists(st.sampled_from([*ATTACKS, "<", "&", '"', "$x$"]), min_size=1).map("".join),
).filter(lambda text: all(not "\ud800" <= character <= "\udfff" for character in text) and text != "right")


@settings(max_examples=25)
@given(TEXTS)
def test_no_text_makes_an_element_or_an_attribute(text):
    html = report(hostile(text), title=text).html
    assert structure(html) == plain_structure()
    assert clean(html) == html
    _, (body,), texts = unpack(html)
    assert body["question"] == clean(text)
    assert texts == [clean(text)]


def test_halves_of_surrogate_pairs_and_odd_types_are_no_trouble():
    odd = [ROW | {"reasoning_status": None, "reasoning_verdict": None, "reasoning_document_order": [7, 0]}]
    _, (body,), texts = unpack(report(Dataset.from_list(odd)).html)
    assert [texts[number] for number in body["documents"]] == ["(not in this dataset)", ROW["text"]]
    wrong = Dataset.from_dict({"reasoning": ["x"], "reasoning_completion_tokens": ["many"], "reasoning_status": [3]})
    assert report(wrong).rows == 1


def test_the_page_lets_only_its_own_script_run(html):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    script = re.search(r"<script>(.*)</script>\n</body>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#39;", "'")
    assert policy.startswith("default-src")
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", html)


def test_marks_come_back_as_numbers_of_rows(rows):
    index, _, _ = unpack(report(rows, marks=["good", "bad"]).html)
    assert index["marks"] == ["good", "bad"]
    assert json.dumps(index["splits"]) == '["train"]'
