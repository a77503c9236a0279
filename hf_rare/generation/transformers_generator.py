"""The generator that runs a local transformers model under accelerate."""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from hf_rare.config import DecodingConfig, ModelConfig, split_settings
from hf_rare.errors import ConfigError, HfRareError
from hf_rare.generation.batching import BatchPacker, sort_longest_first
from hf_rare.generation.decoding import as_list, build_generation_config, end_token_ids
from hf_rare.generation.devices import prepare_worker
from hf_rare.generation.encoding import PromptEncoder
from hf_rare.generation.loading import get_teacher, wrap_loaded
from hf_rare.generation.protocol import Completion, EncodedPrompt, Messages, Observer
from hf_rare.generation.revisions import resolve_revision

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


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

    @property
    def is_sampling(self) -> bool:
        """Whether a completion depends on its seed. Known without loading the model."""
        return bool(self._generation_config.do_sample)

    @property
    def spans_processes(self) -> bool:
        """Whether all processes of the job together are one model."""
        return self._teacher.config.tp_plan is not None

    def identity(self) -> dict[str, Any]:
        """Give everything but prompt and seed that changes a completion, and nothing else, as JSON values.

        That is what stands for the weights, and the generation config as it results from the model's own and the
        settings. Settings that change the prompt only, like the chat template's, are not in it: the prompt shows them.
        """
        settings = self._generation_config.to_diff_dict()
        generation = {name: value for name, value in settings.items() if name[0] != "_" and value is not None}
        generation.pop("transformers_version", None)
        if self._stop_strings:
            generation["stop_strings"] = self._stop_strings
        return {**self._teacher.identity(), "generation_config": json.loads(json.dumps(generation, default=str))}

    def settings(self) -> dict[str, Any]:
        """Give the settings it was made with: those of the model and those of decoding."""
        configs = {"model": self._teacher.config, "decoding": self.decoding}
        return {name: json.loads(config.to_json()) for name, config in configs.items()}

    def unload(self) -> None:
        """Free the model's memory in this process. The next use loads it again, unless it was loaded by hand."""
        for name in ("_encoder", "_generation", "_packer"):
            self.__dict__.pop(name, None)
        self._teacher.unload()

    def encode(self, conversations: Sequence[Messages]) -> list[EncodedPrompt]:
        """Turn conversations into prompts: the model's chat template and its tokens. Loads the tokenizer only."""
        return self._encoder.encode(conversations)

    def pack(self, lengths: Sequence[int], processes: int = 1) -> list[list[int]]:
        """Tell which prompts of these lengths, by index, are written together when so many processes share them.

        As many micro-batches as there are processes hold equally many prompts, so that all end at about one time.
        """
        pending, batches = sort_longest_first(lengths), list[list[int]]()
        while pending:
            at_most = -(-len(pending) // processes)
            round_of_batches = range(min(processes, len(pending)))
            batches += [self._packer.take(pending, lengths, at_most) for _ in round_of_batches if pending]
        return batches

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text."""
        return self._encoder.count_tokens(texts)

    def shorten(self, text: str, max_tokens: int) -> str:
        """Cut a text after its first `max_tokens` tokens."""
        return self._encoder.shorten(text, max_tokens)

    def load(self) -> None:
        """Load the model into the memory of this process, if it is not there yet."""
        prepare_worker()
        self._teacher.load()

    def generate(
        self, prompts: Sequence[EncodedPrompt], seeds: Sequence[int], observer: Observer | None = None
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Write a completion for each prompt; see [`Generator`](hf_rare.generation.protocol.Generator).

        Prompts are sorted by length and packed into micro-batches of `max_batch_tokens`; a prompt's text does not
        depend on which others are in its micro-batch, up to what `hf_rare.generation.sampling` says of floating point.
        A micro-batch that fails is halved until the prompt that fails is alone; when memory ran out, the next ones are
        smaller too.
        """
        self.load()
        lengths = [len(prompt.token_ids) for prompt in prompts]
        pending, halves = sort_longest_first(lengths), list[list[int]]()
        while pending or halves:
            batch = halves.pop() if halves else self._packer.take(pending, lengths)
            if observer is not None:
                observer.begin(batch)
            size = self._packer.size([lengths[i] for i in batch])
            written = self._try_batch([prompts[i].token_ids for i in batch], [seeds[i] for i in batch], observer)
            if not isinstance(written, BaseException):
                self._packer.grow()
                yield list(zip(batch, written, strict=True))
                continue
            is_out_of_memory = _is_out_of_memory(written)
            if is_out_of_memory:
                self._packer.shrink(size)
                _free_memory()
            if len(batch) > 1:
                middle = len(batch) // 2
                halves += [batch[middle:], batch[:middle]]
                continue
            reason = (
                "out of memory with this prompt alone" if is_out_of_memory else f"{type(written).__name__}: {written}"
            )
            yield [(batch[0], Completion("", "error", lengths[batch[0]], 0, reason))]

    def _try_batch(
        self, token_ids: list[list[int]], seeds: list[int], observer: Observer | None
    ) -> list[Completion] | Exception:
        try:
            return self._generate_batch(token_ids, seeds, observer)
        except HfRareError:
            raise
        except Exception as err:
            if self.spans_processes:  # the others would go on with this micro-batch, and this process with another
                raise
            logger.warning("A micro-batch of %d failed: %s: %s", len(token_ids), type(err).__name__, err)
            err.__traceback__ = None  # its frames hold the tensors
            return err

    def _generate_batch(
        self, token_ids: list[list[int]], seeds: list[int], observer: Observer | None
    ) -> list[Completion]:
        from transformers import LogitsProcessorList, StoppingCriteriaList, StopStringCriteria

        from hf_rare.generation.sampling import LogitsGuard, TokenCounter, sample_per_row

        model, tokenizer, config = self._teacher.model, self._teacher.tokenizer, self._generation_config
        inputs = tokenizer.pad({"input_ids": token_ids}, return_tensors="pt").to(self._teacher.input_device)
        criteria = StoppingCriteriaList()
        if self._stop_strings:
            criteria.append(StopStringCriteria(tokenizer, self._stop_strings))
        if observer is not None:
            criteria.append(TokenCounter(sum(map(len, token_ids)), config.pad_token_id, observer.add_tokens))
        guard = LogitsGuard(next(iter(end_token_ids(config)), 0))
        sampling = {"custom_generate": sample_per_row, "seeds": seeds} if config.do_sample else {}
        with _set_up(model, config):
            output = model.generate(
                **inputs, logits_processor=LogitsProcessorList([guard]), stopping_criteria=criteria, **sampling
            )
        written = output[:, inputs["input_ids"].shape[1] :].tolist()
        completions = [self._read_completion(ids, len(prompt)) for ids, prompt in zip(written, token_ids, strict=True)]
        for row in guard.bad_rows:
            error = "the model's logits are not finite (NaN or infinite)"
            completions[row] = Completion("", "error", len(token_ids[row]), 0, error)
        return completions

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
    def _packer(self) -> BatchPacker:
        return BatchPacker(self.decoding.max_new_tokens, self.decoding.max_batch_tokens)

    @cached_property
    def _encoder(self) -> PromptEncoder:
        return PromptEncoder(self._teacher.tokenizer, self.decoding.chat_template_kwargs)

    @property
    def _generation_config(self) -> "GenerationConfig":
        return self._generation[0]

    @property
    def _stop_strings(self) -> list[str]:
        return self._generation[1]

    @cached_property
    def _generation(self) -> tuple["GenerationConfig", list[str]]:
        """The generation config, and the stop strings, which are kept out of it."""
        tokenizer = self._teacher.tokenizer
        config = build_generation_config(
            self._teacher.generation_config, self.decoding, tokenizer.eos_token_id, tokenizer.pad_token_id
        )
        # `generate` drops the tokenizer that they need when it is given a sampler: they become a stopping criterion
        stop_strings, config.stop_strings = as_list(config.stop_strings), None
        return config, stop_strings


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


def _is_out_of_memory(error: BaseException) -> bool:
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or (isinstance(error, Exception) and should_reduce_batch_size(error))


def _free_memory() -> None:
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
