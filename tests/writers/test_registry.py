"""Whoever meets a writer by its kind knows it from one table: also one that is not the library's own."""

import json

import pytest
import yaml
from datasets import Dataset

from hf_rare import ConfigError, build_card, read_recipe, run_pipeline
from hf_rare.cli.main import main
from hf_rare.pipeline.settings import list_stages
from hf_rare.writers.recipe import make_recipe
from hf_rare.writers.registry import WRITERS
from tests.support import fifth_writer
from tests.support.commands import RAN
from tests.support.fifth_writer import TitleWriter

DOCUMENTS = Dataset.from_dict({"text": ["Tides turn twice a day.", "Bread rises in the warm."]})


@pytest.fixture
def titles(monkeypatch):
    """The one line that it takes."""
    monkeypatch.setitem(WRITERS, "titles", fifth_writer.ENTRY)


@pytest.mark.parametrize("kind", list(WRITERS))
def test_entries_are_of_their_classes(kind):
    writer = WRITERS[kind].load()
    assert (writer.kind, writer.config_type) == (kind, WRITERS[kind].config)
    assert set(writer.companion_names) <= set(WRITERS)


def test_writers_have_their_place_among_the_stages():
    assert list_stages() == [
        "questions",
        "near_duplicates",
        "decontamination",
        "retrieval",
        "negatives",
        "distill",
        "verify",
        "grounding",
        "evidence",
        "selection",
    ]


def test_a_fifth_writer_has_recipe_and_card(titles, tiny):
    title_fn = TitleWriter.from_pretrained(tiny, max_new_tokens=6, num_words=3)
    recipe = json.loads(json.dumps(make_recipe(title_fn)))
    again = TitleWriter.from_recipe(read_recipe(recipe), model_id=tiny)
    assert again.config == title_fn.config
    rows = again.apply(DOCUMENTS)
    assert rows.column_names == ["text", *title_fn.output_features]
    card = build_card(rows, recipe)
    for text in ("Documents with titles", "which was asked for a title", "| `num_words` | `3` |"):
        assert text in card
    from_hub = {**recipe, "model": {**recipe["model"], "model_id": "me/teacher", "revision": "c" * 40}}
    card = build_card(rows, from_hub, recipe_path="recipe.json", repo_id="me/titles")
    assert "from tests.support.fifth_writer import TitleWriter\n" in card
    assert 'title_fn = TitleWriter.from_recipe("me/titles"' in card


def test_a_fifth_writer_is_a_stage_and_a_command(titles, tiny, tmp_path, capsys):
    documents = str(tmp_path / "documents.jsonl")
    DOCUMENTS.to_json(documents)
    settings = {"max_new_tokens": 6, "num_words": 3}
    pipeline = {"input": documents, "output": str(tmp_path / "out"), "titles": {"model_id": tiny, **settings}}
    rows = run_pipeline(pipeline)
    assert len(list((tmp_path / "out").glob("?-titles/stage.json"))) == 1
    with pytest.raises(ConfigError, match="num_word"):
        run_pipeline({**pipeline, "titles": {"model_id": tiny, "num_word": 3}})

    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    output = tmp_path / "titles.jsonl"
    arguments = ["titles", documents, "--model", tiny, "--config", str(tmp_path / "settings.yaml")]
    assert main([*arguments, "--output", str(output)]) in RAN
    assert Dataset.from_json(str(output))["title"][:] == rows["title"][:]
    assert json.loads((tmp_path / "titles.recipe.json").read_text())["kind"] == "titles"
    assert "2 titles: " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["titles", "--help"])
    assert "How long it may be" in capsys.readouterr().out


def test_without_its_entry_a_writer_is_unknown(tiny):
    title_fn = TitleWriter.from_pretrained(tiny, max_new_tokens=6)
    with pytest.raises(ConfigError, match=r"a dict with kind=.distill. or .questions. or .negatives. or .judge."):
        read_recipe(make_recipe(title_fn))
