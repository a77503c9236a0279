"""The rows that are written together are as many as the memory has room for."""

import multiprocess
import psutil
import pytest
import torch
from transformers import LlamaConfig, MambaConfig

from hf_rare import TransformersGenerator
from hf_rare.compat.transformers import name_of_cache
from hf_rare.generation.memory import FALLBACK_TOKENS, bytes_per_token, count_tokens_that_fit, free_bytes
from tests.support.tiny import make_model, make_tokenizer


class Named:
    """A model as far as its memory is concerned."""

    def __init__(self, config, dtype=torch.bfloat16):
        self.config, self.dtype = config, dtype


EIGHT_BILLION = LlamaConfig(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8)


def test_a_token_takes_what_its_keys_and_values_take():
    assert bytes_per_token(Named(EIGHT_BILLION)) == 2 * 32 * 8 * 128 * 2
    assert bytes_per_token(Named(EIGHT_BILLION, torch.float32)) == 2 * 32 * 8 * 128 * 4
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    cache = model(torch.tensor([[1, 2, 3]]), use_cache=True)[name_of_cache(model)]
    held = sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
    assert held == 3 * bytes_per_token(model)


def test_what_fits_is_a_share_of_what_is_free_and_is_divided_among_processes(monkeypatch):
    free = 10 * 2**30
    monkeypatch.setattr("hf_rare.generation.memory.CGROUPS", ())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": free}))
    alone = count_tokens_that_fit(Named(EIGHT_BILLION), torch.device("cpu"))
    assert alone == int(free * 0.4) // 131_072
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert count_tokens_that_fit(Named(EIGHT_BILLION), torch.device("cpu")) == alone // 4


def test_a_worker_leaves_room_for_others(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10 * 2**40}))
    monkeypatch.setattr("hf_rare.generation.memory.CGROUPS", ())
    assert count_tokens_that_fit(Named(EIGHT_BILLION), torch.device("cpu")) > FALLBACK_TOKENS
    with multiprocess.Pool(1) as pool:
        pool.apply(torch.set_num_threads, (1,))
        assert pool.apply(count_tokens_that_fit, (Named(EIGHT_BILLION), torch.device("cpu"))) == FALLBACK_TOKENS


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    (tmp_path / "limit").write_text("1000000\n")
    (tmp_path / "used").write_text("400000\n")
    files = (tmp_path / "limit", tmp_path / "used")
    monkeypatch.setattr("hf_rare.generation.memory.CGROUPS", [files, ("/not/there", "/not/there")])
    assert free_bytes(torch.device("cpu")) == 600_000
    (tmp_path / "limit").write_text("max\n")
    assert free_bytes(torch.device("cpu")) > 10_000_000


def test_a_model_that_does_not_say_what_it_keeps_gets_a_moderate_number():
    assert count_tokens_that_fit(Named(MambaConfig()), torch.device("cpu")) == FALLBACK_TOKENS


@pytest.mark.parametrize("given", [None, 500])
def test_a_number_that_is_given_bounds_it(given):
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    generator = TransformersGenerator(model, tokenizer, max_new_tokens=4, max_batch_tokens=given)
    assert (generator.packer.max_tokens == 500) == (given == 500)
    assert generator.packer.max_tokens > 10_000 or given
