"""The generator that runs a local transformers model under accelerate."""

import logging
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from hf_rare.errors import ConfigError, HfRareError
from hf_rare.generation.decoding import Decoding, end_token_ids
from hf_rare.generation.devices import prepare_worker
from hf_rare.generation.engines.base import Engine
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.local import LocalGenerator, pin_revisions
from hf_rare.generation.packing import BatchPacker
from hf_rare.generation.protocol import Completion, Job, JobSource, Observer
from hf_rare.generation.teacher import get_teacher, wrap_loaded
from hf_rare.settings.base import split_settings
from hf_rare.settings.generation import DecodingConfig, ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class TransformersGenerator(LocalGenerator):
    """Writes completions with a model of transformers.

    Give it a loaded model and tokenizer, or let [`TransformersGenerator.from_pretrained`] load them on first use. The
    objects of the caller stay as they are.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            A loaded causal language model, or one of encoder and decoder. One that is not of torch but has the
            interface of [`~transformers.GenerationMixin`] is written with by its `generate`.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Its tokenizer.
        **settings:
            The settings of [`DecodingConfig`]: `max_new_tokens`, `generation_kwargs`, `chat_template_kwargs`,
            `context_length`, `max_batch_tokens`, `engine`, `continuous_batching`, `json_schema`,
            `repetition_detection`.

    Attributes:
        teacher ([`Teacher`]): the model, its tokenizer and their configs, each loaded on first use.
        decoding ([`DecodingConfig`]): the settings.

    Raises:
        ConfigError: A setting is unknown or cannot be right.

    Example:
        >>> generator = TransformersGenerator.from_pretrained("Qwen/Qwen3-8B", max_new_tokens=4096)
        >>> distill_fn = ReasonDistiller(generator)
    """

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", **settings: Any) -> None:
        (decoding,) = split_settings(settings, DecodingConfig)
        self.decoding = _refuse_vllm(DecodingConfig(**decoding))
        self.teacher = wrap_loaded(model, tokenizer)

    @classmethod
    def from_pretrained(cls, model_id: str, **settings: Any) -> Self:
        """Make a generator whose model is loaded on first use.

        The revision is resolved to a commit sha at once, so that a model that does not exist is found out now, and the
        settings stand for the same weights ever after.

        Args:
            model_id (`str`):
                Name of the model on the Hub, or a local folder.
            **settings:
                The settings of [`ModelConfig`] (`revision`, `dtype`, `device_map`, ...)
                and [`DecodingConfig`] (`max_new_tokens`, `generation_kwargs`, ...).

        Returns:
            [`TransformersGenerator`]: the generator. No weights are loaded yet.

        Raises:
            ConfigError: A setting is unknown or cannot be right.
            ModelLoadError: The model or revision does not exist, or cannot be found out about.
        """
        loading, decoding = split_settings(settings, ModelConfig, DecodingConfig)
        model = pin_revisions(ModelConfig(model_id=model_id, **loading))
        return cls.from_configs(model, DecodingConfig(**decoding))

    @classmethod
    def from_configs(cls, model: ModelConfig, decoding: DecodingConfig) -> Self:
        """Make a generator of settings whose revisions are resolved: what it pickles to.

        Args:
            model ([`ModelConfig`]): which model, and how it is loaded.
            decoding ([`DecodingConfig`]): how it writes.

        Returns:
            [`TransformersGenerator`]: the generator. No weights are loaded yet.
        """
        generator = cls.__new__(cls)
        generator.decoding = _refuse_vllm(decoding)
        generator.teacher = get_teacher(model)
        return generator

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.teacher.config.to_json(), self.decoding.to_json())

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in the memory of this process."""
        return self.teacher.is_loaded

    @property
    def spans_processes(self) -> bool:
        """Whether all processes of the job together are one model."""
        return self.teacher.config.tp_plan is not None

    def unload(self) -> None:
        """Free the model's memory in this process. The next use loads it again, unless it was loaded by hand."""
        for name in ("encoder", "engine", "packer", "_generation"):
            self.__dict__.pop(name, None)
        self.teacher.unload()

    def load(self) -> None:
        """Load the model into the memory of this process, if it is not there yet."""
        prepare_worker()
        self.teacher.load()

    def generate(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job of a source; see [`Generator`].

        As many rows are written together as `max_batch_tokens` allows; a text does not depend on the others, up to
        floating point: padding and batch shape change the last digits of the logits. A prompt that fails does so
        alone; when memory ran out, fewer are written together from then on.
        """
        self.load()
        yield from self.engine.write(source, observer)

    @property
    def refills(self) -> bool:
        """Whether a row that has ended makes room for the next one at once. Loads the model."""
        return self.engine.refills

    @cached_property
    def engine(self) -> Engine:
        """What writes. Loads the model.

        Raises:
            ConfigError: Settings that transformers knows have values with which it cannot begin to write.
        """
        self.load()
        try:
            return self.make_engine()
        except (TypeError, ValueError, OverflowError) as err:
            if isinstance(err, HfRareError) or not self.decoding.generation_kwargs:
                raise
            raise ConfigError(
                f"The model cannot write with generation_kwargs={self.decoding.generation_kwargs!r:.500}: "
                f"{type(err).__name__}: {err!s:.500} Check their values."
            ) from err

    def make_engine(self) -> Engine:
        """Make what writes, once the model is loaded; a subclass that supplies or wraps an engine overrides this.

        The settings and the model choose among ours. The choice is logged, with its reason.

        Raises:
            ConfigError: The engine that was asked for cannot be used.
        """
        from hf_rare.generation.engines.continuous import ContinuousEngine, why_not_continuous
        from hf_rare.generation.engines.static import StaticEngine, choose_cache
        from hf_rare.generation.engines.trial import why_not_together

        engine, plain = self.decoding.engine, self.make_plain_engine()
        if engine == "continuous" or (engine == "auto" and plain.decoding.device.type == "cuda"):
            if not (reason := why_not_continuous(plain, self.decoding.continuous_batching)):
                logger.info("Rows are written by continuous batching.")
                return ContinuousEngine(plain, self.decoding.continuous_batching)
            if engine == "continuous":
                raise ConfigError(f"engine='continuous' cannot be used: {reason}. Pass engine='static' or 'auto'.")
            logger.info("Rows are not written by continuous batching: %s.", reason)
        kind, reason = choose_cache(plain.decoding)
        if kind is not None:
            logger.info("Rows are written by the static engine, with a %s.", kind.__name__)
            return StaticEngine(plain, kind)
        if padding := why_not_together(plain):
            plain.is_row_by_row = True
            logger.warning("Rows are written by `generate`, each alone: %s; %s.", reason, padding)
        else:
            logger.info("Rows are written by `generate` in micro-batches: %s.", reason)
        return plain

    def make_plain_engine(self) -> PlainEngine:
        """Make the engine that writes by `generate` in micro-batches; the others leave to it what fails."""
        import torch

        teacher, config, guide = self.teacher, self._generation_config, None
        if self.decoding.json_schema is not None:
            from hf_rare.generation.json_guide import SchemaGuide

            vocab_size = teacher.model.config.get_text_config().vocab_size
            ends = sorted(end_token_ids(config))
            guide = SchemaGuide(self.decoding.json_schema, teacher.tokenizer, vocab_size, ends, self.thought_end)
        device = torch.device(teacher.input_device)
        decoding = Decoding(
            teacher.model, teacher.tokenizer, device, config, self._stop_strings, guide, self.repetition_detection
        )
        return PlainEngine(decoding, self.packer, self.spans_processes)

    @cached_property
    def packer(self) -> BatchPacker:
        """How many prompts go together; it remembers what did not fit. Loads the model."""
        tokens = self.decoding.max_batch_tokens
        if tokens is None:
            import torch

            from hf_rare.generation.memory import count_tokens_that_fit

            self.load()
            tokens = count_tokens_that_fit(self.teacher.model, torch.device(self.teacher.input_device))
            logger.info("There is memory for %d tokens of rows at a time.", tokens)
        return BatchPacker(self.decoding.max_new_tokens, tokens)


def _refuse_vllm(decoding: DecodingConfig) -> DecodingConfig:
    if decoding.engine == "vllm":
        raise ConfigError("engine='vllm' is not for TransformersGenerator. Use VLLMGenerator.from_pretrained.")
    return decoding


def _rebuild(cls: type[TransformersGenerator], model: str, decoding: str) -> TransformersGenerator:
    return cls.from_configs(ModelConfig.from_json(model), DecodingConfig.from_json(decoding))
