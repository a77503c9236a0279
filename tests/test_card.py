import yaml
from huggingface_hub import DatasetCard

from hf_rare import ReasonDistiller, build_card


def test_the_card_says_how_the_rows_were_made(rows, tiny):
    distill_fn = ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=4, seed=5, system_prompt="Be brief.", generation_kwargs={"temperature": 0.5}
    )
    card = build_card(distill_fn.apply(rows), distill_fn, pretty_name="My rows", license="mit", language="en")
    data = DatasetCard(card).data.to_dict()
    assert data["pretty_name"] == "My rows"
    assert data["license"] == "mit"
    assert data["language"] == "en"
    assert data["size_categories"] == ["n<1K"]
    for words in (
        "| revision | local-",
        "| seed | 5 |",
        "| system_prompt | Be brief. |",
        "| temperature | 0.5 |",
        "| max_new_tokens | 4 |",
        "essential problem",
        "| `reasoning_document_order` | list of int64 |",
        "| traces `truncated` |",
        "2503.23513",
        "2504.20595",
    ):
        assert words in card, words
    assert tiny not in card


def test_what_is_unknown_is_said_and_not_guessed(rows):
    card = build_card(rows)
    header = yaml.safe_load(card.split("---")[1])
    assert "license" not in header
    assert "language" not in header
    assert "How these rows were made was not recorded." in card
    assert "6 rows." in card


def test_a_card_of_columns_that_are_gone(rows, distill_fn):
    card = build_card(distill_fn.apply(rows).remove_columns("reasoning_prompt_tokens"), distill_fn)
    assert "6 rows." in card
    assert "prompt tokens" not in card


def test_a_template_cannot_break_the_card(rows, tiny):
    template = "```` </details> {{ question }} | x\n{% for d in documents %}{{ d.text }}{% endfor %}"
    distill_fn = ReasonDistiller.from_pretrained(tiny, max_new_tokens=4, template=template, system_prompt="a | b\n<b>")
    card = build_card(rows, distill_fn)
    assert "`````jinja\n```` </details>" in card
    assert "| system_prompt | a \\| b &lt;b> |" in card
    assert "| template | custom, see below |" in card
