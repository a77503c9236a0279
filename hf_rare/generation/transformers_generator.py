"""The generator that runs a local transformers model under accelerate."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from hf_rare.config import DecodingConfig, ModelConfig, split_settings
from hf_rare.errors import ConfigError
from hf_rare.generation.batching import pack_batches
from hf_rare.generation.decoding import as_list, build_generation_config, end_token_ids
from hf_rare.generation.encoding import PromptEncoder
from hf_rare.generation.loading import get_teacher, keep_forked_workers_from_hanging, wrap_loaded
from hf_rare.generation.protocol import Completion, EncodedPrompt, Messages
from hf_rare.generation.revisions import resolve_revision

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


class TransformersGenerator:
    """Writes completions with a model of transformers.

    Give it a loaded model and tokenizer, or let [`TransformersGenerator.from_pretrained`] load them on first use. The
    objects of the caller stay as they are.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            A loaded causal language model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Its tokenizer.
        **settings:
            The settings of [`DecodingConfig`](hf_rare.config.DecodingConfig): `max_new_tokens`, `generation_kwargs`,
            `chat_template_kwargs`, `context_length`, `max_batch_tokens`.

    Raises:
        ConfigError: A setting is unknown or cannot be right.

    Example:
        >>> generator = TransformersGenerator.from_pretrained("Qwen/Qwen3-8B", max_new_tokens=4096)
        >>> distill_fn = ReasonDistiller(generator)
    """

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", **settings: Any) -> None:
        (decoding,) = split_settings(settings, DecodingConfig)
        self.decoding = DecodingConfig(**decoding)
        self._stop_strings: list[str] = []
        self._teacher = wrap_loaded(model, tokenizer)

    @classmethod
    def from_pretrained(cls, model_id: str, **settings: Any) -> Self:
        """Make a generator whose model is loaded on first use.

        The revision is resolved to a commit sha at once, so that a model that does not exist is found out now, and the
        settings stand for the same weights ever after.

        Args:
            model_id (`str`):
                Name of the model on the Hub, or a local folder.
            **settings:
                The settings of [`ModelConfig`](hf_rare.config.ModelConfig) (`revision`, `dtype`, `device_map`, ...)
                and [`DecodingConfig`](hf_rare.config.DecodingConfig) (`max_new_tokens`, `generation_kwargs`, ...).

        Returns:
            [`TransformersGenerator`]: the generator. No weights are loaded yet.

        Raises:
            ConfigError: A setting is unknown or cannot be right.
            ModelLoadError: The model or revision does not exist, or cannot be found out about.
        """
        loading, decoding = split_settings(settings, ModelConfig, DecodingConfig)
        model = ModelConfig(model_id=model_id, **loading)
        model = dataclasses.replace(model, revision=resolve_revision(model.model_id, model.revision))
        if model.adapter:
            revision = resolve_revision(model.adapter, model.adapter_revision)
            model = dataclasses.replace(model, adapter_revision=revision)
        return cls._from_configs(model, DecodingConfig(**decoding))

    @classmethod
    def _from_configs(cls, model: ModelConfig, decoding: DecodingConfig) -> Self:
        generator = cls.__new__(cls)
        generator.decoding = decoding
        generator._stop_strings = []
        generator._teacher = get_teacher(model)
        return generator

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._teacher.config.to_json(), self.decoding.to_json())

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in the memory of this process."""
        return self._teacher.is_loaded

    @property
    def max_prompt_tokens(self) -> int | None:
        """Most tokens of a prompt that leave room for `max_new_tokens`; `None` where the model has no limit.

        Raises:
            ConfigError: `max_new_tokens` alone fills the context.
        """
        context_length = self.decoding.context_length or self._teacher.context_length
        if context_length is None:
            return None
        if context_length <= self.decoding.max_new_tokens:
            raise ConfigError(
                f"max_new_tokens={self.decoding.max_new_tokens} leaves no room for a prompt: the context of "
                f"{self._teacher.config.model_id!r} holds {context_length} tokens. Pass a smaller max_new_tokens."
            )
        return context_length - self.decoding.max_new_tokens

    def identity(self) -> dict[str, Any]:
        """Give everything that changes what is written, as JSON values: model and sha, dtype, sampling."""
        decoding = dataclasses.asdict(self.decoding)
        del decoding["max_batch_tokens"]  # changes no text
        return {**self._teacher.identity(), **decoding}

    def unload(self) -> None:
        """Free the model's memory in this process. The next use loads it again, unless it was loaded by hand."""
        for name in ("_encoder", "_generation_config"):
            self.__dict__.pop(name, None)
        self._teacher.unload()

    def encode(self, conversations: Sequence[Messages]) -> list[EncodedPrompt]:
        """Turn conversations into prompts: the model's chat template and its tokens. Loads the tokenizer only."""
        return self._encoder.encode(conversations)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text."""
        return self._encoder.count_tokens(texts)

    def shorten(self, text: str, max_tokens: int) -> str:
        """Cut a text after its first `max_tokens` tokens."""
        return self._encoder.shorten(text, max_tokens)

    def load(self) -> None:
        """Load the model into the memory of this process, if it is not there yet."""
        keep_forked_workers_from_hanging()
        self._teacher.load()

    def generate(
        self,
        prompts: Sequence[EncodedPrompt],
        seeds: Sequence[int],
        on_tokens: Callable[[int, int], None] | None = None,
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Write a completion for each prompt; see [`Generator`](hf_rare.generation.protocol.Generator).

        Prompts are sorted by length and packed into micro-batches of `max_batch_tokens`; a prompt's text does not
        depend on which others are in its micro-batch, up to what `hf_rare.generation.sampling` says of floating point.
        """
        self.load()
        lengths = [len(prompt.token_ids) for prompt in prompts]
        for rows in pack_batches(lengths, self.decoding.max_new_tokens, self.decoding.max_batch_tokens):
            token_ids = [prompts[row].token_ids for row in rows]
            completions = self._generate_batch(token_ids, [seeds[row] for row in rows], on_tokens)
            yield list(zip(rows, completions, strict=True))

    def _generate_batch(
        self, token_ids: list[list[int]], seeds: list[int], on_tokens: Callable[[int, int], None] | None
    ) -> list[Completion]:
        from transformers import StoppingCriteriaList, StopStringCriteria

        from hf_rare.generation.sampling import TokenCounter, sample_per_row

        model, tokenizer, config = self._teacher.model, self._teacher.tokenizer, self._generation_config
        inputs = tokenizer.pad({"input_ids": token_ids}, return_tensors="pt").to(model.device)
        criteria = StoppingCriteriaList()
        if self._stop_strings:
            criteria.append(StopStringCriteria(tokenizer, self._stop_strings))
        if on_tokens is not None:
            criteria.append(TokenCounter(sum(map(len, token_ids)), config.pad_token_id, on_tokens))
        sampling = {"custom_generate": sample_per_row, "seeds": seeds} if config.do_sample else {}
        with _set_up(model, config):
            output = model.generate(**inputs, stopping_criteria=criteria, **sampling)
        written = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._read_completion(ids, len(prompt)) for ids, prompt in zip(written, token_ids, strict=True)]

    def _read_completion(self, ids: list[int], prompt_tokens: int) -> Completion:
        config = self._generation_config
        end_ids = end_token_ids(config)
        length = next((i for i, token in enumerate(ids) if token in end_ids), len(ids))
        has_end, text = length < len(ids), self._decode(ids[:length])
        if any(stop in text for stop in self._stop_strings):  # padding follows, which may be an end token
            while ids[length - 1] == config.pad_token_id:
                length -= 1
            return Completion(self._decode(ids[:length]), "stop", prompt_tokens, length)
        is_cut = not has_end and length >= self.decoding.max_new_tokens
        return Completion(text, "length" if is_cut else "stop", prompt_tokens, length + has_end)

    def _decode(self, ids: list[int]) -> str:
        # special tokens but these stay visible: some models write their thought tags as such
        tokenizer = self._teacher.tokenizer
        hidden = {self._generation_config.pad_token_id, tokenizer.bos_token_id}
        return str(tokenizer.decode([token for token in ids if token not in hidden]))

    @cached_property
    def _encoder(self) -> PromptEncoder:
        return PromptEncoder(self._teacher.tokenizer, self.decoding.chat_template_kwargs)

    @cached_property
    def _generation_config(self) -> "GenerationConfig":
        tokenizer = self._teacher.tokenizer
        config = build_generation_config(
            self._teacher.model.generation_config, self.decoding, tokenizer.eos_token_id, tokenizer.pad_token_id
        )
        # `generate` drops the tokenizer that they need when it is given a sampler: they become a stopping criterion
        self._stop_strings, config.stop_strings = as_list(config.stop_strings), None
        return config


@contextlib.contextmanager
def _set_up(model: "PreTrainedModel", config: "GenerationConfig") -> Iterator[None]:
    """Put a generation config in the place of the model's own, which would fill its gaps, and switch dropout off."""
    before, was_training = model.generation_config, model.training
    model.generation_config = config
    model.eval()
    try:
        yield
    finally:
        model.generation_config = before
        model.train(was_training)


def _rebuild(cls: type[TransformersGenerator], model: str, decoding: str) -> TransformersGenerator:
    return cls._from_configs(ModelConfig.from_json(model), DecodingConfig.from_json(decoding))
