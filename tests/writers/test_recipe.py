"""Recipes: an equal distiller from what travels with a dataset, and nothing that a stranger could do with one."""

import contextlib
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from datasets.fingerprint import Hasher

from hf_rare import ReasonDistiller
from hf_rare.errors import HfRareError, ModelLoadError, RecipeError
from hf_rare.generation.teacher import get_teacher
from hf_rare.settings.base import GENERATION_REVISION
from hf_rare.writers.recipe import describe_command, make_recipe, read_recipe, read_recipe_beside

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
    config = distill_fn.generator.teacher.config
    assert (config.model_id, config.revision, config.trust_remote_code) == ("me/teacher", SHA, False)
    assert get_teacher(config) is distill_fn.generator.teacher


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
    assert distill_fn.generator.teacher.config.attn_implementation == "eager"
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
    for name in (tmp_path / "nothing.json", json.dumps({"recipe": "x" * 5000})):
        with pytest.raises(RecipeError, match="neither a recipe file nor the name of a dataset"):
            ReasonDistiller.from_recipe(name)


def test_a_recipe_lies_beside_its_dataset(recipe, tmp_path, monkeypatch):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows.recipe.json").write_text(json.dumps(recipe))
    monkeypatch.chdir(tmp_path / "rows")
    for name in (tmp_path / "rows.parquet", "../rows.jsonl", ".", "../rows"):
        assert read_recipe_beside(Path(name), "distill") == json.loads(json.dumps(recipe))
    for name in ("/", "rows", "x" * 250, "x" * 5000):
        assert read_recipe_beside(Path(name), "distill") is None


def test_a_file_that_is_too_large_or_too_deep_is_no_recipe(recipe, tmp_path):
    path = tmp_path / "recipe.json"
    for text in ("[" * 200_000, json.dumps(recipe)[:-1] + ', "x": ' + "[" * 200_000 + "]" * 200_000 + "}"):
        path.write_text(text)
        with pytest.raises(RecipeError, match=r"recipe\.json cannot be read"):
            ReasonDistiller.from_recipe(path)
    os.truncate(path, 1 << 40)
    with pytest.raises(RecipeError, match="has 1,099,511,627,776 bytes; expected at most 10,000,000"):
        ReasonDistiller.from_recipe(path)


def test_another_revision_of_the_prompts_is_pointed_out(recipe, caplog):
    recipe["generation_revision"] = GENERATION_REVISION - 1
    ReasonDistiller.from_recipe(recipe)
    assert "makes other prompts" in caplog.text


def _describe(monkeypatch, *arguments: str) -> str | None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hf-rare", *arguments])
    return describe_command()


def test_no_folder_is_in_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "split=train").mkdir()
    (tmp_path / "split=train" / "x.parquet").touch()
    folder = tmp_path / "split=train"
    arguments = [
        f"{folder}/x.parquet",
        f"--output={folder}/x.parquet",
        f"--output={folder}/new.parquet",
        f"{folder}/*.parquet",
        "split=train/*.parquet",
        "--output=~/split=train/x.parquet",
        f"{folder}/{'x' * 300}",
    ]
    described = shlex.split(_describe(monkeypatch, "distill", *arguments))
    names = ["x.parquet", "--output=x.parquet", "--output=new.parquet", *["*.parquet"] * 2, "--output=x.parquet"]
    assert described == ["hf-rare", "distill", *names, "x" * 300]


def test_what_is_no_path_stays_in_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me").mkdir()
    arguments = [
        "--json-schema",
        json.dumps({"description": "x" * 5000}),
        f"--system-prompt={'x' * 5000}",
        "--template",
        "{{ question }} a/b " + "x/" * 3000,
        "--system-prompt",
        "/no_think",
        "~nobody/x",
        "me/teacher",
        "a\0b",
        ".",
        "",
    ]
    assert shlex.split(_describe(monkeypatch, *arguments)) == ["hf-rare", *arguments]


@pytest.mark.parametrize("name", ["Qwen--Qwen3-8B", "llama 3", "a" * 100])
def test_a_teacher_from_a_folder_of_any_name(rows, tiny, tmp_path, name):
    folder = tmp_path / name
    shutil.copytree(tiny, folder)
    distill_fn = ReasonDistiller.from_pretrained(str(folder), max_new_tokens=4)
    recipe = read_recipe(make_recipe(distill_fn))
    assert recipe["model"]["model_id"] == name
    again = ReasonDistiller.from_recipe(recipe, model_id=str(folder))
    assert Hasher.hash(again) == Hasher.hash(distill_fn)
    with pytest.raises(RecipeError, match="Pass model_id="):
        ReasonDistiller.from_recipe(recipe)


def test_a_teacher_from_the_working_directory(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    for place in (".", "../" + Path(tiny).name, "./"):
        recipe = read_recipe(make_recipe(ReasonDistiller.from_pretrained(place, max_new_tokens=4)))
        assert recipe["model"]["model_id"] == Path(tiny).name
        ReasonDistiller.from_recipe(recipe, model_id=".")
    recipe["model"]["model_id"] = ""  # as it was written before
    ReasonDistiller.from_recipe(recipe, model_id=".")


@pytest.mark.parametrize("name", ["model_id", "adapter"])
@pytest.mark.parametrize("value", [".", "..", "/root/model", "../model", "a\\b", "me/teacher", 7])
def test_only_a_name_may_stand_for_a_folder(recipe, name, value):
    revision = "revision" if name == "model_id" else "adapter_revision"
    recipe["model"] |= {name: value, revision: "local-1"}
    with pytest.raises(RecipeError, match="is not the name of a folder"):
        read_recipe(recipe)


def test_an_adapter_that_cannot_be_had(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adapter = tmp_path / "my adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    recipe["model"] |= {"adapter": "my adapter", "adapter_revision": "local-1"}
    with pytest.raises(RecipeError, match=r"adapter 'my adapter' is not on the Hub.*Pass adapter="):
        ReasonDistiller.from_recipe(recipe)
    config = ReasonDistiller.from_recipe(recipe, adapter=str(adapter)).generator.teacher.config
    assert config.adapter == str(adapter)
    assert config.adapter_revision.startswith("local-")
    with_other = ReasonDistiller.from_recipe(recipe, adapter="me/adapter", adapter_revision=SHA)
    assert with_other.generator.teacher.config.adapter_revision == SHA
    without = ReasonDistiller.from_recipe(recipe, adapter=None).generator.teacher.config
    assert (without.adapter, without.adapter_revision) == (None, None)


def test_an_adapter_on_the_hub_is_no_folder_here(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe["model"] |= {"adapter": "me/adapter", "adapter_revision": SHA}
    config = ReasonDistiller.from_recipe(recipe).generator.teacher.config
    assert (config.adapter, config.adapter_revision) == ("me/adapter", SHA)
    (tmp_path / "me" / "adapter").mkdir(parents=True)
    with pytest.raises(RecipeError, match="a folder of this name is here"):
        ReasonDistiller.from_recipe(recipe)


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


COSTLY = [
    ("distill", {"num_samples": 10_000}, "num_samples=10000"),
    ("distill", {"max_attempts": 10**9}, "max_attempts=1000000000"),
    ("distill", {"template": "{{ question }}" + "x" * 10**6}, "template has 1,000,0"),
    ("distill", {"template_columns": ["x"] * 300_000}, "template_columns has"),
    ("decoding", {"max_new_tokens": 10**9}, "max_new_tokens=1000000000"),
    ("decoding", {"generation_kwargs": {"num_beams": 100_000}}, "num_beams=100000"),
    ("decoding", {"generation_kwargs": {"stop_strings": [str(i) for i in range(5000)]}}, "5000 stop_strings"),
    ("decoding", {"generation_kwargs": {"stop_strings": ["ab" * 20] * 64}}, "2560 characters in stop_strings"),
    ("decoding", {"generation_kwargs": {"stop_strings": "a" * 1001}}, "1001 characters in stop_strings"),
    ("decoding", {"generation_kwargs": {"bad_words_ids": [[1]] * 300_000}}, "generation_kwargs has"),
    ("decoding", {"json_schema": nested(500)}, "json_schema has"),
    ("decoding", {"json_schema": {"enum": ["x" * 100] * 10_000}}, "json_schema has"),
    ("decoding", {"chat_template_kwargs": {"chat_template": "{% for i in x %}{% endfor %}"}}, "a chat template"),
]


@pytest.mark.parametrize(("section", "settings", "reason"), COSTLY, ids=[reason for *_, reason in COSTLY])
def test_a_recipe_costs_no_more_than_it_says(recipe, section, settings, reason):
    recipe[section] |= settings
    with pytest.raises(RecipeError, match=reason):
        ReasonDistiller.from_recipe(recipe)


@pytest.mark.timeout(60)
def test_as_many_stop_strings_as_there_may_be_cost_little(recipe, rows, tiny):
    recipe["decoding"] |= {"generation_kwargs": {"stop_strings": [f"{i:015}" for i in range(64)]}}
    distill_fn = ReasonDistiller.from_recipe(recipe, model_id=tiny)
    assert set(distill_fn.apply(rows, load_from_cache_file=False)["reasoning_status"]) == {"truncated"}


def test_what_costs_much_may_be_passed_by_its_reader(recipe):
    recipe["distill"] |= {"num_samples": 10_000}
    assert ReasonDistiller.from_recipe(recipe, num_samples=100).config.num_samples == 100


VALUES = [None, True, -1, 10**30, 1.5, float("nan"), "", "x" * 100, [], [[]], [None], {}, {"a": {}}, {"a": [1]}]


@pytest.mark.timeout(120)
def test_no_value_makes_a_recipe_raise_anything_but_our_own_errors(recipe):
    for section in ("distill", "model", "decoding"):
        for name in list(recipe[section]):
            for value in VALUES:
                spoilt = {**recipe, section: {**recipe[section], name: value}}
                with contextlib.suppress(HfRareError):
                    ReasonDistiller.from_recipe(json.loads(json.dumps(spoilt)))
    for name in recipe:
        for value in VALUES:
            with contextlib.suppress(HfRareError):
                ReasonDistiller.from_recipe({**recipe, name: value})


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_model_whose_config_asks_for_code_from_the_hub_is_refused(tiny, tmp_path, key):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text()) | {key: "someone/kernels"}
    (folder / "config.json").write_text(json.dumps(config))
    for settings in ({}, {"attn_implementation": "sdpa"}):
        distill_fn = ReasonDistiller.from_pretrained(str(folder), max_new_tokens=4, **settings)
        with pytest.raises(ModelLoadError, match="'someone/kernels', which is code from the Hub"):
            distill_fn.generator.load()
