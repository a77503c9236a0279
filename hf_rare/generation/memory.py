"""How many tokens of rows fit into the memory that a device has free once the model is loaded."""

from pathlib import Path
from typing import Any

import torch

from hf_rare.generation.devices import worker_number
from hf_rare.settings.launcher import read_number_of_processes

SHARE_OF_FREE = {"cuda": 0.7, "xpu": 0.7, "cpu": 0.4}
"""Share of what is free that keys and values may take: the rest is for what a step computes, and for others."""

SHARE_ELSEWHERE = 0.4
FALLBACK_TOKENS = 32_768
"""Where neither the config nor the device says enough."""


def count_tokens_that_fit(model: Any, device: torch.device) -> int:
    """Count the tokens whose keys and values fit into the memory that is free.

    A token takes `2 * layers * key-value heads * head size * bytes of a number`, as the config has it. Layers that see
    a window or keep a state take less in truth. Processes of one machine that share its memory, as launchers start
    them on CPUs, take equal parts. A worker of `map(num_proc=...)` does not know how many there are, and takes no more
    than [`FALLBACK_TOKENS`].

    Args:
        model ([`~transformers.PreTrainedModel`]): the model, loaded.
        device (`torch.device`): the device that prompts go to.

    Returns:
        `int`: tokens, at least 1.
    """
    size, free = bytes_per_token(model), free_bytes(device)
    if not size or free is None:
        return FALLBACK_TOKENS
    parts = read_number_of_processes("LOCAL_WORLD_SIZE") if device.type == "cpu" else 1
    tokens = max(1, int(free * SHARE_OF_FREE.get(device.type, SHARE_ELSEWHERE)) // size // parts)
    return tokens if worker_number() is None else min(tokens, FALLBACK_TOKENS)


def bytes_per_token(model: Any) -> int:
    """Return what keys and values of a token take; 0 where the config does not say it."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_attention_heads", None)
    hidden, layers = getattr(config, "hidden_size", None), getattr(config, "num_hidden_layers", None)
    if not isinstance(heads, int) or not isinstance(hidden, int) or not isinstance(layers, int):
        return 0
    kept = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or hidden // heads
    return 2 * layers * int(kept) * int(width) * int(getattr(model, "dtype", torch.float32).itemsize)


CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where a container's limit on memory stands, and what of it is used: version 2 and version 1."""


def free_bytes(device: torch.device) -> int | None:
    """Return the memory that is free on a device; `None` where it does not say."""
    if device.type == "cpu":
        import psutil

        return min([psutil.virtual_memory().available, *_left_by_cgroups()])
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept_for_later = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept_for_later)
    return None


def _left_by_cgroups() -> list[int]:
    """Return what a container's limit leaves, where there is one: the machine's own figure knows nothing of it."""
    left = []
    for limit, used in CGROUPS:
        try:
            left.append(max(0, int(Path(limit).read_text()) - int(Path(used).read_text())))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return left
