"""Which generator a model is written with, by the settings."""

import dataclasses
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.generation.inference_client import InferenceClientGenerator
from hf_rare.generation.protocol import Generator
from hf_rare.generation.transformers import TransformersGenerator
from hf_rare.generation.vllm import VLLMGenerator
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.settings.generation import ModelConfig
from hf_rare.settings.vllm import VLLMConfig


def make_generator(model_id: str, **settings: Any) -> Generator:
    """Make the generator of a model.

    Args:
        model_id (`str`):
            Name of the model on the Hub, or a local folder; with `base_url` or `provider`, what the server calls it.
        **settings:
            The settings of [`DecodingConfig`] and, with `base_url` or `provider`, [`EndpointConfig`]; else those of
            [`ModelConfig`] and, with `engine="vllm"`, [`VLLMConfig`].

    Returns:
        An [`InferenceClientGenerator`] with `base_url` or `provider`, a [`VLLMGenerator`] with `engine="vllm"`, else a
        [`TransformersGenerator`]. No weights are loaded yet, and no server is asked.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ModelLoadError: The model or revision does not exist, or cannot be found out about.
    """
    if settings.get("base_url") is not None or settings.get("provider") is not None:
        settings = _leave_out(settings, ModelConfig, "of local models, and a server has this one. Leave it out.")
        settings = _leave_out(settings, VLLMConfig, "of vLLM in this process. Leave it out.")
        return InferenceClientGenerator.from_endpoint(model_id, **settings)
    settings = _leave_out(settings, EndpointConfig, "of endpoints. Pass base_url or provider too, or leave it out.")
    if settings.get("engine") == "vllm":
        return VLLMGenerator.from_pretrained(model_id, **settings)
    settings = _leave_out(settings, VLLMConfig, "of vLLM. Pass engine='vllm' too, or leave it out.")
    return TransformersGenerator.from_pretrained(model_id, **settings)


def _leave_out(
    settings: dict[str, Any], config: type[ModelConfig | VLLMConfig | EndpointConfig], why: str
) -> dict[str, Any]:
    """Leave out the settings that this generator has nothing for; raise [`ConfigError`] for one that was chosen."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name, default in defaults.items():
        if settings.get(name) not in (None, default):
            raise ConfigError(f"{name}={settings[name]!r} is a setting {why}")
    return {name: value for name, value in settings.items() if name not in defaults}
