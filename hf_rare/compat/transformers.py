"""Names of transformers that are private (what `generate` does before its first token, attention) or have changed."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hf_rare.compat.private import look_up

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

SEEN = "5.24.0"
"""The version that was last seen to have these names."""

_NAMES_OF_CACHE: dict[type, str] = {}


def sample(model: Any, input_ids: Any, **prepared: Any) -> Any:
    """Decode as `generate` does when it has prepared everything: `GenerationMixin._sample`.

    A function that is passed as `custom_generate` is given what is prepared, and nothing public goes on from there.
    """
    return look_up(model, "_sample", "transformers", SEEN)(input_ids, **prepared)


def prepare_generation_config(model: Any, device: Any) -> "GenerationConfig":
    """Fill the gaps of the model's generation config as `generate` does, special tokens included.

    `GenerationMixin._prepare_generation_config` and `._prepare_special_tokens`: what writes without `generate` must
    see the same settings.
    """
    config: GenerationConfig = look_up(model, "_prepare_generation_config", "transformers", SEEN)(None)[0]
    look_up(model, "_prepare_special_tokens", "transformers", SEEN)(config, True, device=device)
    return config


def make_logits_processors(
    model: Any, config: "GenerationConfig", prompt: "torch.Tensor", processors: "LogitsProcessorList"
) -> "LogitsProcessorList":
    """Make the logits processors that `generate` would make: `GenerationMixin._get_logits_processor`.

    Args:
        model ([`~transformers.PreTrainedModel`]): the model.
        config ([`~transformers.GenerationConfig`]): the prepared config.
        prompt (`torch.Tensor` of shape `(1, prompt tokens)`): the prompt.
        processors ([`~transformers.LogitsProcessorList`]): those that come besides.
    """
    made: LogitsProcessorList = look_up(model, "_get_logits_processor", "transformers", SEEN)(
        generation_config=config,
        input_ids_seq_length=prompt.shape[1],
        encoder_input_ids=prompt,
        logits_processor=processors,
        device=prompt.device,
    )
    return made


def name_of_cache(model: Any) -> str:
    """Name the argument of `forward` that takes the cache: `cache`, and before transformers 5.24 `past_key_values`."""
    if "forward" in vars(model):  # somebody has put another in the place of the model's own
        return _read_name_of_cache(model.forward)
    kind = type(model)
    if kind not in _NAMES_OF_CACHE:
        _NAMES_OF_CACHE[kind] = _read_name_of_cache(model.forward)
    return _NAMES_OF_CACHE[kind]


def _read_name_of_cache(forward: Any) -> str:
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


def attention_of(model: Any) -> str | None:
    """Name the kind of attention of a model: `PreTrainedConfig._attn_implementation`."""
    return attention_of_config(model.config)


def attention_of_config(config: Any) -> str | None:
    """Name the kind of attention that a config asks for: `PreTrainedConfig._attn_implementation`."""
    kind: str | None = look_up(config, "_attn_implementation", "transformers", SEEN)
    return kind


def set_attention(model: Any, kind: str | None) -> None:
    """Let a model use another kind of attention: `PreTrainedConfig._attn_implementation`.

    The public `set_attn_implementation` checks and loads kernels, which takes too long for every step.
    """
    if attention_of(model) != kind:
        model.config._attn_implementation = kind


@contextlib.contextmanager
def attending(model: Any, kind: str) -> Iterator[None]:
    """Let a model use another kind of attention for a while."""
    before = attention_of(model)
    set_attention(model, kind)
    try:
        yield
    finally:
        set_attention(model, before)


def keep_attention(manager: Any) -> None:
    """Let a manager of continuous batching leave the attention alone when it ends: `._original_attn_impl`.

    Several managers may run one model, and the first to end would change it for the others.
    """
    look_up(manager, "_original_attn_impl", "transformers", SEEN)
    manager._original_attn_impl = None


FORKED = "__child#"
"""What stands between the name of a request and the number of its fork, in the names that a manager gives to forks."""


def written_before(state: Any) -> int:
    """Count the tokens that a request of continuous batching has written: `RequestState._true_initial_tokens`.

    Those that a step now being prepared will write are not counted. A request that was put aside for others has what
    it had written as part of its prompt.
    """
    prompt = look_up(state, "_true_initial_tokens", "transformers", SEEN) or len(state.initial_tokens)
    return int(state.position_offset - prompt)


def default_generation_params() -> dict[str, Any]:
    """Return what `generate` takes where neither model nor caller says it: `._get_default_generation_params`."""
    from transformers import GenerationConfig

    defaults: dict[str, Any] = look_up(GenerationConfig, "_get_default_generation_params", "transformers", SEEN)()
    return defaults
