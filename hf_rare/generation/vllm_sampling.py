"""From a generation config of transformers to the sampling parameters of vLLM: as a plain dict, without vLLM.

What vLLM has nothing for is refused, whether the caller or the model's own generation config asks for it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_rare.compat.transformers import default_generation_params
from hf_rare.errors import ConfigError
from hf_rare.generation.decoding import end_token_ids

if TYPE_CHECKING:
    from transformers import GenerationConfig

TRANSLATED = (
    "bos_token_id",
    "do_sample",
    "eos_token_id",
    "min_new_tokens",
    "min_p",
    "pad_token_id",
    "repetition_penalty",
    "stop_strings",
    "temperature",
    "top_k",
    "top_p",
)
"""What of `generation_kwargs` is handed on to vLLM, or counts where its tokens are read."""

CHANGES_TEXT = {
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
    "exponential_decay_length_penalty": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "sequence_bias": None,
    "suppress_tokens": None,
    "top_h": None,
    "typical_p": 1,
    "watermarking_config": None,
}
"""What changes a text and is not in vLLM, each with the value, besides `None`, with which it does not."""

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 2
"""vLLM raises a lower one to this and refuses a higher one."""


def make_sampling(
    config: "GenerationConfig", stop_strings: list[str], given: Mapping[str, Any], end_ids: set[int] | None = None
) -> dict[str, Any]:
    """Translate a generation config to the arguments of vLLM's `SamplingParams`, but for the seed.

    Args:
        config ([`~transformers.GenerationConfig`]):
            The config as [`build_generation_config`] has made it, without stop strings.
        stop_strings (`list[str]`):
            Texts that end a completion.
        given (`Mapping[str, Any]`):
            The caller's `generation_kwargs`, which are all in the config; none of them may be dropped.
        end_ids (`set[int]`, *optional*):
            Tokens that end a completion. By default those of the config.

    Returns:
        `dict[str, Any]`: the arguments.

    Raises:
        ConfigError: vLLM has nothing for a setting, or not for its value.
    """
    refuse_settings(config, given)
    end_ids = end_token_ids(config) if end_ids is None else end_ids
    sampling: dict[str, Any] = {
        "max_tokens": config.max_new_tokens,
        "min_tokens": min(config.min_new_tokens or 0, config.max_new_tokens),
        "repetition_penalty": 1.0 if config.repetition_penalty is None else config.repetition_penalty,
        "stop": list(stop_strings),
        "stop_token_ids": sorted(end_ids),
        "ignore_eos": True,  # these are all that end a text: vLLM adds what it finds in the model's own config
        "detokenize": bool(stop_strings),  # texts are read from the tokens, as those of other engines are
        "skip_special_tokens": False,  # a stop string may be one
        "include_stop_str_in_output": True,
    }
    return sampling | (_make_draw(config) if config.do_sample else {"temperature": 0.0})


def refuse_settings(config: "GenerationConfig", given: Mapping[str, Any]) -> None:
    """Raise [`ConfigError`] for a setting that vLLM has nothing for."""
    for name, neutral in CHANGES_TEXT.items():
        value = getattr(config, name, None)
        if value and value != neutral:
            whose = "generation_kwargs has" if name in given else "the model's own generation config has"
            raise ConfigError(
                f"{whose} {name}={value!r}, which vLLM does not have. Leave it out with generation_kwargs="
                f"{{{name!r}: None}}, or use TransformersGenerator."
            )
    for name, value in given.items():
        if value is not None and name not in TRANSLATED and name not in CHANGES_TEXT:
            raise ConfigError(f"generation_kwargs has {name!r}, which does nothing in vLLM. Leave it out.")


def _make_draw(config: "GenerationConfig") -> dict[str, Any]:
    """Translate what a draw depends on; gaps are filled as `generate` fills them."""
    defaults = default_generation_params()
    draw: dict[str, Any] = {}
    for name in ("temperature", "top_p", "top_k", "min_p"):
        value = getattr(config, name)
        draw[name] = defaults.get(name) if value is None else value
    if not LOWEST_TEMPERATURE <= draw["temperature"] <= HIGHEST_TEMPERATURE:
        raise ConfigError(
            f"temperature={draw['temperature']!r} cannot be used with vLLM: expected one from {LOWEST_TEMPERATURE} to "
            f"{HIGHEST_TEMPERATURE}, or 0 for no sampling."
        )
    return {**draw, "min_p": draw["min_p"] or 0.0, "top_k": draw["top_k"] or 0}


def hold_to(schema: dict[str, Any]) -> dict[str, Any]:
    """Make a schema that vLLM holds completions to as [`SchemaGuide`] does: JSON on one line.

    Raises:
        ConfigError: The schema cannot be used.
    """
    from llguidance import LLMatcher

    from hf_rare.generation.json_guide import LAYOUT, make_grammar, unusable

    laid_out = {**schema, "x-guidance": LAYOUT}
    if error := LLMatcher.validate_grammar(make_grammar(laid_out)):
        raise unusable(error)
    return laid_out
