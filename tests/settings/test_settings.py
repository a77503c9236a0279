import json
from pathlib import Path

import pytest
import torch
from transformers import BitsAndBytesConfig

from hf_rare.errors import ConfigError
from hf_rare.settings.base import split_settings
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.run import RunConfig
from hf_rare.settings.writers import DistillConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"num_samples": 0},
        {"num_samples": True},
        {"num_samples": 1.5},
        {"seed": "0"},
        {"columns": "some"},
        {"text_column": ""},
        {"question_column": None},
        {"template": ""},
        {"thought_tags": ("<think>",)},
        {"thought_tags": "<think>"},
        {"answer_tags": ("", "</answer>")},
        {"template_columns": "options"},
        {"system_prompt": ""},
        {"expand": 1},
        {"require_answer": "yes"},
    ],
)
def test_wrong_distill_setting_is_refused_by_name(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        DistillConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 0},
        {"max_batch_tokens": 0},
        {"context_length": 0},
        {"context_length": 100, "max_new_tokens": 100},
        {"generation_kwargs": ["temperature"]},
        {"generation_kwargs": {"stop_strings": object()}},
        {"generation_kwargs": {"do_sample": True, "num_beams": 2}},
        {"generation_kwargs": {"temperature": -1}},
        {"generation_kwargs": {"temperature": "0.7"}},
        {"generation_kwargs": {"temperature": float("nan")}},
        {"generation_kwargs": {"temperature": float("inf")}},
        {"generation_kwargs": {"temperature": True}},
        {"generation_kwargs": {"top_p": 0}},
        {"generation_kwargs": {"top_p": 1.5}},
        {"generation_kwargs": {"top_k": -1}},
        {"generation_kwargs": {"top_k": 1.5}},
        {"generation_kwargs": {"repetition_penalty": 0}},
        {"generation_kwargs": {"num_beams": 0}},
        {"generation_kwargs": {"remove_invalid_values": True}},
        {"generation_kwargs": {"stop_strings": 5}},
        {"generation_kwargs": {"stop_strings": [""]}},
        {"generation_kwargs": {"cache_implementation": "nothing"}},
        {"chat_template_kwargs": {"tokenize": True}},
        {"chat_template_kwargs": {"add_generation_prompt": False}},
        {"chat_template_kwargs": {"messages": []}},
    ],
)
def test_wrong_decoding_setting_is_refused(settings):
    with pytest.raises(ConfigError):
        DecodingConfig(**settings)


def test_unknown_generation_kwarg_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="Did you mean 'temperature'"):
        DecodingConfig(generation_kwargs={"temprature": 0.5})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_new_tokens", "of its own"),
        ("max_length", "max_new_tokens"),
        ("min_length", "min_new_tokens"),
        ("num_return_sequences", "num_samples"),
        ("seed", "every row"),
        ("max_time", "speed"),
    ],
)
def test_generation_kwargs_that_would_break_a_promise_are_refused_with_a_way_out(name, hint):
    with pytest.raises(ConfigError, match=hint):
        DecodingConfig(generation_kwargs={name: 1})


def test_whole_numbers_are_taken_where_transformers_wants_floats():
    kwargs = DecodingConfig(
        generation_kwargs={"temperature": 2, "repetition_penalty": 1, "top_k": 5}
    ).generation_kwargs
    assert [type(value) for value in kwargs.values()] == [float, float, int]


@pytest.mark.parametrize("name", ["revision", "gguf_file", "device_map", "attn_implementation", "adapter"])
def test_model_settings_of_the_wrong_type_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name}=3"):
        ModelConfig(model_id="m", **{name: 3})


def test_sizes_of_memory():
    sizes = {0: "10GiB", "cpu": "1.5 gb", "disk": 10**12, "mps": "20KB"}
    assert list(ModelConfig(model_id="some/model", max_memory=sizes).max_memory.values()) == list(sizes.values())
    for wrong in ("1e309GB", "GB", "10", "-1GB", "inf GB", -1, True, 1.5, None, [1]):
        with pytest.raises(ConfigError, match=r"max_memory=.*in bytes or as texts such as '10GiB'"):
            ModelConfig(model_id="some/model", max_memory={"cpu": wrong})


def test_wrong_model_settings_are_refused():
    with pytest.raises(ConfigError, match="dtype"):
        ModelConfig(model_id="m", dtype="float8")
    with pytest.raises(ConfigError, match="quant_method"):
        ModelConfig(model_id="m", quantization_config={"bits": 4})


def test_objects_become_json():
    config = ModelConfig(
        model_id=Path("folder"),
        dtype=torch.bfloat16,
        quantization_config=BitsAndBytesConfig(load_in_8bit=True),
    )
    assert config.model_id == "folder"
    assert config.dtype == "bfloat16"
    assert config.quantization_config["quant_method"] == "bitsandbytes"
    assert ModelConfig.from_json(config.to_json()) == config


def test_json_is_the_same_for_equal_settings_and_comes_back():
    config = DistillConfig(thought_tags=["[", "]"], seed=3)
    assert config.to_json() == DistillConfig(seed=3, thought_tags=("[", "]")).to_json()
    assert DistillConfig.from_json(config.to_json()) == config
    assert list(json.loads(config.to_json())) == sorted(config.names())


def test_a_sampling_setting_in_the_wrong_place_is_told_where_it_goes():
    with pytest.raises(ConfigError, match=r"'temperature' goes into generation_kwargs="):
        split_settings({"temperature": 0.7}, DistillConfig, ModelConfig)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_hours": True},
        {"max_hours": 0},
        {"max_rows": 0},
        {"on_error": "ignore"},
        {"journal_dir": ""},
        {"max_tries": 0},
    ],
)
def test_wrong_run_settings_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        RunConfig(**settings)


def test_sampling_settings_pass_without_a_warning(caplog):
    DecodingConfig(generation_kwargs={"temperature": 0.9, "top_p": 0.5})
    assert caplog.records == []


def test_settings_go_to_the_config_that_has_them():
    distill, model = split_settings({"seed": 1, "dtype": "float32"}, DistillConfig, ModelConfig)
    assert distill == {"seed": 1}
    assert model == {"dtype": "float32"}
    with pytest.raises(ConfigError, match="Did you mean 'revision'"):
        split_settings({"revison": "main"}, DistillConfig, ModelConfig)


def test_no_name_belongs_to_two_configs():
    names = [*DistillConfig.names(), *ModelConfig.names(), *DecodingConfig.names()]
    assert len(names) == len(set(names))


def test_none_stands_for_what_is_not_given():
    for kwargs in (
        {"num_beams": None, "do_sample": True},
        {"do_sample": None},
        {"do_sample": None, "temperature": 0.7},
    ):
        assert DecodingConfig(generation_kwargs=kwargs).generation_kwargs == kwargs
