"""A card stays a card, whatever rows, recipes and their settings hold."""

import re
from functools import cache

import pytest
from datasets import Dataset, Features, List, Value
from huggingface_hub import DatasetCard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hf_rare import build_card
from hf_rare.hub.card.header import split_header
from hf_rare.hub.card.merge import find_blocks
from hf_rare.hub.card.provenance import without_folders
from hf_rare.settings.writers import DistillConfig
from tests.conftest import REPOSITORY
from tests.support.distilled import OF_DISTILLERS, recipe


def test_columns_that_are_gone_or_of_another_type(distilled):
    card = build_card(distilled.remove_columns(["reasoning_prompt_tokens", "reasoning_document_order"]), recipe())
    assert "| prompt tokens" not in card
    assert "| documents in a prompt" not in card
    assert "| tokens of a trace" in card
    odd = Dataset.from_dict({"reasoning": [1.5], "reasoning_status": [None], "reasoning_positive_position": ["first"]})
    card = build_card(odd, {"kind": "questions", "distill": "?", "versions": [], "identity": None})
    assert "Tokens, lengths and positions are not known" in card
    assert "The prompt template was not recorded." in card


MODEL = ("model_id", "revision", "adapter", "adapter_revision", "generation_config")
ODD = [None, 3, "?", [], {}, [["a"]], {"a": {}}, True]


@pytest.mark.parametrize("kind", ["distill", "questions", "negatives", "judge", "other", None, 3, ["distill"], {}])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_no_recipe_of_a_stranger_breaks_the_card(distilled, kind, odd):
    names = ("model", "identity", "decoding", "versions", "command", "hf_rare", "generation_revision")
    names += ("judge", "stages")
    stages = [
        {"stage": "negatives", "settings": odd},
        {"stage": "verify", "settings": {"gold_column": odd, "check": odd}},
        {"stage": "retrieval", "settings": {"corpus": odd}},
        {"stage": odd, "kind": kind, str(kind): odd},
        {"stage": odd},
        odd,
    ]
    small = distilled.select([0])
    for said in (
        {"kind": kind},
        {"kind": kind, **dict.fromkeys(names, odd), str(kind): odd},
        {"kind": kind, "stages": stages},
        {"kind": kind, str(kind): dict.fromkeys(DistillConfig.names(), odd), "model": dict.fromkeys(MODEL, odd)},
    ):
        card = build_card(small, said, recipe_path="recipe.json", repo_id="me/rare")
        if not isinstance(kind, str) or kind == "other":
            assert "What a model was given to make these rows is not known here." in card
            assert "from_recipe" not in card
            assert not [words for words in OF_DISTILLERS if words in card]


def test_old_recipes_and_paths(distilled):
    said = recipe(hf_rare="0.0.1", command=None)
    card = build_card(distilled, said)
    assert "The text of the prompt template `rare` was not recorded." in card
    assert "The command was not recorded." in card
    said["distill"]["template"] = str(REPOSITORY / "hf_rare" / "templates" / "rare.jinja")
    assert "essential problem, weigh" not in build_card(distilled, said)
    assert "Find the essential problem" not in build_card(distilled, said)
    assert "The text of the prompt template `rare.jinja` was not recorded." in build_card(distilled, said)
    assert "python" not in build_card(distilled, recipe(versions=None)).split("### Columns")[0]


def test_folders_and_tokens_stay_out_of_the_card(distilled):
    said = recipe(command="hf-rare distill /home/anna/q.parquet --output=~/x/traces --token hf_abcdefghijklmnopqrstu")
    said["identity"]["model_id"] = "/srv/secret/teacher"
    card = build_card(distilled, said)
    assert "hf-rare distill q.parquet --output=traces --token hf_..." in card
    assert "/srv" not in card
    assert "anna" not in card
    for harmless in ("https://host/a/b", "me/data", "a/b.parquet", "</think>"):
        assert without_folders(harmless) == harmless


def test_huge_texts_and_many_columns_are_cut():
    features = Features({f"column {i}": Value("string") for i in range(300)} | {"reasoning": List(Value("string"))})
    row = {name: ["y" * 100_000] * 100 if name == "reasoning" else "x" * 100_000 for name in features}
    card = build_card(Dataset.from_list([row], features=features), recipe(command="z" * 100_000))
    assert len(card.split("<!-- hf_rare")[1]) < 250_000
    assert "| 201 more |" in card
    assert "[98800 more characters]" in card


LINES = r"""
``` ```` ~~~ --- | \| \ ` <!-- --> <script> </pre> </details> <b> </b> &lt; &#96; # {# {{x}} {%y%} *a* __a__ _ $x$ = -
[a](http://b) ![a](b) [a]: www.a.b http://a.b <http://a.b> a@b.c key:value 1. > + \n' " é 漢 😀 ![ ]( )
"""
FRAGMENTS = st.sampled_from(
    [
        *LINES.split(),
        *(
            "\n---\n",
            "\n",
            "\r\n",
            "\r",
            "\t",
            "    ",
            " ",
            "\n\n# Head\n",
            "<!-- /hf_rare -->",
            "\n<!-- /hf_rare -->\n",
        ),
        *(
            "\n<!-- hf_rare: config default -->\n",
            "\0",
            "\x1b[31m",
            "\u202e",
            "\u2067",
            "\u2028",
            "\x85",
            "\ufeff",
            "\n- ",
        ),
    ]
)
NASTY = st.lists(FRAGMENTS | st.text(max_size=8), max_size=12).map("".join)


def _skeleton(card: str) -> list[str]:
    """Return the structure of a card as a renderer sees it: everything but texts."""
    skeleton = []
    for token in MarkdownIt("gfm-like", {"html": True}).disable("linkify").parse(card.partition("\n---\n")[2]):
        skeleton.append(token.type)
        if token.type == "html_block":
            skeleton.append(token.content)
        skeleton += [child.type for child in token.children or [] if child.type not in TEXTS]
    return skeleton


TEXTS = ("text", "code_inline", "text_special", "html_inline", "softbreak")


def _nasty_card(text: str) -> str:
    text = f"x{text}"  # an empty column has no lengths to tell
    row = {"question": text, "text": text, "hard_negatives": [text, text], "scenario": text, "reasoning": text}
    row |= {"reasoning_verdict": "right"}
    features = Features({**dict.fromkeys(row, Value("string")), "hard_negatives": List(Value("string"))})
    said = recipe(command=f"run {text}", versions={f"p{text}": text + "1"})
    said["distill"] |= {"system_prompt": f"p{text}", "template": "{{ question }} " + text}
    said["identity"] |= {"model_id": f"p{text}", "revision": f"p{text}", "generation_config": {"a": [text]}}
    corpus = {"name": f"c{text}", "split": f"s{text}", "rows": 3}
    said["stages"] = [
        {"stage": "negatives", "settings": {f"a{text}": text, "method": f"m{text}", "corpus": corpus}},
        {"stage": f"q{text}", "kind": "questions", "questions": {"system_prompt": f"p{text}", "template": f"t{text}"}},
        {"stage": "verify", "settings": {"gold_column": f"g{text}", "check": f"c{text}"}},
    ]
    return build_card(
        Dataset.from_list([row], features=features),
        said,
        pretty_name=f"Title {text}",
        license=f"l{text}",
        source_datasets=[f"s{text}"],
    )


@cache
def _harmless_skeleton() -> list[str]:
    return _skeleton(_nasty_card("a"))


OWN_TAGS = {f"<{end}{tag}>" for end in ("", "/") for tag in ("code", "details", "summary")} | {
    "<!-- hf_rare: config default -->",
    "<!-- /hf_rare -->",
    "<assets/statistics.png>",
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NASTY)
def test_no_text_can_break_the_card(text):
    text = text.encode("utf-8", "replace").decode()
    card = _nasty_card(text)
    assert _skeleton(card) == _harmless_skeleton()
    assert list(find_blocks(card)) == ["default"]
    outside = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", split_header(card)[1])
    assert set(re.findall(r"<(?!https:)[!/?a-zA-Z][^>]*>?", re.sub(r"`[^`\n]*`", "", outside))) <= OWN_TAGS
    data = DatasetCard(card).data.to_dict()
    assert data["pretty_name"].startswith("Title")
    assert not re.search("[\0\x1b\u202e\u2067\u2028\ufeff]", card)
    card.encode("utf-8")
