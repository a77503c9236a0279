"""What chat templates say of the thought that a model writes before its JSON."""

from pathlib import Path

import pytest

from hf_rare.generation.encoder import PromptEncoder
from hf_rare.generation.thought_end import ThoughtEnd
from tests.support.tiny import make_tokenizer

trl = pytest.importorskip("trl")
TEMPLATES = Path(trl.__file__).parent / "chat_templates"
GPT_OSS = "<|channel|>analysis<|message|>Hm, {}.<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>"


def read(name, **kwargs):
    tokenizer = make_tokenizer((TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8"))
    encoder = PromptEncoder(tokenizer, kwargs)
    return ThoughtEnd.of_template(encoder.template, encoder.opening)


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "nemotron_3_nano", "qwen3_5_think", "qwen3_6"])
def test_templates_that_open_a_thought(name):
    found = read(name)
    assert found.opening == ""
    assert found.find("So it is.</think>", True) == len("So it is.</think>")
    assert found.find("So it is.", True) is None


@pytest.mark.parametrize(
    ("name", "opening", "ending"),
    [
        ("qwen3", "<think>", "</think>"),
        ("glm4moe", "<think>", "</think>"),
        ("lfm2_2_5", "<think>", "</think>"),
        ("gemma4", "<|channel>thought", "<channel|>"),
    ],
)
def test_templates_of_models_that_may_think(name, opening, ending):
    found = read(name)
    assert found.opening == opening
    assert found.find(f"{opening}So it is.{ending}", True) == len(f"{opening}So it is.{ending}")


@pytest.mark.parametrize("name", ["gemma3", "llama3_2", "phi3_5", "qwen2_5", "qwen3_instruct_2507", "cohere2"])
def test_templates_of_models_that_do_not_think(name):
    assert read(name) == ThoughtEnd()


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "qwen3_6", "glm4moe", "nemotron_3_nano"])
def test_templates_in_which_thoughts_are_switched_off(name):
    assert read(name, enable_thinking=False) == ThoughtEnd()


def test_what_is_said_in_a_channel_begins_behind_its_marker():
    found = read("gptoss")
    assert found.opening == ""
    assert found.find(GPT_OSS.format("yes"), True) == len(GPT_OSS.format("yes"))
    assert found.find("<|channel|>final<|message|>", True) == len("<|channel|>final<|message|>")
    assert found.find("ends with <|channel|>final<|message|>", False) is None
    said = "to=self<|message|>So.<|eom|><|start|>assistant to=user<|message|>"
    assert read("muse_glimmer").find(said, True) == len(said)
