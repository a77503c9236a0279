"""Decoding held to a JSON schema: a random model writes JSON, whichever engine writes it."""

import json
import shutil
import sys

import pytest
from datasets import Dataset

from hf_rare import QueryGenerator, TransformersGenerator
from hf_rare.errors import ConfigError, MissingPackageError
from hf_rare.writers.questions import make_question_schema
from tests.generation.test_static import CONVERSATIONS, llama, tokenizer
from tests.generation.test_transformers import complete
from tests.support.plain import PlainGenerator

__all__ = ["llama", "tokenizer"]  # fixtures

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"enum": ["right", "wrong"]}, "reason": {"type": "string", "maxLength": 12}},
    "required": ["verdict", "reason"],
    "additionalProperties": False,
}
SETTINGS = {"max_new_tokens": 80, "json_schema": SCHEMA, "generation_kwargs": {"temperature": 1.0, "top_k": 20}}


def test_every_completion_is_what_the_schema_says(llama, tokenizer):
    generator = TransformersGenerator(llama, tokenizer, **SETTINGS)
    completions = complete(generator, CONVERSATIONS)
    assert type(generator.engine).__name__ == "StaticEngine"
    assert completions == complete(PlainGenerator(llama, tokenizer, **SETTINGS), CONVERSATIONS)
    values = [json.loads(completion.text) for completion in completions]
    assert all(set(value) == {"verdict", "reason"} and len(value["reason"]) <= 12 for value in values)
    assert {completion.finish_reason for completion in completions} == {"stop"}
    assert len({completion.text for completion in completions}) > len(completions) // 2


def test_the_schema_is_part_of_what_a_completion_depends_on(tiny):
    one, other = (TransformersGenerator.from_pretrained(tiny, json_schema=schema) for schema in (None, SCHEMA))
    assert one.identity() != other.identity()
    assert other.identity()["generation_config"]["json_schema"] == SCHEMA


def test_questions_of_a_random_model(tiny):
    documents = Dataset.from_dict({"text": ["Ebb and flood.", "Rye and wheat."]})
    query_fn = QueryGenerator.from_pretrained(
        tiny, num_questions=2, max_new_tokens=250, json_schema=make_question_schema(2, max_length=20),
        generation_kwargs={"temperature": 1.0},
    )  # fmt: skip
    asked = query_fn.apply(documents)
    assert asked["question_status"][:] == ["ok", "ok"]
    assert all(len(questions) == 2 for questions in asked["question"])


def test_what_cannot_be_used_is_said(llama, tokenizer, monkeypatch):
    with pytest.raises(ConfigError, match="json_schema cannot be used"):
        complete(TransformersGenerator(llama, tokenizer, json_schema={"type": "nothing"}), CONVERSATIONS[:1])
    with pytest.raises(ConfigError, match="json_schema='text'"):
        TransformersGenerator(llama, tokenizer, json_schema="text")
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingPackageError, match=r"hf-rare\[guided\]"):
        complete(TransformersGenerator(llama, tokenizer, json_schema=SCHEMA), CONVERSATIONS[:1])


@pytest.mark.parametrize("where", ["given", "the model's own"])
def test_beam_search_is_refused_before_the_model_is_loaded(tiny, tmp_path, where):
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    if where != "given":
        path = tmp_path / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"num_beams": 2}))
    given = {"num_beams": 2} if where == "given" else {}
    generator = TransformersGenerator.from_pretrained(str(tmp_path), json_schema=SCHEMA, generation_kwargs=given)
    with pytest.raises(ConfigError, match="json_schema does not go with num_beams=2"):
        generator.identity()
    assert not generator.is_loaded
    one = {"num_beams": 1}
    assert TransformersGenerator.from_pretrained(str(tmp_path), json_schema=SCHEMA, generation_kwargs=one).identity()
