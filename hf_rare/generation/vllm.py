"""The generator that lets vLLM run a local model, in a process of its own beside this one."""

import copy
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hf_rare.compat.vllm import find_version
from hf_rare.errors import ConfigError
from hf_rare.generation.decoding import Decoding, end_token_ids
from hf_rare.generation.devices import has_accelerator, pick_device_numbers
from hf_rare.generation.local import LocalGenerator, pin_revisions
from hf_rare.generation.protocol import Completion, Job, JobSource, Observer
from hf_rare.generation.revisions import is_local
from hf_rare.generation.teacher import get_teacher
from hf_rare.generation.vllm_sampling import hold_to, make_sampling
from hf_rare.paths import is_there
from hf_rare.settings.base import split_settings
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.vllm import VLLMConfig, refuse_for_vllm

if TYPE_CHECKING:
    from hf_rare.generation.engines.vllm import VLLMEngine


class VLLMGenerator(LocalGenerator):
    """Writes completions with vLLM (extra `vllm`), which is faster than transformers on most GPUs.

    Prompts are the same tokens as those of [`TransformersGenerator`], settings mean the same, and greedy texts are the
    same up to floating point. Draws are vLLM's own, from the same seeds: its texts have journal keys of their own.
    [`VLLMGenerator.from_pretrained`] makes one by name; vLLM is not imported before the first use.

    Its engine lives until [`VLLMGenerator.unload`] or the end of the process, and serves all generators that have the
    same model and engine settings. In a script, what uses it must stand under `if __name__ == "__main__":`, as vLLM
    may start its processes anew. Each process of a launcher, and each worker of `map(num_proc=...)`, has an engine.

    Args:
        model ([`ModelConfig`]): which model; its revisions are resolved.
        decoding ([`DecodingConfig`]): how it writes.
        config ([`VLLMConfig`]): how vLLM runs it.

    Attributes:
        teacher ([`Teacher`]): the tokenizer and the configs; its model is not loaded.
        decoding ([`DecodingConfig`]): the settings of decoding.
        config ([`VLLMConfig`]): the settings of vLLM.

    Example:
        >>> generator = VLLMGenerator.from_pretrained("Qwen/Qwen3-8B", engine_kwargs={"tensor_parallel_size": 2})
        >>> distill_fn = ReasonDistiller(generator)
    """

    def __init__(self, model: ModelConfig, decoding: DecodingConfig, config: VLLMConfig) -> None:
        self.decoding, self.config = decoding, config
        self.teacher = get_teacher(model)

    @classmethod
    def from_pretrained(cls, model_id: str, **settings: Any) -> Self:
        """Make a generator whose engine is started on first use.

        Args:
            model_id (`str`):
                Name of the model on the Hub, or a local folder.
            **settings:
                The settings of [`ModelConfig`] (`revision`, `dtype`, `trust_remote_code`), [`DecodingConfig`]
                (`max_new_tokens`, `generation_kwargs`, `context_length`, ...) and [`VLLMConfig`] (`engine_kwargs`,
                `silence_timeout`). What vLLM has nothing for is refused.

        Returns:
            [`VLLMGenerator`]: the generator. No weights are loaded yet.

        Raises:
            ConfigError: A setting is unknown, cannot be right, or is nothing for vLLM.
            ModelLoadError: The model or revision does not exist, or cannot be found out about.
        """
        loading, decoding, own = split_settings(settings, ModelConfig, DecodingConfig, VLLMConfig)
        model, config = ModelConfig(model_id=model_id, **loading), VLLMConfig(**own)
        refuse_for_vllm(model, DecodingConfig(**decoding))
        generator = cls(pin_revisions(model), DecodingConfig(**decoding), config)
        _ = generator.sampling
        return generator

    def __reduce__(self) -> tuple[Any, ...]:
        configs = (self.teacher.config, self.decoding, self.config)
        return _rebuild, (type(self), *(config.to_json() for config in configs))

    def identity(self) -> dict[str, Any]:
        """Return everything but prompt and seed that changes a completion, and nothing else, as JSON values.

        The version of vLLM counts, and those of its settings that change more than the speed.

        Raises:
            MissingPackageError: vLLM is not installed, so that its version is not known.
        """
        own = {"engine": "vllm", "vllm": find_version()}
        if changing := self.config.changing_text:
            own["engine_kwargs"] = _without_paths(json.loads(json.dumps(changing)))
        return {**super().identity(), **own}

    def settings(self) -> dict[str, Any]:
        """Return the settings it was made with: those of the model, of decoding and of vLLM."""
        return {**super().settings(), "vllm": json.loads(self.config.to_json())}

    @property
    def is_loaded(self) -> bool:
        """Whether vLLM is at work for this process."""
        return "engine" in self.__dict__ and self.engine.process.is_usable

    def load(self) -> None:
        """Start vLLM and let it load the model, if it has not yet. This takes minutes."""
        if not self.is_loaded:
            self.__dict__.pop("engine", None)
            _ = self.engine

    def unload(self) -> None:
        """End vLLM's processes, also for other generators that write by them. The next use starts them again."""
        if self.is_loaded:
            self.engine.process.shut_down()
        for name in ("encoder", "engine", "sampling", "_generation"):
            self.__dict__.pop(name, None)
        self.teacher.unload()

    def generate(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job of a source; see [`Generator`].

        As many jobs are in hand as vLLM runs at once, and a few that wait for a place. One whose prompt vLLM refuses
        fails alone. What is in hand when the iterator is dropped is aborted.

        Raises:
            GenerationError: vLLM has died, or has given no sign of life for `silence_timeout` seconds. What was
                yielded is complete, and the next call starts vLLM anew.
        """
        self.load()
        yield from self.engine.write(source, observer)

    @property
    def refills(self) -> bool:
        """Whether a row that has ended makes room for the next one at once."""
        return True

    @cached_property
    def engine(self) -> "VLLMEngine":
        """What writes. Starts vLLM."""
        from hf_rare.generation.engines.vllm import VLLMEngine
        from hf_rare.generation.engines.vllm_process import get_process

        sampling, tokenizer = dict(self.sampling), self.teacher.tokenizer
        if self.decoding.json_schema is not None:
            sampling["json_schema"] = hold_to(self.decoding.json_schema)
        config = copy.deepcopy(self._generation_config)
        config.eos_token_id = sampling["stop_token_ids"]
        decoding = Decoding(
            None, tokenizer, None, config, self._stop_strings, repetition_detection=self.repetition_detection
        )
        return VLLMEngine(get_process(self._engine_arguments(), self.config.silence_timeout), sampling, decoding)

    @cached_property
    def sampling(self) -> dict[str, Any]:
        """The arguments of vLLM's `SamplingParams`, but for seed and schema. Known without vLLM.

        Raises:
            ConfigError: vLLM has nothing for a setting, of the caller or of the model.
        """
        if self.teacher.has_encoder:
            raise ConfigError(f"{self.teacher.config.model_id!r} has an encoder. Use TransformersGenerator.")
        config = self._generation_config
        end_ids = end_token_ids(config)
        if self.decoding.json_schema is not None:
            if self.thought_end.describe():
                raise ConfigError(
                    f"json_schema with vLLM holds a completion from its first token on, and "
                    f"{self.teacher.config.model_id!r} thinks first. Switch the thought off, with "
                    "chat_template_kwargs={'enable_thinking': False} where its chat template has that, or use "
                    "TransformersGenerator."
                )
            end_ids |= {self.teacher.tokenizer.eos_token_id}  # all that may follow where the schema has ended
        return make_sampling(config, self._stop_strings, self.decoding.generation_kwargs, end_ids)

    def _engine_arguments(self) -> dict[str, Any]:
        """Make the arguments of vLLM's `EngineArgs`."""
        model, given = self.teacher.config, self.config.engine_kwargs
        revision = None if is_local(model.model_id) else model.revision
        arguments: dict[str, Any] = {
            "model": model.model_id,
            "revision": revision,
            "tokenizer_revision": revision,
            "trust_remote_code": model.trust_remote_code,
            "load_format": "safetensors",
            "dtype": self.teacher.dtype,  # what "auto" is for vLLM, half precision, is another model
            "structured_outputs_config": {"backend": "guidance"},
        }
        if self.is_sampling and not has_accelerator():
            arguments["enable_chunked_prefill"] = False  # vLLM dies of a prompt in parts: CPU generators cannot rewind
        arguments |= given
        if self.decoding.context_length is not None:
            arguments["max_model_len"] = self.decoding.context_length
        devices = pick_device_numbers(given.get("tensor_parallel_size", 1) * given.get("pipeline_parallel_size", 1))
        if devices is not None:
            arguments["device_ids"] = devices
        return arguments


def _rebuild(cls: type[VLLMGenerator], model: str, decoding: str, config: str) -> VLLMGenerator:
    configs = ModelConfig.from_json(model), DecodingConfig.from_json(decoding), VLLMConfig.from_json(config)
    return cls(*configs)


def _without_paths(value: Any) -> Any:
    """Leave the folders out of texts that are paths of this machine: what an identity says is published."""
    if isinstance(value, dict):
        return {name: _without_paths(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and "/" in value and is_there(value) else value
