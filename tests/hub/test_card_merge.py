"""Cards of several configs and several hands in one repository."""

import re
from collections import Counter
from types import SimpleNamespace

import pytest
import yaml
from datasets import Dataset, load_dataset
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare import build_card
from hf_rare.errors import ConfigError
from hf_rare.hub.card.header import merge_headers, read_header, split_header
from hf_rare.hub.card.merge import CLOSING_MARKER, NO_LICENCE, find_blocks, merge_cards, opening_marker

ROWS = Dataset.from_dict({"question": ["Why?", "How?"], "text": ["So.", "Thus."], "reasoning": ["One.", "Two."]})


def _card(config_name="default", *splits, dataset=ROWS, **given) -> str:
    splits = splits or ("train",)
    folder = "data" if config_name == "default" else config_name
    return build_card(
        dataset,
        config_name=config_name,
        splits={name: SimpleNamespace(num_rows=len(dataset), num_bytes=100) for name in splits},
        data_files={name: f"{folder}/{name}-*" for name in splits},
        **given,
    )


def _header(card: str) -> dict:
    return read_header(split_header(card)[0])


HAND_WRITTEN = """---
# the lawyers chose this
license: cc-by-4.0   # really
tags: [law, reasoning]
language:
  - "no"
pretty_name: 'By hand'
extra: {a: 1}

# the end
---
# By hand

Some words.
<!-- a comment -->
```
code
```
last line without an end"""

FROM_DATASETS = """---
dataset_info:
  features:
  - name: x
    dtype: int64
  splits:
  - name: train
    num_bytes: 8
    num_examples: 1500
  download_size: 1
  dataset_size: 8
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
---
"""


def test_a_repository_without_a_card_gets_the_new_one():
    assert merge_cards("", _card()) == _card()
    assert merge_cards("\ufeff\n \n", _card()) == _card()
    assert merge_cards(_card(), _card()) == _card()


def test_each_config_keeps_its_part():
    law, medicine = _card("law", pretty_name="Law", license="mit"), _card("medicine", pretty_name="Medicine")
    both = merge_cards(law, medicine)
    assert list(find_blocks(both)) == ["law", "medicine"]
    assert both.count("\n# ") == both.count("## Citation") == both.count("## Loading") == 1
    assert _header(both)["pretty_name"] == "Law"
    data = DatasetCard(both).data
    assert list(MetadataConfigs.from_dataset_card_data(data)) == ["law", "medicine"]
    assert set(DatasetInfosDict.from_dataset_card_data(data)) == {"law", "medicine"}
    more = _card("law", dataset=ROWS.select([0]))
    again = merge_cards(both, more)
    assert "1 row in `train`" in again
    assert again.replace("1 row in", "2 rows in").count("2 rows in") == 2
    assert [info.splits["train"].num_examples for info in _infos(again).values()] == [1, 2]
    assert list(find_blocks(again)) == ["law", "medicine"]


def _infos(card: str) -> DatasetInfosDict:
    return DatasetInfosDict.from_dataset_card_data(DatasetCard(card).data)


def test_two_configs_load_from_one_folder(tmp_path):
    for folder, rows in (("data", ROWS), ("law", ROWS.select([1]))):
        (tmp_path / folder).mkdir()
        rows.to_parquet(tmp_path / folder / "train-0.parquet")
    merged = merge_cards(_card(), _card("law", dataset=ROWS.select([1])))
    (tmp_path / "README.md").write_text(merged, encoding="utf-8")
    assert load_dataset(str(tmp_path), split="train").to_list() == ROWS.to_list()
    assert load_dataset(str(tmp_path), "law", split="train").to_list() == [ROWS[1]]


def test_what_a_person_wrote_stays_byte_for_byte():
    merged = merge_cards(HAND_WRITTEN, _card(license="mit", language="en", source_datasets=["a/b"]))
    body = HAND_WRITTEN.split("\n---\n", 1)[1]
    assert split_header(merged)[1].startswith(body + "\n\n" + opening_marker("default"))
    assert merged.endswith(CLOSING_MARKER + "\n")
    for line in HAND_WRITTEN.split("\n---\n")[0].splitlines():
        if not line.startswith("tags"):
            assert line + "\n" in merged
    header = _header(merged)
    assert header["license"] == "cc-by-4.0"
    assert header["language"] == ["no"]
    assert header["pretty_name"] == "By hand"
    assert header["tags"][:2] == ["law", "reasoning"]
    assert "hf_rare" in header["tags"]
    assert header["source_datasets"] == ["a/b"]
    assert header["size_categories"] == ["n<1K"]
    assert merge_cards(merged, _card(license="mit")) == merged


def test_words_written_around_the_parts_stay():
    card = merge_cards(_card("law"), _card("medicine"))
    edited = card.replace("## Citation", "## Thanks\n\nTo all.\n\n## Citation").replace(
        opening_marker("medicine"), "Between the two.\n\n" + opening_marker("medicine")
    )
    merged = merge_cards(edited, _card("law", dataset=ROWS.select([0])))
    old, new = find_blocks(edited)["law"], find_blocks(merged)["law"]
    assert edited[: old[0]].split("---\n", 2)[2] == merged[: new[0]].split("---\n", 2)[2]
    assert edited[old[1] :] == merged[new[1] :]


def test_a_card_from_datasets_itself_gets_the_whole_text():
    merged = merge_cards(FROM_DATASETS, _card("law"))
    assert "## Citation" in merged
    assert {name: info.splits["train"].num_examples for name, info in _infos(merged).items()} == {
        "default": 1500,
        "law": 2,
    }
    assert _header(merged)["size_categories"] == ["1K<n<10K"]
    assert merge_cards(merged, _card("law")) == merged


def test_splits_are_merged():
    test = _card("default", "test", dataset=ROWS.select([0]))
    train = _card("default", "train").replace("  dataset_size:", "  download_size: 50\n  dataset_size:")
    assert _header(train)["dataset_info"]["download_size"] == 50
    merged = merge_cards(train, test)
    (config,) = _header(merged)["configs"]
    assert [files["split"] for files in config["data_files"]] == ["train", "test"]
    info = _header(merged)["dataset_info"]
    assert [split["num_examples"] for split in info["splits"]] == [2, 1]
    assert info["dataset_size"] == 200
    assert "download_size" not in info
    assert merge_cards(merged, test) == merged


def test_other_shapes_of_the_header():
    listed = "---\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n  default: true\n- config_name: b\n"
    listed += "  data_dir: b\nsize_categories: 10K<n<100K\n---\ntext\n"
    header = _header(merge_cards(listed, _card()))
    assert header["configs"][0]["default"] is True
    assert header["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    assert header["configs"][1] == {"config_name": "b", "data_dir": "b"}
    assert header["size_categories"] == "10K<n<100K"  # how large `b` is, is not known
    for text in ("---\n{license: mit, tags: [a]}\n---\n", "---\nx: &a [1]\ntags: &b [t]\ny: *b\n---\n", "---\n---\n"):
        merged = merge_cards(text + "words", _card())
        assert set(read_header(text.split("---\n")[1])) <= set(_header(merged))
        assert merged.endswith("\n")
        assert "words\n" in merged
        assert merge_cards(merged, _card()) == merged
    assert merge_cards("no header", _card()).startswith("---\npretty_name")


LISTS_OF_PEOPLE = [
    "tags:\n- no\n- on   # mine\n# before license\nlicense: mit\n",
    "tags:\n  - no  # first\n\n  # a word\n  - 'a'\nlicense: mit",
    "tags: [no, 'a']  # mine\nlicense: mit\n",
    "tags: [no,\n  b, # mine\n]\nlicense: mit\n",
    "tags: [no,]\n",
    "tags: solo  # mine\nlicense: mit\n",
    "tags:   \n-   no\n-   b\n",
    "license: mit\ntags: 'a'",
    "tags:\r\n- no # mine\r\nlicense: mit\r\n",
    "tags:\n- |\n  long\n  word\nlicense: mit\n",
    "tags: >\n  folded\nlicense: mit\n",
]


@pytest.mark.parametrize("text", LISTS_OF_PEOPLE)
def test_what_people_wrote_into_a_united_list_stays(text):
    merged = merge_headers(text, "tags:\n- rag\n- 'yes'\n- v1\n")
    before, after = yaml.safe_load(text)["tags"], yaml.safe_load(merged)["tags"]
    assert after == [*(before if isinstance(before, list) else [before]), "rag", "yes", "v1"]
    words = [re.sub(r"[\[\],]", " ", line).split() for line in text.replace("tags:", "").splitlines()]
    kept = re.sub(r"[\[\],]", " ", merged).split()
    assert Counter(word for line in words for word in line) <= Counter(kept)
    assert merge_headers(merged, "tags: [rag, 'yes', v1]") == merged


def test_windows_line_ends_stay():
    merged = merge_cards(HAND_WRITTEN.replace("\n", "\r\n"), _card())
    assert "\n" not in merged.replace("\r\n", "")
    assert merge_cards(merged, _card()) == merged
    assert "\n" not in (again := merge_cards(merged, _card("law"))).replace("\r\n", "")
    assert list(find_blocks(again)) == ["default", "law"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("---\nlicense: [\n---\ntext", "cannot be read"),
        ("---\n- a\n---\ntext", "is a list"),
        ("---\na: 1\na: 2\n---\ntext", "has 'a' twice"),
        ("---\nlicense: mit\ntext", "never ends"),
        ("---\nconfigs: 3\n---\ntext", "'configs'"),
        ("---\na: \x00\n---\ntext", "cannot be read"),
        ("text\n<!-- hf_rare: config a -->\nmore", "has lost its end"),
        ("<!-- hf_rare: config a -->\n<!-- hf_rare: config b -->\n<!-- /hf_rare -->\n", "has lost its end"),
        ("<!-- hf_rare: config a -->\n<!-- /hf_rare -->\n" * 2, "two generated parts"),
    ],
)
def test_what_cannot_be_merged_is_never_overwritten(text, words):
    with pytest.raises(ConfigError, match=words):
        merge_cards(text, _card())


SHOWN = """What a card looks like:

```markdown
<!-- hf_rare: config default -->
generated
<!-- /hf_rare -->
```

~~~
<!-- hf_rare: config law -->
<!-- /hf_rare -->
~~~
"""


def test_what_a_person_shows_in_code_stays():
    card = merge_cards(SHOWN, _card())
    assert card.count(SHOWN) == 1
    assert merge_cards(card, _card()) == card
    both = merge_cards(card, _card("law"))
    assert both.count(SHOWN) == 1
    assert set(find_blocks(both)) == {"default", "law"}


@pytest.mark.timeout(60)
def test_cards_of_any_size_are_read_in_bounded_time():
    fences = "~~~x\n" * 200_000
    assert find_blocks(fences) == {}
    assert find_blocks("```\n" * 200_000) == {}
    many = "".join(f"{opening_marker(str(i))}\n{CLOSING_MARKER}\n" for i in range(20_000))
    assert len(find_blocks(many)) == 20_000


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(f'*{chr(ord(name) - 1)}' for _ in range(9))}]\n" for name in "bcdefghi"
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "header",
    [BOMB, "a: &a [*a]", "a: " + "x" * 10_000_000, "a: " + "[" * 5000 + "]" * 5000, "- " * 5000],
    ids=["bomb", "recursion", "10 MB", "deep", "deep lists"],
)
def test_headers_that_would_take_for_ever_are_an_error(header):
    with pytest.raises(ConfigError):
        merge_cards(f"---\n{header}\n---\ntext", _card())


LINES = st.sampled_from(
    [
        "# Title",
        "",
        "text",
        "---",
        "<!-- /hf_rare -->",
        " <!-- hf_rare: config a -->",
        "```",
        "a: b",
        "é 漢",
        "  ",
        "\r",
    ]
)
BODIES = st.lists(LINES | st.text(st.characters(codec="utf-8"), max_size=10), max_size=12).map("\n".join)
VALUES = st.sampled_from(["mit", ["a", "b"], "no", 1.5, None, {"x": 1}, [{"y": [None]}], "é: # '\""])
HEADERS = st.dictionaries(st.sampled_from(["license", "extra", "language", "pretty_name", "1"]), VALUES)
TAGS = st.lists(st.sampled_from(["law", "reasoning", "synthetic"]), unique=True)
NEW = [_card(), _card("law"), _card("default", "test"), _card("law", "train", "test", license="mit")]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(BODIES, HEADERS, TAGS, st.lists(st.sampled_from(NEW), min_size=1, max_size=3), st.booleans())
def test_merging_again_changes_nothing_and_loses_nothing(body, header, tags, cards, has_header):
    header = {**header, **({"tags": tags} if tags else {})}
    existing = f"---\n{yaml.safe_dump(header, allow_unicode=True)}---\n{body}" if has_header else f"x{body}"
    card = existing
    for new in cards:
        before = card
        card = merge_cards(before, new)
        assert merge_cards(card, new) == card
        for name in find_blocks(new):
            assert name in find_blocks(split_header(card)[1])
        written = existing if not has_header else body
        if written.strip():
            assert split_header(card)[1].startswith(written)
        DatasetCard(card)
    if has_header:
        kept = {name: value for name, value in header.items() if value is not None and name != "tags"}
        assert _header(card) | kept == _header(card)
        assert set(tags) <= set(_header(card)["tags"])


def test_a_licence_that_is_given_later_is_in_header_and_text():
    first, later = _card(), _card(license="cc-by-4.0")
    for line_end in ("\n", "\r\n"):
        merged = merge_cards(first.replace("\n", line_end), later)
        assert _header(merged)["license"] == "cc-by-4.0"
        assert merged.replace("\r\n", "\n").split("---\n", 2)[2] == later.split("---\n", 2)[2]
        assert line_end == "\n" or "\n" not in merged.replace("\r\n", "")
        assert merge_cards(merged, later) == merged
        assert "`cc-by-4.0`." in merge_cards(merged, first)
    before = first.replace(f"{NO_LICENCE}\n\n", f"{NO_LICENCE} ")  # as it was written before
    assert "`cc-by-4.0`. The documents may come" in merge_cards(before, later)


@pytest.mark.parametrize(
    ("text", "by_hand"),
    [
        (f"## Licence\n\n{NO_LICENCE}", f"## Licence\n\nAsk me. {NO_LICENCE}"),
        (f"## Licence\n\n{NO_LICENCE}", f"## Terms\n\n{NO_LICENCE}"),
        (f"## Licence\n\n{NO_LICENCE}", f"## Licence\n\n> {NO_LICENCE}"),
        ("## Citation", f"## Licence\n\n{NO_LICENCE}\n\n## Citation"),
        ("\ntags:", "\nlicense: mit\ntags:"),
    ],
)
def test_what_a_person_says_of_the_licence_stays(text, by_hand):
    edited = _card().replace(text, by_hand, 1)
    assert by_hand in edited
    merged = merge_cards(edited, _card(license="cc-by-4.0"))
    assert split_header(merged)[1] == split_header(edited)[1]


def test_a_licence_within_the_rows_is_not_that_of_the_card():
    said = {"kind": "distill", "distill": {"template": f"{{{{ question }}}}\n## Licence\n\n{NO_LICENCE}\n"}}
    merged = merge_cards(_card(recipe=said), _card(recipe=said, license="mit"))
    assert merged.count(NO_LICENCE) == 1
    assert merged.count("\n`mit`.\n") == 1


def test_where_the_rows_come_from_is_brought_up_to_the_header():
    card = merge_cards(_card(), _card("law", source_datasets=["a/laws"]))
    assert card.count("The rows come from `a/laws`.") == 1
    assert "was not recorded.\n\n<!--" not in card
    card = merge_cards(card.replace("\n", "\r\n"), _card("medicine", source_datasets=["b/cases"]))
    assert _header(card)["source_datasets"] == ["a/laws", "b/cases"]
    assert card.count("\r\nThe rows come from `a/laws` and `b/cases`.\r\n") == 1
    assert merge_cards(card, _card()) == merge_cards(merge_cards(card, _card()), _card())
    assert "`a/laws` and `b/cases`." in merge_cards(card, _card())


@pytest.mark.parametrize("by_hand", ["The rows come from `a/b` and my desk.", "The rows come from a/b."])
def test_what_a_person_says_of_the_sources_stays(by_hand):
    edited = _card(source_datasets=["a/b"]).replace("The rows come from `a/b`.", by_hand)
    assert by_hand in merge_cards(edited, _card(source_datasets=["c/d"]))
    written = "---\nsource_datasets: a/b\n---\n# Mine\n\nThe rows come from `a/b`.\n"
    merged = merge_cards(written, _card(source_datasets=["c/d"]))
    assert split_header(merged)[1].startswith("# Mine\n\nThe rows come from `a/b`.\n")


@pytest.mark.parametrize(
    "header",
    [
        "dataset_info:\n  splits: [{name: [x]}]",
        "configs:\n- config_name: default\n  data_files: [{split: [x], path: y}]",
    ],
)
def test_a_header_with_values_of_other_kinds_is_an_error_of_ours(header):
    with pytest.raises(ConfigError, match="YAML header of the card cannot be"):
        merge_cards(f"---\n{header}\n---\ntext", _card("default", "test"))


@pytest.mark.parametrize("value", [7, {"a": 1}, True])
def test_a_united_key_of_another_kind_keeps_its_value(value):
    merged = merge_headers(yaml.safe_dump({"base_model": value}), "base_model: [me/teacher]\n")
    assert yaml.safe_load(merged)["base_model"] == [value, "me/teacher"]
