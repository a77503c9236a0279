"""What generators of a local model share: its prompts, its generation config under the settings, and its identity.

What writes is left to subclasses, and so are the weights: nothing here loads them.
"""

import dataclasses
import json
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from hf_rare.errors import ConfigError
from hf_rare.generation.decoding import as_list, build_generation_config
from hf_rare.generation.encoder import PromptEncoder
from hf_rare.generation.protocol import Completion, Generator
from hf_rare.generation.revisions import resolve_revision
from hf_rare.generation.teacher import Teacher
from hf_rare.generation.thought_end import ThoughtEnd
from hf_rare.settings.generation import REPETITION_DETECTION, DecodingConfig, ModelConfig

if TYPE_CHECKING:
    from transformers import GenerationConfig


class LocalGenerator(Generator):
    """A generator whose model, or at least whose tokenizer and config, is a local one of transformers.

    Attributes:
        teacher ([`Teacher`]): the model, its tokenizer and their configs, each loaded on first use.
        decoding ([`DecodingConfig`]): the settings.
    """

    teacher: Teacher
    decoding: DecodingConfig

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
    def max_new_tokens(self) -> int:
        """Most tokens of a completion."""
        return self.decoding.max_new_tokens

    def identity(self) -> dict[str, Any]:
        """Return everything but prompt and seed that changes a completion, and nothing else, as JSON values.

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
            if begins := self.thought_end.describe():
                generation["json_schema_begins"] = begins
        if self.repetition_detection not in (None, REPETITION_DETECTION):
            generation["repetition_detection"] = self.repetition_detection
        return {**self.teacher.identity(), "generation_config": json.loads(json.dumps(generation, default=str))}

    def may_reuse(self, completion: Completion) -> bool:
        """Tell whether a completion from the journal is still wanted: not what was ended, where nothing should be."""
        return completion.finish_reason != "repetition" or self.repetition_detection is not None

    @property
    def thought_end(self) -> ThoughtEnd:
        """What completions write before their JSON, where they are held to a schema."""
        encoder = self.encoder
        return ThoughtEnd.of_template(encoder.template, encoder.opening, self.teacher.tokenizer.get_added_vocab())

    @property
    def repetition_detection(self) -> dict[str, int] | None:
        """What counts as a loop, where one is ended: beams are several texts, and have none."""
        is_one_text = (self._generation_config.num_beams or 1) == 1
        return self.decoding.repetition_detection if is_one_text else None

    def settings(self) -> dict[str, Any]:
        """Return the settings it was made with: those of the model and those of decoding."""
        configs = {"model": self.teacher.config, "decoding": self.decoding}
        return {name: json.loads(config.to_json()) for name, config in configs.items()}

    @property
    def _generation_config(self) -> "GenerationConfig":
        return self._generation[0]

    @property
    def _stop_strings(self) -> list[str]:
        return self._generation[1]

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


def pin_revisions(model: ModelConfig) -> ModelConfig:
    """Resolve the revisions of a model and its adapter to what stands for their weights.

    Raises:
        ModelLoadError: The model or revision does not exist, or cannot be found out about.
    """
    model = dataclasses.replace(model, revision=resolve_revision(model.model_id, model.revision))
    if model.adapter:
        revision = resolve_revision(model.adapter, model.adapter_revision)
        model = dataclasses.replace(model, adapter_revision=revision)
    return model


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
