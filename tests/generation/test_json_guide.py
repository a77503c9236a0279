"""Decoding held to a JSON schema: a random model writes JSON, whichever engine writes it."""

import itertools
import json
import shutil
import sys
from typing import Any

import pytest
from datasets import Dataset
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from hf_rare import QueryGenerator, ReasonDistiller, TransformersGenerator
from hf_rare.errors import ConfigError, MissingPackageError
from hf_rare.writers.questions import make_question_schema
from tests.generation.test_static import CONVERSATIONS, llama, tokenizer
from tests.generation.test_transformers import complete
from tests.support.plain import PlainGenerator
from tests.support.tiny import CHAT_TEMPLATE, THINKING_CHAT_TEMPLATE, make_model, make_tokenizer

__all__ = ["llama", "tokenizer"]  # fixtures

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"enum": ["right", "wrong"]}, "reason": {"type": "string", "maxLength": 12}},
    "required": ["verdict", "reason"],
    "additionalProperties": False,
}
NOT_THINKING = {"enable_thinking": False}
CLOSED_TEMPLATE = CHAT_TEMPLATE.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n\n</think>\n\n")
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
    huge = {"type": "integer", "minimum": -(10**400)}
    with pytest.raises(ConfigError, match=r"json_schema cannot be used: .* more characters"):
        complete(TransformersGenerator(llama, tokenizer, json_schema=huge), CONVERSATIONS[:1])
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(3000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(ConfigError, match=r"json_schema cannot be used|JSON cannot hold"):
        complete(TransformersGenerator(llama, tokenizer, json_schema=deep), CONVERSATIONS[:1])
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


# thoughts

MAY_THINK_TEMPLATE = "{# <think>...</think> of earlier turns are dropped #}" + CHAT_TEMPLATE
OPENS, ENDS = "<think>", "</think>"


def make_thinker(template, *, marker_is_token=True, eagerness=None):
    """Make a random model that begins to write markers, as eagerly as is said, and goes on to their ends."""
    eagerness = eagerness or {ENDS: 6.0}
    tokenizer = make_tokenizer(template)
    if not marker_is_token:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(_without_tags(tokenizer.backend_tokenizer.to_str())),
            eos_token="<|im_end|>",
            pad_token="<|endoftext|>",
        )
        tokenizer.chat_template = template
        tokenizer.model_max_length = 2048
    ways = [tokenizer.encode(marker, add_special_tokens=False) for marker in eagerness]
    assert all((len(way) == 1) == marker_is_token for way in ways)
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)

    def write_markers(module, arguments, inputs, output):
        kept = inputs.get("logits_to_keep", 0)
        last = inputs["input_ids"][:, slice(-kept, None) if isinstance(kept, int) else kept]
        for way, more in zip(ways, eagerness.values(), strict=True):
            output.logits[..., way[0]] += more
            for now, then in itertools.pairwise(way):
                output.logits[..., then] += 100.0 * (last == now)
        return output

    model.register_forward_hook(write_markers, with_kwargs=True)
    return model, tokenizer


def _without_tags(backend: str) -> str:
    values = json.loads(backend)
    values["added_tokens"] = [token for token in values["added_tokens"] if token["special"]]
    return json.dumps(values)


def complete_alike(model, tokenizer, **settings):
    """Complete in either engine; see that the texts are the same."""
    settings = SETTINGS | {"max_new_tokens": 300} | settings
    completions = complete(TransformersGenerator(model, tokenizer, **settings), CONVERSATIONS)
    assert completions == complete(PlainGenerator(model, tokenizer, **settings), CONVERSATIONS)
    return completions


@pytest.mark.parametrize("marker_is_token", [True, False])
def test_behind_a_thought_that_the_template_opens_there_is_what_the_schema_says(marker_is_token):
    completions = complete_alike(*make_thinker(THINKING_CHAT_TEMPLATE, marker_is_token=marker_is_token))
    thoughts = []
    for completion in completions:
        assert completion.finish_reason == "stop"
        thought, _, said = completion.text.partition(ENDS)
        assert set(json.loads(said)) == {"verdict", "reason"}
        thoughts.append(thought)
    assert len(set(thoughts)) > 6
    assert not any(map(_is_json, thoughts))


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("marker_is_token", [True, False])
def test_a_model_that_may_think_opens_a_thought_or_begins_with_the_json(marker_is_token):
    thinker = make_thinker(MAY_THINK_TEMPLATE, marker_is_token=marker_is_token, eagerness={OPENS: -2.0, ENDS: 6.0})
    texts = [completion.text for completion in complete_alike(*thinker)]
    begins = [text.startswith(OPENS) for text in texts]
    assert 0 < sum(begins) < len(begins)
    said = [text.partition(ENDS)[2] if is_thought else text for text, is_thought in zip(texts, begins, strict=True)]
    assert all(map(_is_json, said))


@pytest.mark.parametrize(
    ("template", "kwargs"), [(CHAT_TEMPLATE, {}), (CLOSED_TEMPLATE, {}), (THINKING_CHAT_TEMPLATE, NOT_THINKING)]
)
def test_models_that_do_not_think_are_held_from_the_first_token(template, kwargs):
    model, tokenizer = make_thinker(template, eagerness={OPENS: 6.0, ENDS: 6.0})
    completions = complete_alike(model, tokenizer, chat_template_kwargs=kwargs)
    assert all(_is_json(completion.text) for completion in completions)


def test_a_thought_that_never_ends_is_truncated_and_ends_in_no_other_way(tiny_thinking):
    schema = make_question_schema(max_length=12)
    sampling = {"suppress_tokens": make_tokenizer().encode(ENDS), "temperature": 1.0}
    query_fn = QueryGenerator.from_pretrained(
        tiny_thinking, json_schema=schema, max_new_tokens=60, generation_kwargs=sampling
    )
    asked = query_fn.apply(Dataset.from_dict({"text": ["Ebb and flood.", "Rye and wheat."]}))
    assert asked["question_status"][:] == ["truncated"] * 2
    assert set(asked["question_error"]) == {"the token limit ended the completion"}


def test_a_thought_is_the_reasoning_and_the_json_what_is_said(rows):
    settings = {"max_new_tokens": 300, "generation_kwargs": {"temperature": 1.0, "top_k": 20}}
    generator = TransformersGenerator(*make_thinker(THINKING_CHAT_TEMPLATE), **settings, json_schema=SCHEMA)
    distilled = ReasonDistiller(generator).apply(rows)
    assert distilled["reasoning_status"][:] == ["ok"] * len(rows)
    assert all(map(_is_json, distilled["reasoning_answer"]))
    schema = make_question_schema(max_length=12)
    generator = TransformersGenerator(*make_thinker(THINKING_CHAT_TEMPLATE), **settings, json_schema=schema)
    asked = QueryGenerator(generator).apply(rows.select_columns(["text"]))
    assert asked["question_status"][:] == ["ok"] * len(rows)


def test_where_the_schema_begins_is_part_of_what_a_completion_depends_on(tiny, tiny_thinking):
    begins = [
        TransformersGenerator.from_pretrained(folder, json_schema=schema, chat_template_kwargs=kwargs)
        .identity()["generation_config"]
        .get("json_schema_begins")
        for folder, schema, kwargs in (
            (tiny, SCHEMA, {}),
            (tiny_thinking, SCHEMA, {}),
            (tiny_thinking, SCHEMA, NOT_THINKING),
            (tiny_thinking, None, {}),
            (tiny, SCHEMA, {"chat_template": MAY_THINK_TEMPLATE}),
        )
    ]
    assert begins == [None, "behind the thought", None, None, "behind a thought that the model may open"]
