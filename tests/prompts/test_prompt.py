from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_rare.errors import TemplateError
from hf_rare.prompts.prompt import build_prompt, get_template, shuffle_documents
from hf_rare.rows.row import Row
from hf_rare.settings.writers import DistillConfig

ROW = Row("Which tide?", "A boat lies in a harbour.", "positive text", ("first negative", "second negative"))
OPTIONS = Row("Which tide?", "", "positive text", ("first negative",), (("A", "ebb"), ("B", "flood")))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def content(row: Row, **settings) -> str:
    return build_prompt(row, DistillConfig(**settings)).messages[-1]["content"]


@pytest.mark.parametrize("template", DistillConfig.builtin_templates)
def test_builtin_templates_number_every_document_in_the_shuffled_order(template):
    prompt = build_prompt(ROW, DistillConfig(template=template))
    text = prompt.messages[0]["content"]
    for number, document in enumerate(prompt.document_order, start=1):
        assert f"[{number}] {ROW.documents[document]}" in text
    assert ROW.question in text
    assert (ROW.scenario in text) == (template != "plain")


def test_rare_asks_for_the_four_things():
    text = content(ROW)
    for words in ("essential problem", "Not all of them help", "cite", "by its number", "step by step", "answer"):
        assert words in text


def test_rare_qa_has_options_and_the_tags_that_are_parsed():
    text = content(OPTIONS, template="rare-qa", thought_tags=("[T]", "[/T]"))
    assert "A. ebb\nB. flood" in text
    assert "between [T] and [/T]" in text
    assert "between <answer> and </answer>" in text


def test_a_row_without_a_scenario_says_nothing_of_one():
    assert "Situation" not in content(Row("q", "", "t"))


def test_system_prompt_becomes_the_first_message():
    messages = build_prompt(ROW, DistillConfig(system_prompt="Be brief.")).messages
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[0]["content"] == "Be brief."


def test_own_template_from_source_and_from_a_file(tmp_path):
    source = "{{ question }}|{% for d in documents %}{{ d.number }}={{ d.text }};{% endfor %}{{ note }}"
    path = tmp_path / "own.jinja"
    path.write_text(source, encoding="utf-8")
    row = Row("q", "", "t", extra={"note": "extra"})
    settings = {"template_columns": ["note"]}
    assert content(row, template=source, **settings) == "q|1=t;extra"
    assert content(row, template=path, **settings) == "q|1=t;extra"
    assert content(row, template=str(path), **settings) == "q|1=t;extra"


def test_a_template_file_that_has_changed_is_read_anew(tmp_path):
    path, row = tmp_path / "own.jinja", Row("q", "", "t")
    for word in ("first", "second"):
        path.write_text(word + " {{ question }}")
        assert content(row, template=path) == f"{word} q"


def test_a_template_file_without_placeholders_is_refused(tmp_path):
    path = tmp_path / "empty.jinja"
    path.write_text("Answer the question.")
    with pytest.raises(TemplateError, match="has no placeholder"):
        get_template(DistillConfig(template=path))


def test_an_unknown_placeholder_is_named_with_what_exists():
    with pytest.raises(TemplateError, match=r"uses 'querry'; available are 'question', 'scenario', 'documents'"):
        get_template(DistillConfig(template="{{ querry }} {{ question }}"))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ question", "does not compile"),
        ("{% for %}", "does not compile"),
        ("{% for d in documents %}{{ d.title }}{% endfor %}", "'number' and 'text'"),
        ("{{ question.__class__.__mro__ }}", "unsafe"),
        ("{{ documents.append(1) }}", "unsafe|cannot be filled in"),
        ("{{ question / 2 }}", "cannot be filled in"),
        ("{% include 'x' %}", "cannot be filled in"),
        ("no-such-template", "rare, rare-qa, plain"),
        ("{{ documents | xmlattr }}", "cannot be filled in"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "cannot be filled in"),
    ],
)
def test_templates_that_cannot_be_used_are_refused_at_once(template, reason):
    with pytest.raises(TemplateError, match=reason):
        get_template(DistillConfig(template=template))


def test_jinja_in_a_row_is_text():
    text = content(Row("{{ 7 * 7 }}", "{% raw %}", "{{ question }}", ("{# comment #}",)))
    for words in ("{{ 7 * 7 }}", "{% raw %}", "{{ question }}", "{# comment #}"):
        assert words in text


def test_shortened_documents_stand_in_and_are_counted():
    prompt = build_prompt(ROW, DistillConfig(), {0: "short", 2: "cut"})
    text = prompt.messages[0]["content"]
    assert prompt.documents_truncated == 2
    assert "short" in text
    assert "cut" in text
    assert "first negative" in text
    assert "second negative" not in text


@given(TEXTS, TEXTS, TEXTS, st.lists(TEXTS, max_size=4), st.integers())
def test_any_text_arrives_and_the_order_is_a_permutation(question, scenario, positive, negatives, seed):
    row = Row(question, scenario, positive, tuple(negatives))
    prompt = build_prompt(
        row, DistillConfig(template="{{ question }}{% for d in documents %}{{ d.text }}{% endfor %}.", seed=seed)
    )
    assert sorted(prompt.document_order) == list(range(len(negatives) + 1))
    joined = question + "".join(row.documents[i] for i in prompt.document_order) + "."
    assert prompt.messages[0]["content"] == joined.strip()
    assert shuffle_documents(row, seed) == prompt.document_order


def test_the_order_depends_on_seed_and_content_and_is_even():
    rows = [Row(f"q{i}", "", "t", ("a", "b", "c")) for i in range(2000)]
    orders = [shuffle_documents(row, 0) for row in rows]
    positions = Counter(order.index(0) for order in orders)
    assert all(420 < positions[place] < 580 for place in range(4))  # 500 each, four standard deviations
    assert len({tuple(order) for order in orders}) == 24
    assert orders != [shuffle_documents(row, 1) for row in rows]
    # written down: another order would change every dataset that was made before
    assert orders[:3] == [[1, 3, 0, 2], [1, 2, 0, 3], [0, 3, 2, 1]]
