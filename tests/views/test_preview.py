"""A preview reads well and does nothing: what rows hold stays text, in the HTML and in a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, List
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare import report
from hf_rare.errors import BatchTypeError, ColumnError, ConfigError
from hf_rare.text import clean
from hf_rare.views.preview import Preview, preview
from tests.support.report_pages import unpack

ATTACKS = [
    "<script>document.title='x'</script>",
    "<img src=x onerror=\"document.title='x'\">",
    '"><svg onload="document.title=\'x\'">',
    "'><body onload='document.title=1'>",
    "</style><script>document.title='x'</script>",
    "</div></details></summary><iframe srcdoc='<script>parent.document.title=1</script>'>",
    "<!-- --!><script>document.title='x'</script>",
    "&lt;script&gt;document.title='x'&lt;/script&gt;",
    "[1](javascript:document.title='x') [<b>2</b>] <a href='javascript:document.title=1'>",
    "cod\u202eedoc\u202c \u2066hidden\u2069 \x00null\x00 \x1b[31m",
]
CHROMIUM = shutil.which("chromium")
ROW = {
    "question": "Which part is counted?",
    "scenario": "A clerk counts.",
    "text": "Every part is counted once.",
    "hard_negatives": ["No part is counted on Sundays.", "Parts are blue."],
    "reasoning": "By [2] it is counted; [1, 3] do not help, and [4] and [0] do not exist.",
    "reasoning_answer": "Every part.",
    "reasoning_status": "ok",
    "reasoning_error": "",
    "reasoning_prompt_tokens": 71,
    "reasoning_completion_tokens": 23,
    "reasoning_document_order": [2, 0, 1],
}


class Page(HTMLParser):
    """The elements of a page, its texts, and the text of each element that has an id."""

    def __init__(self, source: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.by_id: dict[str, str] = {}
        self._open: list[str | None] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self._open.append(dict(attrs).get("id"))

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, data):
        self.text += data
        for name in filter(None, self._open):
            self.by_id[name] = self.by_id.get(name, "") + data


def show(*rows: dict) -> Page:
    return Page(preview(Dataset.from_list(list(rows)))._repr_html_())


def links(page: Page) -> dict[str, str]:
    """The text of the document that each link leads to, by the number that is linked."""
    return {
        attrs["href"].rsplit("-", 1)[1]: page.by_id[attrs["href"].removeprefix("#")]
        for tag, attrs in page.tags
        if tag == "a"
    }


# what is shown


def test_citations_lead_to_the_documents_that_the_teacher_saw_under_these_numbers():
    page = show(ROW)
    assert links(page) == {
        "1": "Parts are blue.",
        "2": "Every part is counted once.",
        "3": "No part is counted on Sundays.",
    }
    assert ROW["reasoning"] in page.text  # [4] and [0] are there too, as text


@pytest.mark.parametrize(
    ("trace", "cited"),
    [
        ("As documents 1 and 3 say.", {"1", "3"}),
        ("See 【2†source】.", {"2"}),
        ("From [1]-[3] it follows.", {"1", "3"}),
        ("The value lies in [1, 2], and rows[3] too.", set()),
        ("`x[1]` is code, [2] & <b>[3]</b> are not.", {"2", "3"}),
    ],
)
def test_citations_of_every_form_lead_somewhere_and_what_is_none_does_not(trace, cited):
    page = show(ROW | {"reasoning": trace})
    assert set(links(page)) == cited
    assert trace in page.text


def test_the_positive_is_marked_where_the_order_puts_it():
    source = preview(Dataset.from_list([ROW]))._repr_html_()
    summaries = re.findall(r"<summary>(.*?)</summary>", source)
    assert [re.sub("<.*?>", "", summary) for summary in summaries] == [
        "[1] Parts are blue.",
        "[2] Every part is counted once. positive",
        "[3] No part is counted on Sundays.",
    ]


def test_status_answer_error_and_tokens_are_shown():
    assert "ok · 71 tokens read · 23 tokens written" in show(ROW).text
    assert "Answer: Every part." in show(ROW).text
    failed = ROW | {"reasoning": "", "reasoning_status": "failed", "reasoning_error": "out of memory"}
    assert "No trace." in show(failed).text
    assert "failed · out of memory · 71 tokens read" in show(failed).text


def test_verdict_and_grounding_are_shown_where_they_are_there():
    checked = ROW | {"reasoning_verdict": "wrong", "reasoning_grounded_on_positive": False}
    page = show(checked | {"reasoning_distracted": True})
    assert "ok · wrong · 71 tokens read · 23 tokens written · names hard negatives alone" in page.text
    assert ("span", {"class": "mark bad"}) in page.tags
    assert "does not name the positive" in show(checked | {"reasoning_distracted": False}).text
    right = preview(Dataset.from_list([ROW | {"reasoning_verdict": "right", "reasoning_grounded_on_positive": True}]))
    assert "verdict: right\nnames the positive" in repr(right)
    samples = {
        "reasoning": ["First [2].", "Second [3]."],
        "reasoning_verdict": ["right", "unchecked"],
        "reasoning_grounded_on_positive": [True, False],
        "reasoning_distracted": [False, True],
    }
    text = show({name: value for name, value in ROW.items() if "answer" not in name} | samples).text
    assert "sample 0 · ok · right · 71 tokens read · 23 tokens written · names the positive" in text
    assert "sample 1 · unchecked · 71 tokens read · names hard negatives alone" in text
    assert "verdict" not in repr(preview(Dataset.from_list([ROW])))


def test_every_sample_has_its_own_line():
    samples = {
        "reasoning": ["First [2].", "Second [3]."],
        "reasoning_answer": ["one", ""],
        "reasoning_status": ["ok", "truncated"],
        "reasoning_error": ["", "the token limit ended the completion"],
        "reasoning_completion_tokens": [5, 9],
    }
    page = show(ROW | samples)
    assert "First [2].Answer: onesample 0 · ok · 71 tokens read · 5 tokens written" in page.text
    assert "Second [3].sample 1 · truncated · the token limit ended the completion · 71 tokens read · 9" in page.text
    assert set(links(page)) == {"2", "3"}


def test_numbers_that_are_not_known_are_not_made_up():
    for row in (
        {k: v for k, v in ROW.items() if k != "reasoning_document_order"},
        ROW | {"reasoning_document_order": []},
    ):
        page = show(row)
        assert links(page) == {}
        assert "Every part is counted once. positive" in page.text
        assert not re.search(r"\[\d\] (Every|No part|Parts)", page.text)


@pytest.mark.parametrize("missing", [name for name in ROW if name != "reasoning"])
def test_columns_may_be_missing_or_null(missing):
    for row in ({name: value for name, value in ROW.items() if name != missing}, ROW | {missing: None}):
        page = show(row)
        assert ROW["reasoning"] in page.text
        assert "None" not in page.text
        assert "None" not in repr(preview(Dataset.from_list([row])))
    if missing in ("text", "hard_negatives"):
        assert "(not in this dataset)" in page.text  # the numbers of the others stay right


def test_other_names_of_columns():
    row = {"passage": "Every part.", "ask": "Which?", "why": "By [1].", "why_document_order": [0], "image": b"\x00"}
    shown = preview(
        Dataset.from_list([row]), output_column="why", text_column="passage", question_column="ask"
    )._repr_html_()
    assert "<h4>Which?</h4>" in shown
    assert set(links(Page(shown))) == {"1"}


def test_the_first_rows_are_shown_and_print_as_text():
    dataset = Dataset.from_list([ROW | {"question": f"Question {i}?"} for i in range(4)]).with_format("numpy")
    shown = preview(dataset, rows=2)
    assert isinstance(shown, Preview)
    assert shown._repr_html_().count("<h4>") == 2
    assert repr(shown).count("question: Question") == 2
    assert "[2] (positive) Every part is counted once." in repr(shown)
    assert len(set(re.findall(r'id="(.*?)"', preview(dataset)._repr_html_()))) == 12
    assert preview(dataset)._repr_html_() == preview(dataset)._repr_html_()
    for none in (preview(dataset, rows=0), preview(dataset.select([]))):
        assert "No rows." in none._repr_html_()
        assert repr(none) == "No rows."


def test_what_cannot_be_shown_is_an_error_that_says_what_to_do():
    with pytest.raises(ColumnError, match=r"no column 'reasoning'; it has 'question'\. Distill it first"):
        preview(Dataset.from_dict({"question": ["q"]}))
    with pytest.raises(BatchTypeError, match=r"this is a DatasetDict\. Pass its splits"):
        preview(DatasetDict(train=Dataset.from_list([ROW])))
    with pytest.raises(ConfigError, match="rows='3' cannot be right: expected a whole number of at least 0"):
        preview(Dataset.from_list([ROW]), rows="3")


def test_the_right_answer_and_the_scenario_are_shown_too():
    shown = preview(Dataset.from_list([ROW | {"gold": ["<b>", "12"]}]), gold_column="gold")
    assert f"scenario: {ROW['scenario']}" in repr(shown)
    assert "right answer: <b>, 12" in repr(shown)
    assert "<b>Right answer:</b> &lt;b&gt;, 12</p>" in shown.to_html()
    assert "ight answer" not in repr(preview(Dataset.from_list([ROW | {"gold": None}]), gold_column="gold"))
    assert "scenario" not in repr(preview(Dataset.from_list([ROW]), scenario_column=None))


@pytest.mark.parametrize(
    ("value", "feature", "shown"),
    [
        (1, ClassLabel(names=["no", "yes"]), "yes"),
        ([1, 0], List(ClassLabel(names=["no", "yes"])), "yes, no"),
        ({"text": ["Paris"], "answer_start": [3]}, None, "Paris"),
        (2.0, None, "2"),
        (True, None, "true"),
    ],
)
def test_a_right_answer_is_shown_as_it_is_read(value, feature, shown):
    rows = Dataset.from_list([ROW | {"gold": value}])
    rows = rows if feature is None else rows.cast_column("gold", feature)
    assert f"right answer: {shown}" in repr(preview(rows, gold_column="gold")).splitlines()
    assert unpack(report(rows, gold_column="gold").html)[1][0]["gold"] == shown


# what rows hold is text


def row_of(text: str) -> dict:
    return ROW | {
        "question": text,
        "scenario": text,
        "text": text,
        "hard_negatives": [text, text],
        "reasoning": text,
        "reasoning_answer": text,
        "reasoning_status": text,
        "reasoning_error": text,
    }


def structure(source: str) -> list[tuple[str, dict]]:
    """All elements and attributes but links, ids and the style of a status."""
    return [
        (tag, {name: value for name, value in attrs.items() if name not in ("id", "class")})
        for tag, attrs in Page(source).tags
        if tag != "a"
    ]


PLAIN = structure(preview(Dataset.from_list([row_of("plain")]))._repr_html_())
PIECES = [*ATTACKS, "[1]", "[2, 3]", "[", "<", "&", '"', "'", "`", "$x$"]
TEXTS = st.one_of(
    st.text(min_size=1, max_size=60),
    st.lists(st.sampled_from(PIECES), min_size=1).map("".join),
).filter(lambda text: all(not "\ud800" <= character <= "\udfff" for character in text))


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_no_text_makes_an_element_or_an_attribute(text):
    shown = preview(Dataset.from_list([row_of(text)]))
    source = shown._repr_html_()
    assert structure(source) == PLAIN
    page = Page(source)
    for tag, attrs in page.tags:
        if tag == "a":
            assert attrs.keys() == {"href"}
            assert attrs["href"].removeprefix("#") in page.by_id
    assert page.text.count(clean(text)) >= 7
    assert clean(source) == source  # no null byte, no bidi control
    assert clean(repr(shown)) == repr(shown)


def test_formulas_are_left_to_no_one():
    source = preview(Dataset.from_list([row_of(r"$\href{javascript:document.title='x'}{y}$")]))._repr_html_()
    assert '<div class="hf-rare tex2jax_ignore mathjax_ignore">' in source


def test_long_texts_are_cut_and_say_so():
    page = show(ROW | {"reasoning": "x" * 50_000})
    assert "... [30000 more characters]" in page.text


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_runs_nothing_and_shows_the_texts(tmp_path):
    source = preview(Dataset.from_list([row_of(text) for text in ATTACKS] + [ROW]), rows=99)._repr_html_()
    last = re.findall(r'href="#(.*?)"', source)[-2:]
    dom = browse(tmp_path, source, last[-1])
    assert re.findall("<title>(.*?)</title>", dom) == ["unchanged"]
    page = Page(dom)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "svg", "iframe", "object"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    for text in ATTACKS:
        assert page.text.count(clean(text)) >= 7
    assert [attrs for tag, attrs in page.tags if tag == "details" and "open" in attrs] == [{"open": ""}]
    assert f'<details open=""><summary>[3] No part is counted on Sundays.</summary><div id="{last[-1]}">' in dom


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_browser_would_show_an_attack_that_worked(tmp_path):
    for attack in ATTACKS[:3]:
        assert "<title>x</title>" in browse(tmp_path, attack)


def browse(folder, source: str, fragment: str = "") -> str:
    """Open a page in a browser, as if a link to the fragment had been followed, and give what has become of it."""
    path = folder / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>unchanged</title>{source}", encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=2000", "--dump-dom", f"{path.as_uri()}#{fragment}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
