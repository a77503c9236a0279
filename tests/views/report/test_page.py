"""A report in a real browser: what is clicked and pressed does what the page says, and what rows hold does nothing."""

import json
import time
from pathlib import Path

import pytest
from datasets import Dataset

from benchmarks.browser import CHROMIUM, Browser
from hf_rare import report
from hf_rare.text import clean
from tests.support.report_pages import QUOTED, ROW, make_rows, make_samples
from tests.views.test_preview import ATTACKS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]

LISTED = "[...document.querySelectorAll('.item .under')].map((item) => item.firstChild.textContent.trim())"
CHOSEN = "document.querySelector('.item[aria-selected=true] .under').textContent.split(' ')[0]"
MARKED = "[...document.querySelectorAll('mark')].map((mark) => mark.textContent)"


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(autouse=True)
def nothing_is_said(browser):
    """No error of a script, nothing that the policy of the page had to forbid, and no request but for the page."""
    browser.said.clear()
    browser.asked.clear()
    browser.emulate(1400, 900)
    yield
    assert browser.said == []
    assert {address.partition(":")[0] for address in browser.asked} <= {"file", "about", "blob"}


def show(browser: Browser, made, folder: Path, address: str = "view=rows") -> None:
    path = folder / "report.html"
    made.save(path)
    browser.open(f"{path.as_uri()}#{address}")
    browser.wait_for("document.body.dataset.isWhole")


def settle(browser: Browser) -> None:
    """Wait until what has been done is drawn."""
    browser.run("new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done)), 200))")


def click(browser: Browser, selector: str) -> None:
    """Click on an element that is seen."""
    browser.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
    settle(browser)
    place = browser.run(
        f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
        " return [box.left + Math.min(12, box.width / 2), box.top + Math.min(8, box.height / 2)]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)
    settle(browser)


def press(browser: Browser, *keys: str) -> None:
    for key in keys:
        browser.press(key)
    settle(browser)


def test_a_number_leads_to_the_rows_that_it_counts_and_back(browser, tmp_path):
    show(browser, report(make_rows()), tmp_path, "")
    assert browser.run("document.getElementById('rows').hidden")
    click(browser, ".tiles a[href*='truncated']")
    assert browser.run(LISTED) == ["loop", "cut"]
    assert browser.run(CHOSEN) == "loop"
    assert browser.run("document.getElementById('found').textContent") == "2 of 7"
    assert browser.run("document.querySelector('#queue').value") == "status/truncated"
    browser.run("history.back()")
    settle(browser)
    assert not browser.run("document.getElementById('overview').hidden")
    click(browser, "figure a")  # a bar of the plot
    assert browser.run("location.hash").startswith("#view=rows&f=here%3Atokens%2F6")
    assert "loop" not in browser.run(LISTED)


def test_all_rows_are_listed_from_the_overview_whatever_was_listed_before(browser, tmp_path):
    show(browser, report(make_rows()), tmp_path, "")
    click(browser, "nav a[data-view=rows]")
    assert len(browser.run(LISTED)) == 7
    assert browser.run(CHOSEN) == browser.run(LISTED)[0]
    click(browser, "nav a[data-view=overview]")
    click(browser, ".tiles a[href*='truncated']")
    assert browser.run(LISTED) == ["loop", "cut"]
    click(browser, "nav a[data-view=overview]")
    click(browser, "nav a[data-view=rows]")
    assert len(browser.run(LISTED)) == 7
    assert browser.run("document.getElementById('found').textContent") == "7 of 7"


def test_filters_of_one_kind_widen_and_of_different_kinds_narrow(browser, tmp_path):
    show(browser, report(make_rows()), tmp_path, "view=rows&f=here:verdict/wrong")
    assert browser.run(LISTED) == ["loop", "cut", "astray", "long"]
    browser.run("document.querySelector('#add').value = 'here:status/ok'")
    browser.run("document.querySelector('#add').dispatchEvent(new Event('change'))")
    settle(browser)
    assert browser.run(LISTED) == ["astray"]
    browser.run("location.hash = 'view=rows&f=here:verdict/wrong&f=here:status/ok&f=here:status/truncated'")
    settle(browser)
    assert browser.run(LISTED) == ["loop", "cut", "astray"]
    click(browser, "#chips button")
    assert browser.run(LISTED) == ["harbour", "loop", "cut", "astray", "shortened", "unchecked"]
    browser.run("location.hash = 'view=rows&f=here:status/none-such'")
    settle(browser)
    assert browser.run(LISTED) == []
    assert browser.run("document.getElementById('row').textContent") == "No row has all of this."


def test_a_trace_must_have_all_that_is_asked_for(browser, tmp_path):
    show(browser, report(make_samples()), tmp_path, "view=rows&f=here:status/ok&f=here:verdict/right")
    assert browser.run(LISTED) == ["turned"]
    assert browser.run("document.querySelector('[role=tab][aria-selected=true]').textContent") == "2 right"
    browser.run("location.hash = 'view=rows&f=here:status/truncated&f=here:verdict/right'")
    settle(browser)
    assert browser.run(LISTED) == []


def test_the_search_looks_into_all_texts(browser, tmp_path):
    show(browser, report(make_rows()), tmp_path)
    press(browser, "/")
    browser.call("Input.insertText", text="PAINTED IN spring?")
    settle(browser)
    assert browser.run(LISTED) == ["unchecked"]  # its question
    for words, found in (("token limit", ["cut"]), ("painted in spring.", 7), ("(", []), ("🚣🚣", ["unchecked"])):
        browser.run(f"location.hash = 'view=rows&q={words}'")
        settle(browser)
        listed = browser.run(LISTED)
        assert (len(listed) if isinstance(found, int) else listed) == found, words
    press(browser, "Escape", "Escape")
    assert len(browser.run(LISTED)) == 7
    assert browser.run("document.querySelector('#search').value") == ""


def test_queues_are_walked_and_marks_given_with_the_keyboard(browser, tmp_path):
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    made = report(make_rows(), marks=["keep", "drop"], title="Harbours")
    show(browser, made, tmp_path)
    browser.run("localStorage.clear()")
    show(browser, made, tmp_path)
    press(browser, "j", "2", "j", "j", "1", "j", "3", "k", "k", "1", "0")
    assert browser.run(CHOSEN) == "cut"
    press(browser, "j", "j", "j", "j", "j", "j", "2", "j")
    assert browser.run(CHOSEN) == "drop"  # the mark stands before the key of the last row
    browser.run("document.querySelector('#queue').value = 'marked'")
    browser.run("document.querySelector('#queue').dispatchEvent(new Event('change'))")
    settle(browser)
    assert len(browser.run(LISTED)) == 3
    click(browser, "#export")
    file = tmp_path / "marks.json"
    for _ in range(100):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.1)
    marked = json.loads(file.read_text())
    assert marked == {
        "title": "Harbours",
        "key_column": "id",
        "rows": {"keep": {"train": [3]}, "drop": {"train": [1, 6]}},
        "keys": {"keep": ["astray"], "drop": ["loop", "unchecked"]},
    }
    assert make_rows().select(marked["rows"]["drop"]["train"])["id"][:] == ["loop", "unchecked"]
    show(browser, made, tmp_path, "view=rows&f=marked:")
    assert len(browser.run(LISTED)) == 3  # they are there when the page is opened again
    browser.run("localStorage.clear()")


def test_a_list_of_marked_rows_is_what_is_marked_when_it_is_seen(browser, tmp_path):
    show(browser, report(make_rows()), tmp_path, "view=rows&f=marked:&at=0")
    assert browser.run(LISTED) == []
    press(browser, "1")
    browser.run("location.hash = 'view=overview'")
    settle(browser)
    browser.run("location.hash = 'view=rows&f=marked:'")
    settle(browser)
    assert len(browser.run(LISTED)) == 1
    press(browser, "0", "o")
    browser.run("history.back()")
    settle(browser)
    assert browser.run(LISTED) == []
    browser.run("localStorage.clear()")


def test_what_was_searched_before_the_texts_were_there_is_searched_again(browser, tmp_path):
    path = tmp_path / "report.html"
    report(make_rows()).save(path)
    browser.open(f"{path.as_uri()}#view=rows&q=painted in spring.")
    browser.run("location.hash = 'view=overview'")
    browser.wait_for("document.body.dataset.isWhole")
    browser.run("history.back()")
    settle(browser)
    assert len(browser.run(LISTED)) == 7
    assert browser.run("document.getElementById('found').textContent") == "7 of 7"


def test_keys_are_shown_and_lead_to_the_overview(browser, tmp_path):
    show(browser, report(make_rows()), tmp_path)
    press(browser, "?")
    assert browser.run("document.querySelector('dialog').open")
    browser.run("document.querySelector('dialog').close()")
    press(browser, "o")
    assert not browser.run("document.getElementById('overview').hidden")
    press(browser, "r")
    assert not browser.run("document.getElementById('rows').hidden")


def test_citations_lead_to_documents_and_quotes_are_marked_on_both_sides(browser, tmp_path):
    show(browser, report(make_rows()), tmp_path)
    links = "[...document.querySelectorAll('.citation')].map((link) => [link.textContent, link.dataset.document])"
    assert browser.run(links) == [["2", "1"], ["3", "2"]]  # there is no [9]
    assert browser.run(MARKED) == [QUOTED, QUOTED]
    documents = "[...document.querySelectorAll('.document')].map((one) => one.className.includes('positive'))"
    assert browser.run(documents) == [False, True, False]
    assert browser.run("document.querySelector('.document.positive').textContent").startswith("[2]positive")
    click(browser, ".citation")
    assert browser.run("document.querySelector('.flash').id") == "document-1"
    assert browser.run("document.querySelector('.trace').textContent") == ROW["reasoning"]


def test_quotes_are_found_whatever_their_case_and_not_what_the_question_says(browser, tmp_path):
    words = "one two three four five six seven eight"
    asked = "what was said in the question is no quote at all"
    rows = [
        ROW | {"reasoning": f"So: {words.upper()}; nine. {asked} here 灯は夜に港で燃え続ける。", "question": asked,
               "text": f"{words}, nine, ten. {asked} there 灯は夜に港で燃え続ける", "hard_negatives": [f"x{words}x"],
               "reasoning_document_order": [0, 1]},
    ]  # fmt: skip
    show(browser, report(Dataset.from_list(rows)), tmp_path)
    assert browser.run(MARKED) == [
        f"{words}, nine", "灯は夜に港で燃え続ける", f"{words.upper()}; nine", "灯は夜に港で燃え続ける",
    ]  # fmt: skip


def test_traces_are_tabs_with_their_evidence(browser, tmp_path):
    show(browser, report(make_samples()), tmp_path)
    head = "document.querySelector('.document.positive header').textContent"
    assert browser.run("document.querySelector('.trace').textContent") == "Only [3] is about boats."
    assert "0.5 nats of evidence" in browser.run(head)
    press(browser, "]", "]")
    assert browser.run("document.querySelector('.trace').textContent") == ROW["reasoning"]
    assert "7 nats of evidence" in browser.run(head)
    press(browser, "[")
    assert browser.run("document.querySelector('.trace').textContent") == "Only [3] is about boats."


def test_two_datasets_stand_side_by_side(browser, tmp_path):
    rows = make_rows()
    other = Dataset.from_list(
        [row | {"reasoning": "See [1].", "reasoning_document_order": [0, 1, 2]} for row in rows.to_list()[:2]]
    )
    show(browser, report(rows, compare=other, names=("small", "<i>large</i>")), tmp_path)
    titles = "[...document.querySelectorAll('.traces h3')].map((one) => one.textContent)"
    assert browser.run(titles) == ["small", "<i>large</i>"]
    assert browser.run("[...document.querySelectorAll('.traces')].at(-1).querySelector('a').dataset.document") == "1"
    browser.run("location.hash = 'view=rows&f=other:status/truncated'")
    settle(browser)
    assert browser.run(LISTED) == ["loop"]
    browser.run("location.hash = 'view=rows&f=here:change/only_here'")
    settle(browser)
    assert len(browser.run(LISTED)) == 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 900, 360])
def test_it_reads_in_light_and_dark_and_on_narrow_screens(browser, tmp_path, scheme, width):
    browser.emulate(width, 800, scheme)
    made = report(make_rows(), compare=make_rows(), title="A title of some length for a narrow screen")
    for view in ("overview", "rows", "made"):
        show(browser, made, tmp_path, f"view={view}")
        settle(browser)
        assert browser.run("document.documentElement.scrollWidth") <= width, view
    show(browser, made, tmp_path)
    settle(browser)
    colours = browser.run(
        "(() => { const light = (text) => text.match(/\\d+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0);"
        " return [...document.querySelectorAll('#row .text, .item div, h1, #found, .tag, mark, button')]"
        ".map((one) => { let at = one;"
        " while (getComputedStyle(at).backgroundColor === 'rgba(0, 0, 0, 0)') at = at.parentNode;"
        " return [light(getComputedStyle(one).color), light(getComputedStyle(at).backgroundColor)]; }); })()"
    )
    assert len(colours) > 20
    for ink, paper in colours:
        assert abs(ink - paper) > 150
    papers = [paper for _, paper in colours]
    assert (max(papers) < 400) if scheme == "dark" else (min(papers) > 400)


def test_rows_that_attack_do_nothing_and_are_shown(browser, tmp_path):
    def hostile(text: str) -> dict:
        row = {name: text if isinstance(value, str) else value for name, value in ROW.items()}
        return row | {"hard_negatives": [text, text], "id": text}

    attacks = [*ATTACKS, "</script><script>document.title='x'</script>", "javascript:document.title='x'"]
    dataset = Dataset.from_list([hostile(text) for text in attacks])
    made = report(dataset, compare=dataset, title=attacks[0], marks=attacks[:3], names=attacks[1:3])
    show(browser, made, tmp_path)
    for text in attacks:
        said = browser.run("document.getElementById('row').textContent")
        assert clean(text) in said
        press(browser, "1", "j")
    show(browser, made, tmp_path, f"view=rows&q={attacks[1]}&f=here:{attacks[2]}&at=x")
    press(browser, "Escape", "o")
    tags = set(browser.run("[...document.querySelectorAll('*')].map((one) => one.localName)"))
    assert not tags & {"img", "iframe", "object", "embed", "base"}
    for links, name in (("svg a", "xlink:href"), ("a[href]", "href")):
        places = browser.run(f"[...document.querySelectorAll('{links}')].map((one) => one.getAttribute('{name}'))")
        assert places
        assert all(place.startswith("#") for place in places)
    assert browser.run("document.title") == clean(attacks[0])
    assert browser.run("document.querySelectorAll('script').length") == 1


def test_a_script_that_a_row_could_bring_in_would_be_forbidden(browser, tmp_path):
    show(browser, report(make_rows()), tmp_path)
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
    browser.run("document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))")
    settle(browser)
    assert browser.run("document.title") == "Distilled rows"
    assert any("Content Security Policy" in text for text in browser.said)
    browser.said.clear()


def test_ten_thousand_rows_are_a_short_list_in_the_page(browser, tmp_path):
    rows = make_rows().to_list()
    many = Dataset.from_list([row | {"id": f"{row['id']}-{i}"} for i in range(300) for row in rows])
    show(browser, report(many), tmp_path)
    assert browser.run("document.querySelectorAll('.item').length") < 40
    browser.run("document.getElementById('list').scrollTop = 1e9")
    settle(browser)
    assert browser.run(LISTED)[-1] == "unchecked-299"
    press(browser, "k")
    assert browser.run(CHOSEN) == "harbour-0"
    browser.run("location.hash = 'view=rows&at=2000'")
    settle(browser)
    assert browser.run(CHOSEN) == "long-285"
