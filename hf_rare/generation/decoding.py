"""How a model writes: its generation config under the settings of the caller, and how its tokens are read."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_rare.errors import ConfigError
from hf_rare.generation.model_use import resting
from hf_rare.generation.protocol import Completion
from hf_rare.generation.repetition import RepetitionDetector, find_repetition
from hf_rare.settings.generation import DecodingConfig
from hf_rare.settings.transformers_names import SAMPLING_NAMES

if TYPE_CHECKING:
    from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, StoppingCriteria

    from hf_rare.generation.json_guide import SchemaGuide

OUTPUTS = ("output_attentions", "output_hidden_states", "output_logits", "output_scores")


def build_generation_config(
    base: "GenerationConfig", decoding: DecodingConfig, eos_token_id: int | None, pad_token_id: int | None
) -> "GenerationConfig":
    """Merge the model's own generation config and the caller's settings.

    Args:
        base ([`~transformers.GenerationConfig`]):
            The model's own. It stays as it is.
        decoding ([`DecodingConfig`]):
            The caller's settings; they win.
        eos_token_id (`int`, *optional*):
            The tokenizer's end token, for models that name none.
        pad_token_id (`int`, *optional*):
            The tokenizer's padding, for models that name none.

    Returns:
        [`~transformers.GenerationConfig`]: a new one. Sampling is on where the caller or else the model says so; a
        sampling setting of the caller turns it on, `temperature=0` and beam search turn it off.

    Raises:
        ConfigError: There is a JSON schema, and beam search, which cannot be held to it.
    """
    config = copy.deepcopy(base)
    given = dict(decoding.generation_kwargs)
    if given.get("temperature") == 0 or (given.get("num_beams") or 1) > 1:
        given["do_sample"] = False
    elif given.get("do_sample") is None and any(given.get(name) is not None for name in SAMPLING_NAMES):
        given["do_sample"] = True
    config.update(**given)
    config.do_sample = bool(config.do_sample)
    if config.do_sample:
        config.num_beams = 1  # a draw among beams would depend on the batch
    else:
        config.update(**dict.fromkeys(SAMPLING_NAMES))
    if decoding.json_schema is not None and (config.num_beams or 1) > 1:
        raise ConfigError(
            f"json_schema does not go with num_beams={config.num_beams}: what a beam has written changes from step to "
            "step. Pass generation_kwargs={'num_beams': 1}."
        )
    config.update(max_new_tokens=decoding.max_new_tokens, max_length=None, max_time=None, min_length=None)
    config.update(num_return_sequences=1, return_dict_in_generate=False, **dict.fromkeys(OUTPUTS, False))
    if config.remove_invalid_values:
        config.remove_invalid_values = False  # a row whose logits are not finite fails, whatever writes it
    config.forced_eos_token_id = given.get("forced_eos_token_id")  # a model's own hides that a text was cut
    if config.eos_token_id is None:
        config.eos_token_id = eos_token_id
    if config.pad_token_id is None:
        config.pad_token_id = pad_token_id
    return config


def end_token_ids(config: "GenerationConfig") -> set[int]:
    """Return the tokens that end a completion."""
    return set(as_list(config.eos_token_id))


def as_list(value: Any) -> list[Any]:
    """Return a setting that is one value, a list of values, or None, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


@contextlib.contextmanager
def set_up(model: "PreTrainedModel", config: "GenerationConfig") -> Iterator[None]:
    """Let the caller run a model: alone, without dropout, and under a generation config in the place of its own.

    The model's own would fill the gaps of the config.
    """
    with resting(model), _configured(model, config):
        yield


@contextlib.contextmanager
def _configured(model: "PreTrainedModel", config: "GenerationConfig") -> Iterator[None]:
    before, was_training = model.generation_config, getattr(model, "training", False)
    model.generation_config = config
    if was_training:
        model.eval()
    try:
        yield
    finally:
        model.generation_config = before
        if was_training:
            model.train()


@dataclass
class Decoding:
    """A loaded model and how it writes: what an engine needs.

    Args:
        model ([`~transformers.PreTrainedModel`]): the model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): its tokenizer, padded on the left.
        device (`torch.device`): the device that prompts go to.
        config ([`~transformers.GenerationConfig`]): the generation config, without stop strings.
        stop_strings (`list[str]`): texts that end a completion.
        guide ([`SchemaGuide`], *optional*): what completions are held to.
        repetition_detection (`dict`, *optional*): the settings of [`RepetitionDetector`].
    """

    model: Any
    tokenizer: Any
    device: Any
    config: "GenerationConfig"
    stop_strings: list[str]
    guide: "SchemaGuide | None" = None
    repetition_detection: dict[str, int] | None = None

    def make_guides(self) -> "list[LogitsProcessor]":
        """Make the logits processors, new for each batch, that the settings ask for besides those of `generate`."""
        return [self.guide.make_processor()] if self.guide is not None else []

    def make_stop_criterion(self) -> "StoppingCriteria":
        """Make the criterion that ends a row at a stop string."""
        from transformers import StopStringCriteria

        return StopStringCriteria(self.tokenizer, self.stop_strings)

    def make_detector(self) -> RepetitionDetector | None:
        """Make what finds out, for one row, that it repeats itself; none where nobody asks."""
        return RepetitionDetector.of(self.repetition_detection)

    def read(self, ids: Sequence[int], prompt_tokens: int) -> Completion:
        """Read a completion.

        Args:
            ids (`Sequence[int]`): what was written, perhaps with more behind the loop or the token that ends it.
            prompt_tokens (`int`): tokens of its prompt.

        Returns:
            [`Completion`]: the completion.
        """
        end_ids = end_token_ids(self.config)
        length = next((i for i, token in enumerate(ids) if token in end_ids), len(ids))
        repetition = find_repetition(ids[:length], self.repetition_detection)
        if repetition is not None:
            length = repetition.end
            ids = ids[:length]
        has_end, text = length < len(ids), self._decode(ids[:length])
        if any(stop in text for stop in self.stop_strings):  # padding follows, which may be an end token
            while ids[length - 1] == self.config.pad_token_id:
                length -= 1
            return Completion(self._decode(ids[:length]), "stop", prompt_tokens, length)
        is_cut = not has_end and length >= self.config.max_new_tokens
        if repetition is not None and not is_cut:
            return Completion(text, "repetition", prompt_tokens, length, str(repetition))
        return Completion(text, "length" if is_cut else "stop", prompt_tokens, length + has_end)

    def _decode(self, ids: Sequence[int]) -> str:
        # special tokens but these stay visible: some models write their thought tags as such
        hidden = {self.config.pad_token_id, self.tokenizer.bos_token_id}
        return str(self.tokenizer.decode([token for token in ids if token not in hidden]))


def not_finite(prompt_tokens: int) -> Completion:
    """Make the completion of a prompt whose logits are not finite."""
    return Completion("", "error", prompt_tokens, 0, "the model's logits are not finite (NaN or infinite)")
