"""Names of settings: which are passed through to transformers, why some are not, and what is said of unknown ones."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.text import find_near_name

REFUSED_GENERATION_KWARGS = {
    "max_new_tokens": "pass max_new_tokens=... as a setting of its own",
    "max_length": "it counts padding, so it would depend on the batch; pass max_new_tokens=...",
    "min_length": "it counts padding, so it would depend on the batch; pass min_new_tokens",
    "max_time": "the text would depend on the speed of the machine; pass max_new_tokens=...",
    "num_return_sequences": "pass num_samples=...",
    "encoder_repetition_penalty": "it counts padding, so it would depend on the batch; pass repetition_penalty",
    "encoder_no_repeat_ngram_size": "it counts padding, so it would depend on the batch; pass no_repeat_ngram_size",
    "prompt_lookup_num_tokens": "transformers allows it for one row at a time; on a CPU the engine does it by itself",
    "return_dict_in_generate": "only the text of a completion is kept",
    "output_attentions": "only the text of a completion is kept",
    "output_hidden_states": "only the text of a completion is kept",
    "output_logits": "only the text of a completion is kept",
    "output_scores": "only the text of a completion is kept",
    "remove_invalid_values": "a row whose logits are not finite fails and says so; leave it out",
    "seed": "pass seed=... to the distiller: every row gets a seed of its own from it",
    **dict.fromkeys(
        (
            "assistant_early_exit",
            "constraints",
            "dola_layers",
            "force_words_ids",
            "is_assistant",
            "num_beam_groups",
            "penalty_alpha",
            "token_healing",
            "transformers_version",
        ),
        "it does nothing here, or needs code that transformers fetches from the Hub",
    ),
}

GENERATION_RANGES: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0, math.inf),
    "top_p": (float, 0, 1),
    "top_k": (int, 0, math.inf),
    "min_p": (float, 0, 1),
    "top_h": (float, 0, 1),
    "typical_p": (float, 0, 1),
    "epsilon_cutoff": (float, 0, 1),
    "eta_cutoff": (float, 0, 1),
    "repetition_penalty": (float, 0, math.inf),
    "no_repeat_ngram_size": (int, 0, math.inf),
    "min_new_tokens": (int, 0, math.inf),
    "num_beams": (int, 1, math.inf),
}
"""Type and limits of the numbers in `generation_kwargs`."""

SAMPLING_NAMES = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")

NEVER_ZERO = ("top_p", "top_h", "typical_p", "repetition_penalty")

REFUSED_CHAT_TEMPLATE_KWARGS = (
    "add_generation_prompt",
    "continue_final_message",
    "conversation",
    "max_length",
    "messages",
    "padding",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "sanitize_control_tokens",
    "tokenize",
    "tokenizer_kwargs",
    "truncation",
)


def check_generation_kwargs(generation_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Check `generation_kwargs` by the names and limits that transformers knows.

    Args:
        generation_kwargs (`Mapping[str, Any]`): sampling settings by name.

    Returns:
        `dict[str, Any]`: the same, with whole numbers as floats where transformers insists on it.

    Raises:
        ConfigError: A name is unknown or would break a promise of the library, or a value cannot be right.
    """
    if not generation_kwargs:
        return {}
    from transformers import GenerationConfig  # a second to import, so only when there is something to check

    known = [name for name in GenerationConfig().to_dict() if not name.startswith("_")]
    checked = dict(generation_kwargs)
    for name, value in generation_kwargs.items():
        if name in REFUSED_GENERATION_KWARGS:
            raise ConfigError(f"generation_kwargs has {name!r}: {REFUSED_GENERATION_KWARGS[name]}.")
        reject_unknown_names([name], known, "generation_kwargs")
        if name in GENERATION_RANGES and value is not None:
            checked[name] = _check_number(name, value)
    stops = checked.get("stop_strings") or []
    if not isinstance(stops, str | list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise ConfigError(f"generation_kwargs has stop_strings={stops!r}: expected a text or a list of texts.")
    if checked.get("do_sample") and (checked.get("num_beams") or 1) > 1:
        raise ConfigError(
            "generation_kwargs has do_sample with num_beams > 1: a draw among beams would depend on the batch. Leave "
            "one of them out."
        )
    try:
        is_sampling = any(checked.get(name) for name in SAMPLING_NAMES)
        GenerationConfig(**{"do_sample": is_sampling, **checked}).validate()
    except (TypeError, ValueError) as err:
        raise ConfigError(f"generation_kwargs={checked!r} cannot be right: {err}") from err
    return checked


def check_chat_template_kwargs(chat_template_kwargs: Mapping[str, Any]) -> None:
    """Raise [`ConfigError`] for an argument of `apply_chat_template` that the library sets itself."""
    if refused := [name for name in chat_template_kwargs if name in REFUSED_CHAT_TEMPLATE_KWARGS]:
        raise ConfigError(f"chat_template_kwargs has {refused[0]!r}, which is set by the library. Leave it out.")


def reject_unknown_names(given: Iterable[str], known: list[str], what: str) -> None:
    """Raise [`ConfigError`] for the first name in `given` that is not in `known`, with the nearest that is."""
    for name in given:
        if name not in known:
            if what == "settings" and name in (*GENERATION_RANGES, "do_sample", "stop_strings"):
                raise ConfigError(f"{name!r} goes into generation_kwargs={{{name!r}: ...}}.")
            near = find_near_name(name, known)
            hint = f"Did you mean {near!r}?" if near else f"Known are: {', '.join(sorted(known))}."
            raise ConfigError(f"{name!r} is not known in {what}. {hint}")


def _check_number(name: str, value: Any) -> int | float:
    """Check a number of `generation_kwargs`, and give a whole one as float where transformers insists on it."""
    kind, low, high = GENERATION_RANGES[name]
    is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or value == math.inf or (value == 0 and name in NEVER_ZERO):
        limits = f"{'above' if name in NEVER_ZERO else 'from'} {low:g}" + (f" to {high:g}" if high < math.inf else "")
        number = "a whole number" if kind is int else "a number"
        raise ConfigError(f"generation_kwargs has {name}={value!r}: expected {number} {limits}.")
    return kind(value)  # type: ignore[no-any-return]
