"""Private names of accelerate: the hook of a model whose weights it brings in."""

from typing import Any

from hf_rare.compat.private import look_up

SEEN = "1.15.0"
"""The version that was last seen to have these names."""


def hook_device(model: Any) -> Any:
    """Return the device that a model computes on whose own weights are of no device: its `_hf_hook`."""
    return look_up(model, "_hf_hook", "accelerate", SEEN).execution_device
