"""Which generator a model is written with, by the settings."""

from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.generation.local import LocalGenerator
from hf_rare.generation.transformers import TransformersGenerator
from hf_rare.generation.vllm import VLLMGenerator
from hf_rare.settings.vllm import VLLMConfig


def make_generator(model_id: str, **settings: Any) -> LocalGenerator:
    """Make the generator of a local model: a [`VLLMGenerator`] with `engine="vllm"`, else a [`TransformersGenerator`].

    Args:
        model_id (`str`):
            Name of the model on the Hub, or a local folder.
        **settings:
            The settings of [`ModelConfig`], [`DecodingConfig`] and, with `engine="vllm"`, [`VLLMConfig`].

    Returns:
        The generator. No weights are loaded yet.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ModelLoadError: The model or revision does not exist, or cannot be found out about.
    """
    if settings.get("engine") == "vllm":
        return VLLMGenerator.from_pretrained(model_id, **settings)
    if given := [name for name in VLLMConfig.names() if name in settings]:
        raise ConfigError(
            f"{given[0]}={settings[given[0]]!r} is a setting of vLLM. Pass engine='vllm' too, or leave it out."
        )
    return TransformersGenerator.from_pretrained(model_id, **settings)
