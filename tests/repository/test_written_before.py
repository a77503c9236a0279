"""What hf_rare 0.1.0 has left on disks and on the Hub is read by this one: see the README in `written_before`."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from huggingface_hub import constants

from hf_rare import AnswerJudge, Completion, NegativeWriter, QueryGenerator, ReasonDistiller, build_card, read_recipe
from hf_rare.cli.main import main
from hf_rare.hub.card.merge import find_blocks, merge_cards
from hf_rare.text import clean
from hf_rare.writers.recipe import make_recipe, recipe_beside
from tests.conftest import REPOSITORY
from tests.support.scripted import ScriptedGenerator

WRITTEN = REPOSITORY / "tests" / "data" / "written_before"
SHA = "c" * 40
JUDGE_TEMPLATE = (
    "{{ question }}\nThe right answer: {{ gold }}\nA student's answer: {{ answer }}\nAs JSON: reason and verdict.\n"
)
CARD_SETTINGS = {
    "pretty_name": "Tides and owls",
    "license": "mit",
    "language": ["en"],
    "repo_id": "written/tides",
    "splits": {"train": SimpleNamespace(num_rows=5, num_bytes=2345)},
    "data_files": {"train": "data/train-*"},
    "source_datasets": ["written/questions"],
    "recipe_path": "recipe.json",
}
BY_HAND = {
    "name: Of tides, owls and moss\nextra_gated_prompt: Ask before you sail.\n": "name: Tides and owls\n",
    "- hf_rare\n- tides\n": "- hf_rare\n",
    "# Of tides, owls and moss\n\nWe wrote these rows at the harbour. 🌊\n": "# Tides and owls\n",
    "\n## What we saw\n\n- The owl row was hard.\n- Moss is *still* green.\n": "",
    "\n## Contact\n\nWrite to the harbour master.\n": "",
}
"""What a person has written into the card, and what stood there before."""


@dataclass(frozen=True)
class Run:
    """A run that has left a journal: its writer and settings, and the rows that it was given."""

    writer: Any
    settings: dict[str, Any]
    rows: int = 5
    without: list[str] = field(default_factory=list)


RUNS = {
    "distill": Run(ReasonDistiller, {"gold_column": "gold", "max_attempts": 2, "seed": 3}),
    "judged": Run(
        ReasonDistiller,
        {
            "gold_column": "gold",
            "max_attempts": 3,
            "keep_attempts": True,
            "fallback": "last",
            "template": WRITTEN / "short.jinja",
            "template_columns": ["title"],
            "thought_tags": ["<thought>", "</thought>"],
            "system_prompt": "Be brief.",
        },
    ),
    "questions": Run(
        QueryGenerator, {"num_questions": 2, "expand": True, "max_attempts": 2}, 2, ["question", "scenario"]
    ),
    "negatives": Run(
        NegativeWriter,
        {"num_negatives": 2, "max_attempts": 2, "system_prompt": "Be brief."},
        2,
        ["hard_negatives"],
    ),
    "judge": Run(AnswerJudge, {"seed": 1, "max_attempts": 1}),
}
ENTRIES = {
    "written-distill": 6,
    "written-judged": 7,
    "written-judge-of-judged": 5,
    "written-questions": 3,
    "written-negatives": 3,
    "written-judge": 3,
    "written/teacher": 8,
}
"""How many completions are in the journal of each generator."""


@pytest.fixture
def journals(tmp_path) -> Path:
    return shutil.copytree(WRITTEN / "journals", tmp_path / "journals")


@pytest.fixture(scope="module")
def teacher(tiny) -> str:
    """Put tokenizer and configuration of a teacher into the cache, as if they came from the Hub, and no weights."""
    folder = _put_into_cache("models--written--teacher")
    for pattern in ("*.json", "*.jinja"):
        for path in Path(tiny).glob(pattern):
            shutil.copy(path, folder)
    return "written/teacher"


def _put_into_cache(name: str) -> Path:
    repository = Path(constants.HF_HUB_CACHE) / name
    folder = repository / "snapshots" / SHA
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(SHA)
    return folder


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def read_entries(journals: Path) -> dict[str, dict[str, Any]]:
    """Return the values of all entries by model and key, without the help of the code that is tested.

    When an entry was written is left out: it is another time in every run, and earlier versions do not say it.
    """
    entries: dict[str, dict[str, Any]] = {}
    for path in sorted(journals.glob("*/*.jsonl")):
        header, *lines = read_lines(path)
        for line in lines:
            line["value"].pop("written", None)
            entries.setdefault(header["model_id"], {})[line["key"]] = line["value"]
    return entries


def own_entries(name: str, journals: Path = WRITTEN / "journals") -> dict[str, Any]:
    models = [f"written-{name}", *(["written-judge-of-judged"] if name == "judged" else [])]
    entries = read_entries(journals)
    return {key: value for model in models for key, value in entries[model].items()}


def drop_entry(journals: Path, key: str) -> None:
    for path in journals.glob("*/*.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if not line.startswith(f'{{"key":"{key}"'.encode())))


def inputs_of(name: str) -> Dataset:
    run = RUNS[name]
    return Dataset.from_list(read_lines(WRITTEN / "rows.jsonl")).select(range(run.rows)).remove_columns(run.without)


def answer_nothing(text: str, seed: int) -> str:
    return ""


def make(name: str, write: Callable[[str, int], Any] = answer_nothing, **settings: Any) -> Any:
    """Make the writer of a run as its script made it, with a generator that answers anew."""
    companions = {}
    if name == "judged":
        judge = ScriptedGenerator(write, "written-judge-of-judged")
        companions = {"judge": AnswerJudge(judge, template=JUDGE_TEMPLATE, **settings)}
    run = RUNS[name]
    return run.writer(ScriptedGenerator(write, f"written-{name}"), **run.settings, **companions, **settings)


def asked_of(writer: Any) -> list[tuple[str, int]]:
    return [prompt for one in (writer, *writer.companions.values()) for prompt in one.generator.asked]


def write_again(name: str, writer: Any) -> Dataset:
    return writer.apply(inputs_of(name), load_from_cache_file=False, keep_in_memory=True)


def check_rows(name: str, writer: Any, written: Dataset) -> None:
    """Compare the new columns with those that were written before, their order and that of the keys included."""
    rows = written.select_columns(list(writer.output_features)).to_list()
    assert list(map(json.dumps, rows)) == list(map(json.dumps, read_lines(WRITTEN / f"{name}.jsonl")))


def check_recipe(recipe: dict[str, Any], before: dict[str, Any]) -> None:
    """Check that a recipe says all that one from before says; versions are other ones, and settings may have come."""
    for name, value in before.items():
        if name == "judge" and before["kind"] != "judge":
            check_recipe(recipe[name], value)
        elif name == "decoding":  # the default of what bounds memory is another one now, and changes no text
            assert recipe[name] | value | {"max_batch_tokens": recipe[name]["max_batch_tokens"]} == recipe[name]
        elif name not in ("hf_rare", "versions"):
            assert (recipe[name] | value if isinstance(value, dict) else value) == recipe[name], name


def without_imports(text: str) -> str:
    """Leave out the lines that say in which modules names are: that was not meant to stay."""
    return re.sub(r"^from hf_rare.* import .*\n", "", text, flags=re.MULTILINE)


# journals


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_from_its_journal_without_asking(name, journals):
    writer = make(name, journal_dir=journals)
    assert len(writer.select_finished(inputs_of(name))) == RUNS[name].rows
    check_rows(name, writer, write_again(name, writer))
    assert asked_of(writer) == []
    assert own_entries(name, journals) == own_entries(name)


@pytest.mark.parametrize("name", RUNS)
def test_an_entry_that_is_lost_is_the_only_one_that_is_asked_for(name, tmp_path):
    before = own_entries(name)
    for number, (key, lost) in enumerate(before.items()):
        journals = shutil.copytree(WRITTEN / "journals", tmp_path / str(number))
        drop_entry(journals, key)
        writer = make(name, lambda text, seed, lost=lost: Completion(**lost["completion"]), journal_dir=journals)
        check_rows(name, writer, write_again(name, writer))
        assert [text for text, _ in asked_of(writer)] == [lost["messages"][-1]["content"]]
        assert own_entries(name, journals) == before


@pytest.mark.parametrize("name", ["distill", "judged", "questions"])
def test_what_failed_before_is_tried_again_where_this_is_wished(name, journals):
    before = own_entries(name)
    (failed,) = [key for key, value in before.items() if value["completion"]["finish_reason"] == "error"]
    again = Completion("", "error", 0, 0, "out of memory")
    writer = make(name, lambda text, seed: again, journal_dir=journals, retry_failed=True)
    check_rows(name, writer, write_again(name, writer))
    assert [text for text, _ in asked_of(writer)] == [before[failed]["messages"][-1]["content"]]
    assert own_entries(name, journals) == {**before, failed: {**before[failed], "attempts": 2}}


def test_people_can_look_at_the_journals(journals, capsys):
    entries = read_entries(journals)
    assert {model: len(values) for model, values in entries.items()} == ENTRIES
    assert main(["journal", "ls", "--journal-dir", str(journals)]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert {line.split()[-1]: int(line.split()[1]) for line in lines} == ENTRIES
    assert total == f"7 journals in {journals}"
    names = {line.split()[-1]: line.split()[0] for line in lines}
    assert set(names.values()) == {path.name for path in journals.iterdir()}
    for model, values in entries.items():
        assert main(["journal", "show", names[model][:6], "--journal-dir", str(journals), "--entries", "99"]) == 0
        shown = capsys.readouterr().out
        assert f"model_id: {model}\n" in shown
        for key, value in values.items():
            completion = value["completion"]
            said = f"[assistant] {completion['text'] or completion['error']}\n"
            prompt = "".join(f"[{message['role']}] {message['content']}\n" for message in value["messages"])
            head = f"{key}: {completion['finish_reason']}, {completion['completion_tokens']} tokens\n{'-' * 80}\n"
            assert clean(head + prompt + said) in shown


# recipes


@pytest.mark.parametrize("name", RUNS)
def test_a_recipe_makes_an_equal_writer(name, teacher):
    path = WRITTEN / "recipes" / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    assert read_recipe(path) == before
    judge = {"judge": AnswerJudge.from_recipe(before["judge"])} if name == "judged" else {}
    writer = RUNS[name].writer.from_recipe(path, **judge)
    check_recipe(make_recipe(writer, before["command"]), before)
    made = make(name)
    assert writer.config == made.config
    assert [one.config for one in writer.companions.values()] == [one.config for one in made.companions.values()]
    prepared = writer.prepare(inputs_of(name)[:])
    prompts = [list(map(dict, row.encoded.messages)) for row in prepared if row.encoded is not None]
    expected = [value["messages"] for value in read_entries(WRITTEN / "journals")[f"written-{name}"].values()]
    assert {json.dumps(messages) for messages in prompts} == {json.dumps(messages) for messages in expected}


def test_the_command_in_a_recipe_writes_the_same_rows_without_weights(teacher, tmp_path, monkeypatch):
    for name in ("rows.jsonl", "short.jinja"):
        shutil.copy(WRITTEN / name, tmp_path)
    journals = shutil.copytree(WRITTEN / "journals", tmp_path / "journals")
    before = json.loads(recipe_beside(WRITTEN / "traces.jsonl").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(before["command"]))
    assert main(sys.argv[1:]) == 0
    assert read_lines(tmp_path / "traces.jsonl") == read_lines(WRITTEN / "traces.jsonl")
    recipe = json.loads((tmp_path / "traces.recipe.json").read_text(encoding="utf-8"))
    check_recipe(recipe, before)
    assert read_entries(journals) == read_entries(WRITTEN / "journals")


# cards


def test_the_card_of_an_output_finds_the_recipe_beside_it(tmp_path):
    card = tmp_path / "card.md"
    assert main(["card", str(WRITTEN / "traces.jsonl"), "--output", str(card)]) == 0
    text = card.read_text(encoding="utf-8")
    recipe = json.loads((WRITTEN / "traces.recipe.json").read_text(encoding="utf-8"))
    assert f"```jinja\n{(WRITTEN / 'short.jinja').read_text()}```" in text
    assert f"```bash\n{recipe['command']}\n```" in text
    assert "| `seed` | `5` |\n" in text
    assert "| traces | 10 |\n" in text


def _judged_card(rows: Dataset) -> str:
    return build_card(rows, read_recipe(WRITTEN / "recipes" / "judged.json"), **CARD_SETTINGS)


SAME = ("How it was made", "Columns", "Statistics", "A row", "Making it again")
"""Parts of a card that say what they said. How to train on rows, and what was checked, is said better now."""


def split_parts(card: str) -> dict[str, str]:
    """Return the parts of a card by heading, in which the alt text of the picture may be another."""
    parts = re.split(r"^### (.*)\n", re.sub(r"!\[.*?\]", "![]", without_imports(card)), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_a_card_says_what_it_said(journals):
    before = (WRITTEN / "edited_card.md").read_text(encoding="utf-8")
    for ours, theirs in BY_HAND.items():
        assert before.count(ours) == 1
        before = before.replace(ours, theirs)
    card = _judged_card(write_again("judged", make("judged", journal_dir=journals)))
    old, new = split_parts(before), split_parts(card)
    assert set(old) < set(new)
    assert old[""] == new[""]
    for name in SAME:
        assert new[name].split("<!-- /hf_rare -->")[0].strip() == old[name].split("<!-- /hf_rare -->")[0].strip()


def test_what_people_wrote_into_a_card_stays(journals):
    edited = (WRITTEN / "edited_card.md").read_text(encoding="utf-8")
    rows = write_again("judged", make("judged", journal_dir=journals))
    merged = merge_cards(edited, _judged_card(rows))
    ((start, end),), ((old_start, old_end),) = (find_blocks(card).values() for card in (merged, edited))
    assert (merged[:start], merged[end:]) == (edited[:old_start], edited[old_end:])
    assert merge_cards(merged, _judged_card(rows)) == merged
    merged = merge_cards(edited, _judged_card(rows.select([0, 1])))
    assert [merged.count(words) for words in BY_HAND] == [1] * len(BY_HAND)
    assert [merged.index(words) for words in BY_HAND] == sorted(merged.index(words) for words in BY_HAND)
    assert ("5 rows in `train`" in merged, "2 rows in `train`" in merged) == (False, True)


def test_the_code_in_the_card_finds_the_recipe_on_the_hub(teacher, journals):
    shutil.copy(WRITTEN / "recipes" / "judged.json", _put_into_cache("datasets--written--tides") / "recipe.json")
    edited = (WRITTEN / "edited_card.md").read_text(encoding="utf-8")
    rows = write_again("judged", make("judged", journal_dir=journals))
    merged = merge_cards(edited, _judged_card(rows))
    (code,) = re.findall(r"```python\n(from hf_rare.*?)```", merged, re.DOTALL)
    namespace = {"rows": inputs_of("judged").select([])}
    exec(code, namespace)
    assert namespace["again"].features == rows.features
    assert namespace["distill_fn"].config == make("judged").config
