"""The generator that runs a local transformers model under accelerate."""

import dataclasses
import json
import logging
from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

from hf_rare.errors import ConfigError
from hf_rare.generation.decoding import Decoding, as_list, build_generation_config, end_token_ids
from hf_rare.generation.devices import prepare_worker
from hf_rare.generation.encoder import PromptEncoder
from hf_rare.generation.engines.base import Engine
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.packing import BatchPacker
from hf_rare.generation.protocol import Completion, Generator, Job, JobSource, Observer
from hf_rare.generation.revisions import resolve_revision
from hf_rare.generation.teacher import Teacher, get_teacher, wrap_loaded
from hf_rare.generation.thought_end import ThoughtEnd
from hf_rare.settings.base import split_settings
from hf_rare.settings.generation import REPETITION_DETECTION, DecodingConfig, ModelConfig

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class TransformersGenerator(Generator):
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
            The settings of [`DecodingConfig`]: `max_new_tokens`, `generation_kwargs`,
            `chat_template_kwargs`, `context_length`, `max_batch_tokens`, `engine`, `continuous_batching`.

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
        self.decoding = DecodingConfig(**decoding)
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
        model = ModelConfig(model_id=model_id, **loading)
        model = dataclasses.replace(model, revision=resolve_revision(model.model_id, model.revision))
        if model.adapter:
            revision = resolve_revision(model.adapter, model.adapter_revision)
            model = dataclasses.replace(model, adapter_revision=revision)
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
        generator.decoding = decoding
        generator.teacher = get_teacher(model)
        return generator

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.teacher.config.to_json(), self.decoding.to_json())

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in the memory of this process."""
        return self.teacher.is_loaded

    @cached_property
    def encoder(self) -> PromptEncoder:
        """Turns conversations into prompts: the model's chat template and its tokens. Loads no weights."""
        teacher = self.teacher
        kwargs, count_room = self.decoding.chat_template_kwargs, partial(_count_room, teacher, self.decoding)
        return PromptEncoder(teacher.tokenizer, kwargs, teacher.has_encoder, count_room)

    @property
    def is_sampling(self) -> bool:
        """Whether a completion depends on its seed. Known without loading the model."""
        return bool(self._generation_config.do_sample)

    @property
    def spans_processes(self) -> bool:
        """Whether all processes of the job together are one model."""
        return self.teacher.config.tp_plan is not None

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
        if self.decoding.json_schema is not None:
            generation["json_schema"] = self.decoding.json_schema
            if begins := self._thought_end.describe():
                generation["json_schema_begins"] = begins
        if self._repetition_detection not in (None, REPETITION_DETECTION):
            generation["repetition_detection"] = self._repetition_detection
        return {**self.teacher.identity(), "generation_config": json.loads(json.dumps(generation, default=str))}

    def may_reuse(self, completion: Completion) -> bool:
        """Tell whether a completion from the journal is still wanted: not what was ended, where nothing should be."""
        return completion.finish_reason != "repetition" or self._repetition_detection is not None

    def settings(self) -> dict[str, Any]:
        """Give the settings it was made with: those of the model and those of decoding."""
        configs = {"model": self.teacher.config, "decoding": self.decoding}
        return {name: json.loads(config.to_json()) for name, config in configs.items()}

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
        """What writes. Loads the model."""
        self.load()
        return self.make_engine()

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
            guide = SchemaGuide(self.decoding.json_schema, teacher.tokenizer, vocab_size, ends, self._thought_end)
        device = torch.device(teacher.input_device)
        decoding = Decoding(
            teacher.model, teacher.tokenizer, device, config, self._stop_strings, guide, self._repetition_detection
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

    @property
    def _generation_config(self) -> "GenerationConfig":
        return self._generation[0]

    @property
    def _stop_strings(self) -> list[str]:
        return self._generation[1]

    @property
    def _thought_end(self) -> ThoughtEnd:
        """What completions write before their JSON, where they are held to a schema."""
        encoder = self.encoder
        return ThoughtEnd.of_template(encoder.template, encoder.opening, self.teacher.tokenizer.get_added_vocab())

    @property
    def _repetition_detection(self) -> dict[str, int] | None:
        is_one_text = (self._generation_config.num_beams or 1) == 1
        return self.decoding.repetition_detection if is_one_text else None

    @cached_property
    def _generation(self) -> tuple["GenerationConfig", list[str]]:
        """The generation config, and the stop strings, which are kept out of it."""
        tokenizer = self.teacher.tokenizer
        config = build_generation_config(
            self.teacher.generation_config, self.decoding, tokenizer.eos_token_id, tokenizer.pad_token_id
        )
        # `generate` drops the tokenizer that they need when it is given a sampler: they become a stopping criterion
        stop_strings, config.stop_strings = as_list(config.stop_strings), None
        return config, stop_strings


def _rebuild(cls: type[TransformersGenerator], model: str, decoding: str) -> TransformersGenerator:
    return cls.from_configs(ModelConfig.from_json(model), DecodingConfig.from_json(decoding))


def _count_room(teacher: Teacher, decoding: DecodingConfig) -> int | None:
    """Count the most tokens of a prompt that leave room for `max_new_tokens`; `None` where the model has no limit.

    Where the prompt is read by an encoder, the completion takes none of its room.

    Raises:
        ConfigError: `max_new_tokens` alone fills the context.
    """
    context_length, max_new_tokens = decoding.context_length or teacher.context_length, decoding.max_new_tokens
    room = teacher.positions if teacher.has_encoder else context_length
    if room is not None and room <= max_new_tokens:
        raise ConfigError(
            f"max_new_tokens={max_new_tokens} leaves no room: the context of {teacher.config.model_id!r} holds "
            f"{room} tokens. Pass a smaller max_new_tokens."
        )
    if context_length is None or teacher.has_encoder:
        return context_length
    return context_length - max_new_tokens
