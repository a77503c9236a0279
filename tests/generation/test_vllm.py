"""The generator for vLLM as far as it goes without vLLM: what is refused, translated, recorded and pickled."""

import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hf_rare import ReasonDistiller, TransformersGenerator, VLLMGenerator
from hf_rare.errors import ConfigError, MissingPackageError
from hf_rare.generation.devices import pick_device_numbers
from hf_rare.settings.base import split_settings
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.vllm import REFUSED_SETTINGS, VLLMConfig
from tests.support.conformance import CONVERSATIONS

HAS_VLLM = importlib.util.find_spec("vllm") is not None


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """What pip would leave of vLLM 9.9 for those who ask for its version."""
    info = tmp_path / "packages" / "vllm-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(info.parent)


@pytest.fixture
def with_config(tiny, tmp_path):
    """Makes the folder of a model whose own generation config says more."""

    def make(**own) -> str:
        folder = tmp_path / "model"
        shutil.copytree(tiny, folder)
        path = folder / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | own))
        return str(folder)

    return make


def make(model, **settings):
    return VLLMGenerator.from_pretrained(model, max_new_tokens=16, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device_map": "auto"}, "device_map='auto'.*tensor_parallel_size"),
        ({"tp_plan": "auto"}, "tensor_parallel_size"),
        ({"max_memory": {"0": "1GB"}}, "gpu_memory_utilization"),
        ({"gguf_file": "model.gguf"}, "safetensors"),
        ({"attn_implementation": "eager"}, "attention_backend"),
        ({"quantization_config": {"quant_method": "awq"}}, "engine_kwargs={.quantization"),
        ({"dtype": "float64"}, "float32"),
        ({"max_batch_tokens": 100}, "max_num_seqs"),
        ({"engine": "static"}, "engine='static'.*vLLM writes"),
        ({"engine_kwargs": {"max_model_len": 100}}, "context_length"),
        ({"engine_kwargs": {"hf_token": "hf_x"}}, "settings are recorded"),
        ({"engine_kwargs": {"seed": 1}}, "every row gets a seed"),
        ({"engine_kwargs": {"data_parallel_size": 2}}, "a process for each copy"),
        ({"engine_kwargs": {"quantization": object()}}, "JSON"),
        ({"silence_timeout": 0}, "silence_timeout=0"),
        ({"max_num_seqs": 4}, "max_num_seqs"),
        ({"generation_kwargs": {"num_beams": 2}}, "num_beams=2, which vLLM does not have"),
        ({"generation_kwargs": {"no_repeat_ngram_size": 3}}, "TransformersGenerator"),
        ({"generation_kwargs": {"temperature": 1.0, "typical_p": 0.5}}, "typical_p=0.5"),
        ({"generation_kwargs": {"temperature": 3.0}}, "temperature=3.0.*from 0.01 to 2"),
        ({"generation_kwargs": {"temperature": 0.001}}, "temperature=0.001"),
        ({"generation_kwargs": {"cache_implementation": "static"}}, "cache_implementation.*does nothing"),
    ],
)
def test_what_vllm_has_nothing_for_is_refused_at_once(tiny, settings, message):
    with pytest.raises(ConfigError, match=message):
        make(tiny, **settings)


def test_every_refused_setting_is_one():
    settings = dict.fromkeys(REFUSED_SETTINGS)
    assert sum(map(len, split_settings(settings, ModelConfig, DecodingConfig))) == len(settings)


def test_what_the_models_own_config_asks_for_is_refused_too_until_it_is_overruled(with_config):
    folder = with_config(no_repeat_ngram_size=3)
    with pytest.raises(ConfigError, match="the model's own generation config has no_repeat_ngram_size=3"):
        make(folder)
    assert make(folder, generation_kwargs={"no_repeat_ngram_size": None}).sampling["temperature"] == 0


def test_settings_mean_what_they_mean_to_transformers(tiny, with_config):
    end = TransformersGenerator.from_pretrained(tiny).teacher.tokenizer.eos_token_id
    greedy = make(tiny).sampling
    assert greedy["temperature"] == 0
    assert (greedy["max_tokens"], greedy["min_tokens"], greedy["stop_token_ids"]) == (16, 0, [end])
    assert not greedy["detokenize"]
    kwargs = {"temperature": 0.7, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.1, "stop_strings": "END"}
    drawn = make(tiny, generation_kwargs={**kwargs, "min_new_tokens": 99, "eos_token_id": [5, 3]}).sampling
    expected = {"temperature": 0.7, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.1, "stop": ["END"]}
    assert expected.items() <= drawn.items()
    assert (drawn["min_tokens"], drawn["stop_token_ids"], drawn["detokenize"]) == (16, [3, 5], True)
    assert drawn["top_k"] == 50  # what `generate` takes where nobody says it
    assert make(tiny, generation_kwargs={"top_k": 0}).sampling["top_k"] == 0
    own = make(with_config(do_sample=True, temperature=0.6, top_k=20))
    assert own.is_sampling
    assert {"temperature": 0.6, "top_k": 20}.items() <= own.sampling.items()


def test_where_a_schema_ends_the_tokenizers_end_token_ends_the_text(with_config):
    folder = with_config(eos_token_id=7)
    assert make(folder).sampling["stop_token_ids"] == [7]
    end = make(folder).teacher.tokenizer.eos_token_id
    assert make(folder, json_schema={"type": "object"}).sampling["stop_token_ids"] == sorted([7, end])


def test_prompts_are_those_of_the_generator_of_transformers(tiny):
    ours = TransformersGenerator.from_pretrained(tiny, max_new_tokens=16).encoder
    encoder = make(tiny).encoder
    conversations = [*CONVERSATIONS, [{"role": "user", "content": "It says <|im_end|> in the middle."}]]
    assert encoder.encode(conversations) == ours.encode(conversations)
    assert encoder.max_prompt_tokens == ours.max_prompt_tokens


def test_the_identity_is_that_of_the_weights_and_of_vllm(tiny, installed):
    ours = TransformersGenerator.from_pretrained(tiny, max_new_tokens=16).identity()
    identity = make(tiny).identity()
    assert identity == {**ours, "engine": "vllm", "vllm": "9.9"}
    faster = make(tiny, engine_kwargs={"gpu_memory_utilization": 0.5, "max_num_seqs": 8}, silence_timeout=90)
    assert faster.identity() == identity
    quantized = make(tiny, engine_kwargs={"quantization": "fp8", "max_num_seqs": 8}).identity()
    assert quantized == {**identity, "engine_kwargs": {"quantization": "fp8"}}
    assert make(tiny, generation_kwargs={"temperature": 1.0}).identity() != identity
    drafted = make(tiny, engine_kwargs={"speculative_config": {"model": tiny, "method": "draft"}}).identity()
    assert drafted["engine_kwargs"] == {"speculative_config": {"model": Path(tiny).name, "method": "draft"}}


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed: what is said where it is missing cannot be seen")
def test_where_vllm_is_missing_it_is_said_what_to_install(tiny):
    generator = make(tiny)
    for use in (generator.identity, generator.load):
        with pytest.raises(MissingPackageError, match=r"needs vLLM.*pip install hf-rare\[vllm\]"):
            use()


def test_it_pickles_to_its_settings(tiny, installed):
    settings = {"generation_kwargs": {"temperature": 0.8}, "engine_kwargs": {"max_num_seqs": 8}, "silence_timeout": 5}
    generator = make(tiny, **settings)
    copied = pickle.loads(pickle.dumps(generator))
    assert copied.settings() == generator.settings()
    assert copied.settings()["vllm"] == {"engine_kwargs": {"max_num_seqs": 8}, "silence_timeout": 5}
    assert copied.identity() == generator.identity()
    assert len(pickle.dumps(ReasonDistiller(generator))) < 20_000
    assert VLLMConfig.from_json(generator.config.to_json()) == generator.config


def test_vllm_is_not_imported_before_it_is_used(tiny):
    code = (
        "import sys; from hf_rare import VLLMGenerator; generator = VLLMGenerator.from_pretrained(sys.argv[1]);"
        "assert generator.encoder.encode([[{'role': 'user', 'content': 'Hi'}]])[0].token_ids;"
        "assert not generator.is_loaded; assert 'vllm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tiny], check=True)


def test_a_process_of_a_launcher_leaves_the_devices_of_others_alone(monkeypatch):
    import torch

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    assert pick_device_numbers(2) is None
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device_numbers(2) == [2, 3]
    with pytest.raises(ConfigError, match=r"Process 1 .* needs the devices \[3, 4, 5\], and there are 4"):
        pick_device_numbers(3)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert pick_device_numbers(2) is None
