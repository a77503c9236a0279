"""A random model in the shape of an 8-billion one: its weights are made where they are needed, and nothing is read."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from tests.support.tiny import make_tokenizer

EIGHT_BILLION: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "tie_word_embeddings": False,
}
"""As `config.json` of Llama 3.1 8B has it, in the words that every engine reads."""

SMALL: dict[str, Any] = EIGHT_BILLION | {
    "dtype": "float32",
    "vocab_size": 640,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "rope_scaling": None,
}
"""The same for a CPU: heads are as wide as vLLM's attention for CPUs wants them."""


def make_plain_tokenizer(config: LlamaConfig) -> PreTrainedTokenizerFast:
    """Make the tokenizer of the tiny teacher, for a model that reads longer texts."""
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = config.max_position_embeddings
    return tokenizer


def make_config(settings: dict[str, Any]) -> LlamaConfig:
    """Make a config, with the control tokens of the tiny teacher's tokenizer."""
    tokenizer = make_tokenizer()
    special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return LlamaConfig(**settings, **special)


def make_model(settings: dict[str, Any], device: str) -> Any:
    """Make a model with random weights, on its device."""
    torch.manual_seed(0)
    config = make_config(settings)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, settings["dtype"])).eval()


def save_without_weights(settings: dict[str, Any], folder: Path) -> None:
    """Save config and tokenizer, for engines that make the weights themselves."""
    config = make_config(settings)
    special = {"bos_token_id": None, "eos_token_id": config.eos_token_id, "pad_token_id": config.pad_token_id}
    named = {name: value for name, value in (settings | special).items() if value is not None}
    named["torch_dtype"] = named["dtype"]  # as it was called before
    make_plain_tokenizer(config).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(named, indent=2), encoding="utf-8")
