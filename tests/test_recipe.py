"""Recipes: an equal distiller from what travels with a dataset, and nothing that a stranger could do with one."""

import json

import pytest
from datasets.fingerprint import Hasher

from hf_rare import ReasonDistiller
from hf_rare.config import GENERATION_REVISION
from hf_rare.errors import RecipeError
from hf_rare.generation.loading import get_teacher
from hf_rare.recipe import make_recipe

SHA = "c" * 40


@pytest.fixture
def recipe(tiny):
    """A recipe whose teacher is on the Hub."""
    recipe = make_recipe(ReasonDistiller.from_pretrained(tiny, max_new_tokens=4, generation_kwargs={"top_p": 0.7}))
    recipe["model"] |= {"model_id": "me/teacher", "revision": SHA}
    return recipe


def test_a_recipe_gives_an_equal_distiller(rows, tiny, tmp_path):
    settings = {
        "max_new_tokens": 6,
        "template": "plain",
        "seed": 3,
        "num_samples": 2,
        "thought_tags": ("<a>", "</a>"),
        "generation_kwargs": {"temperature": 0.7, "stop_strings": ["x"]},
        "chat_template_kwargs": {"enable_thinking": False},
    }
    distill_fn = ReasonDistiller.from_pretrained(tiny, journal_dir=tmp_path / "journal", **settings)
    recipe = make_recipe(distill_fn, command="hf-rare distill")
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    again = ReasonDistiller.from_recipe(path, model_id=tiny, journal_dir=tmp_path / "journal")
    assert Hasher.hash(again) == Hasher.hash(distill_fn)
    expected = distill_fn.apply(rows, load_from_cache_file=False)
    assert again.apply(rows, load_from_cache_file=False).to_list() == expected.to_list()
    assert (distill_fn.completer.generated, again.completer.generated) == (12, 0)
    assert make_recipe(again, command="hf-rare distill") == recipe
    assert ReasonDistiller.from_recipe(recipe, model_id=tiny, seed=4).config.seed == 4


def test_a_teacher_on_the_hub_needs_no_request(recipe):
    distill_fn = ReasonDistiller.from_recipe(recipe)
    config = distill_fn.generator._teacher.config
    assert (config.model_id, config.revision, config.trust_remote_code) == ("me/teacher", SHA, False)
    assert get_teacher(config) is distill_fn.generator._teacher


def test_no_path_is_in_a_recipe(tiny, tmp_path):
    template = tmp_path / "mine.jinja"
    template.write_text("{{ question }}{% for document in documents %}{{ document.text }}{% endfor %}")
    distill_fn = ReasonDistiller.from_pretrained(
        tiny,
        template=template,
        offload_folder=tmp_path,
        device_map="cpu",
        journal_dir=tmp_path,
        trust_remote_code=True,
    )
    text = json.dumps(make_recipe(distill_fn))
    assert "{{ question }}" in text
    assert str(tmp_path.parent) not in text
    assert "trust_remote_code" not in text
    assert "journal" not in text


@pytest.mark.parametrize(
    ("section", "settings", "reason"),
    [
        ("model", {"trust_remote_code": True}, "asks for trust_remote_code"),
        ("model", {"offload_folder": "/etc"}, "asks for offload_folder"),
        ("model", {"model_id": "/root/model"}, "is not a name on the Hub"),
        ("model", {"model_id": "../model"}, "is not a name on the Hub"),
        ("model", {"model_id": "~/model"}, "is not a name on the Hub"),
        ("model", {"model_id": ["me/teacher"]}, "is not a name on the Hub"),
        ("model", {"adapter": "./adapter"}, "is not a name on the Hub"),
        ("model", {"gguf_file": "../../secret.gguf"}, "is not the name of a file"),
        ("model", {"gguf_file": "/secret.gguf"}, "is not the name of a file"),
        ("model", {"attn_implementation": "someone/kernel"}, "which is code from the Hub"),
        ("model", {"code": "x"}, "'code' is not known in the recipe's 'model'"),
        ("distill", {"template": "/etc/passwd"}, "neither built in nor a text with placeholders"),
        ("distill", {"journal_dir": "/"}, "'journal_dir' is not known"),
        ("distill", {"template": "{{ question.__class__.mro() }}{{ documents }}"}, ""),
        ("decoding", {"generation_kwargs": {"custom_generate": "me/code"}}, ""),
        ("decoding", {"chat_template_kwargs": {"tokenizer_kwargs": {}}}, ""),
    ],
)
def test_what_a_recipe_may_not_ask_for(recipe, section, settings, reason):
    recipe[section] |= settings
    with pytest.raises(ValueError, match=reason or "."):
        ReasonDistiller.from_recipe(recipe)


def test_what_its_reader_may_choose(recipe, tiny):
    recipe["model"] |= {"attn_implementation": "someone/kernel", "trust_remote_code": True}
    distill_fn = ReasonDistiller.from_recipe(recipe, attn_implementation="eager", trust_remote_code=False)
    assert distill_fn.generator._teacher.config.attn_implementation == "eager"
    recipe["model"]["revision"] = "local-1"
    with pytest.raises(RecipeError, match="attn_implementation"):
        ReasonDistiller.from_recipe(recipe, model_id=tiny, trust_remote_code=False)


def test_a_teacher_that_cannot_be_had(recipe, tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me" / "teacher").mkdir(parents=True)
    with pytest.raises(RecipeError, match="a folder of this name is here"):
        ReasonDistiller.from_recipe(recipe)
    local = make_recipe(ReasonDistiller.from_pretrained(tiny, max_new_tokens=4))
    with pytest.raises(RecipeError, match="it came from a local folder or from memory"):
        ReasonDistiller.from_recipe(local)
    with pytest.raises(RecipeError, match="one of its own kind"):
        ReasonDistiller.from_recipe({**recipe, "model": None})


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"recipe": 2, "kind": "distill"}', '{"recipe": 1, "kind": "distill"}']
)
def test_what_is_no_recipe(tmp_path, text):
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(RecipeError):
        ReasonDistiller.from_recipe(path)
    with pytest.raises(RecipeError, match="neither a recipe file nor the name of a dataset"):
        ReasonDistiller.from_recipe(tmp_path / "nothing.json")


def test_another_revision_of_the_prompts_is_pointed_out(recipe, caplog):
    recipe["generation_revision"] = GENERATION_REVISION - 1
    ReasonDistiller.from_recipe(recipe)
    assert "makes other prompts" in caplog.text
