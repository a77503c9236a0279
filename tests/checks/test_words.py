"""Words of every language, signs, templates and stock phrases: a table of texts, each with its right value.

`python -m tests.checks.test_words` prints the hit rate of each kind, and what is missed.
"""

import json
import unicodedata
from pathlib import Path

import datasets
import pytest
from datasets import Dataset

from hf_rare.checks.contamination import decontaminate
from hf_rare.checks.evidence import longest_quotes
from hf_rare.checks.near_duplicates import drop_near_duplicates
from hf_rare.negatives.bm25 import make_tokenizer
from hf_rare.negatives.mine import mine_hard_negatives
from hf_rare.text import normalize, sign, spell_signs, split_units, split_words

PATH = Path(__file__).parent.parent / "data" / "words.jsonl"
TABLE = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]


def finds_words(row):
    composed = [unicodedata.normalize("NFKC", word) for word in row["expected"]]
    return split_words(unicodedata.normalize("NFKC", row["text"])) == composed


def finds_document(row):
    rows = Dataset.from_dict({"question": [row["query"]], "scenario": [""], "text": ["0"]})
    documents = row["documents"][::-1]  # a tie goes to the first
    found = mine_hard_negatives(rows, documents, num_negatives=1)["hard_negatives"][0]
    return found == row["documents"][:1]


def count_kept(row):
    return len(drop_near_duplicates(Dataset.from_dict({"question": row["texts"]})))


def is_marked(row):
    rows = Dataset.from_dict({"question": [row["row"]], "scenario": [""]})
    return decontaminate(rows, [[row["evaluation"]]], mark="shared")["shared"][0]


CHECKS = {
    "words": finds_words,
    "finds": finds_document,
    "different": lambda row: count_kept(row) == 2,
    "same": lambda row: count_kept(row) == 1,
    "stock": lambda row: not is_marked(row),
    "shared": is_marked,
}


@pytest.mark.parametrize("kind", CHECKS)
def test_the_table_is_right(kind):
    missed = [row for row in TABLE if row["kind"] == kind and not CHECKS[kind](row)]
    assert not missed


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("x - 2", "x - 2"),
        ("state-of-the-art", "state of the art"),
        ("a pump - a device", "a pump a device"),
        ("is -1 or -.5", "is - 1 or - . 5"),
        ("2 \u2212 3 \u00d7 4 \u00f7 5", "2 - 3 * 4 / 5"),
        ("**bold** and/or km/h", "bold and or km h"),
        ("C++ and C#", "c + + and c #"),
        ("5! = 120 != x!", "5 ! = 120 ! = x !"),
        ("Stop! 1,000 for $5", "stop 1000 for $ 5"),
        ("a && b || c | d", "a & & b | | c | d"),
        ("f(x)=x^2, 5%", "f x = x ^ 2 5 %"),
    ],
)
def test_signs_that_calculate_are_words(text, units):
    written = [
        chr(int(unit.split("_")[2], 16)) if unit.startswith("_sign_") else unit
        for unit in split_units(spell_signs(normalize(text)))
    ]
    assert " ".join(written) == units
    beyond_ascii = split_units(spell_signs(normalize(f"{text} \u00e9")))
    assert beyond_ascii[:-1] == split_units(spell_signs(normalize(text)))


def test_texts_that_differ_in_a_sign_are_no_copies():
    assert not sign("Solve x + 2 = 5.").is_copy_of(sign("Solve x - 2 = 5."), 0.5)
    assert sign("Solve x + 2 = 5.").is_copy_of(sign("Please solve x+2=5, now."), 0.5)


def test_what_may_be_left_out_of_a_word_is_not_compared():
    assert split_units("\u0643\u0650\u062a\u064e\u0627\u0628") == ["\u0643\u062a\u0627\u0628"]
    assert split_units("don\xadkey \u0628\u200c\u0647") == ["donkey", "\u0628\u0647"]
    assert split_words("don\xadkey caf\u00e9") == ["donkey", "caf\u00e9"]


def test_terms_without_spaces_are_pieces():
    cut = make_tokenizer(None)
    assert cut("\ubd80\uc0b0\uc740 \uac15") == ["\ubd80\uc0b0", "\uc0b0\uc740", "\uac15"]
    assert cut("\u0e19\u0e49\u0e33") == ["\u0e19\u0e49\u0e4d\u0e32"]  # two letters, one with its marks
    assert cut("x\u6c34y2") == ["\u6c34", "y2"]
    assert make_tokenizer("korean")("\uadf8\ub9ac\uace0 \ubd80\uc0b0") == ["\ubd80\uc0b0"]


def test_a_quote_has_whole_words_of_scripts_with_marks():
    document = next(row["text"] for row in TABLE if row.get("language") == "Hindi, digits")
    assert longest_quotes(f"({document})", [document], min_tokens=6) == [6]
    assert longest_quotes(document[:-12], [document], min_tokens=6) == [0]


def test_a_scenario_is_part_of_the_question():
    rows = Dataset.from_dict({"question": ["What is it?"] * 2, "scenario": ["A fox sleeps in a den.", "Owls sing."]})
    assert len(drop_near_duplicates(rows)) == 2
    assert decontaminate(rows, [["a fox sleeps in a den"]], mark="m")["m"][:] == [True, False]
    assert len(decontaminate(rows.remove_columns("scenario"), [["a fox sleeps in a den"]])) == 2


if __name__ == "__main__":
    datasets.disable_progress_bars()
    for kind, check in CHECKS.items():
        rows = [row for row in TABLE if row["kind"] == kind]
        missed = [row for row in rows if not check(row)]
        print(f"{kind}: {len(rows) - len(missed)} of {len(rows)}", *missed, sep="\n    ")
