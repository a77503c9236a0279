"""What reaches a terminal: words of documents and models, and nothing that steers it."""

import json
import logging
import unicodedata

import pytest
from datasets import Dataset

from hf_rare import ReasonDistiller
from hf_rare.cli.main import main
from hf_rare.cli.terminal import CleanFormatter
from hf_rare.text import clean, hide_tokens

STEERING = {
    "title": "\x1b]0;owned\x07",
    "colour": "\x1b[31mred\x1b[0m",
    "8-bit": "\x9b2J",
    "back": "safe\x08\x08\x08\x08evil",
    "line": "first\rsecond",
    "bidi": "\u202egpj.exe",
    "link": "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "tags": "\U000e0041\U000e0042",
    "filler": "\u3164\u115f\uffa0",
}


def is_harmless(text: str) -> bool:
    return all(unicodedata.category(character) not in ("Cc", "Cf", "Cs") or character == "\n" for character in text)


@pytest.mark.parametrize("steering", STEERING.values(), ids=STEERING)
def test_no_command_sends_what_a_row_holds_to_the_terminal_as_it_is(rows, tiny, tmp_path, capsys, steering):
    folder = tmp_path / "journals"
    row = rows[0] | {"question": f"What {steering} now?", "text": f"It {steering} says {steering}."}
    Dataset.from_list([row]).to_json(tmp_path / "rows.jsonl")
    distill_fn = ReasonDistiller.from_pretrained(
        tiny, max_new_tokens=2, journal_dir=folder, system_prompt=f"Be {steering}."
    )
    distill_fn.apply(Dataset.from_list([row]))
    capsys.readouterr()
    (name,) = (path.name for path in folder.iterdir())
    commands = [
        ["journal", "ls"],
        ["journal", "show", name],
        ["journal", "show", f"no {steering}"],
        ["journal", "export", name, "--output", str(tmp_path / f"out{steering.replace('/', '')}.jsonl")],
    ]
    for command in commands:
        main([*command, "--journal-dir", str(folder)])
        out, err = capsys.readouterr()
        assert out or err
        assert is_harmless(out + err)


@pytest.mark.parametrize("steering", STEERING.values(), ids=STEERING)
def test_logs_and_errors_are_cleaned_too(tiny, tmp_path, capsys, steering):
    record = logging.LogRecord("hf_rare", logging.WARNING, "", 0, "A row says %s.", (steering,), None)
    assert is_harmless(CleanFormatter("%(message)s").format(record))
    missing = tmp_path / f"rows{steering.replace('/', '')}.jsonl"
    assert main(["distill", str(missing), "--model", tiny, "--max-new-tokens", "4", "--output", "out.jsonl"]) == 3
    assert is_harmless(capsys.readouterr().err)


def test_what_stands_unseen_within_a_word_is_left_out_and_what_makes_signs_of_others_stays():
    assert clean("soft\xadly a\u034fb x\U000e0100y") == "softly ab xy"
    assert clean("\u3164") == "\ufffd"
    for whole in ("❤️", "👩‍👩‍👧", "नमस्ते", "می‌خواهم", "a\tb\nc"):
        assert clean(whole) == whole


TOKENS = ["hf_abcdefghij", "hf_oauth_eyJhbGciOi.J9-x", "xhf_abcdefghij", "api_org_abcdefghij", "hf_hub_Ab3defghij1"]


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_of_every_form_are_hidden(token):
    for text in (f"token={token}", f"Authorization: Bearer {token}", json.dumps({"token": token}), f"'{token}'"):
        assert token not in hide_tokens(text)
        assert token[4:12] not in hide_tokens(text)


@pytest.mark.parametrize("name", ["hf_hub_download", "hf_rare_row", "hf_hub_url", "hf_api"])
def test_names_of_functions_are_no_tokens(name):
    assert hide_tokens(f"call {name}()") == f"call {name}()"
