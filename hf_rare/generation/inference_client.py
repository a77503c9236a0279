"""The generator that asks a model behind an address: any server with the chat completions of OpenAI, or a provider."""

import json
import logging
import os
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Self

from hf_rare.errors import ConfigError
from hf_rare.generation.encoder import PromptEncoder
from hf_rare.generation.endpoints.encoder import EndpointEncoder
from hf_rare.generation.protocol import Completion, Generator, Job, JobSource, Observer
from hf_rare.generation.teacher import get_teacher
from hf_rare.hub_errors import check_token
from hf_rare.settings.base import split_settings
from hf_rare.settings.endpoint import EndpointConfig, make_response_format, refuse_for_endpoints, translate_sampling
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.launcher import read_number_of_processes

logger = logging.getLogger(__name__)

_TOKENS: dict[str, list[str]] = {}
"""The keys of this process, by what they are for. They are in nothing that is written, pickled or shown: a generator
pickles to which of them is its own."""


class InferenceClientGenerator(Generator):
    """Lets a model behind an address write: `vllm serve`, SGLang, TGI, llama.cpp, Inference Providers, a gateway.

    As many requests are under way as the server takes. What it has no room for waits, what fails is sent again, and
    what it refuses of a row becomes that row's status. Made by [`InferenceClientGenerator.from_endpoint`].

    Attributes:
        model_id (`str`): what the server calls the model.
        decoding ([`DecodingConfig`]): the settings of decoding.
        config ([`EndpointConfig`]): where the server is, and how it is asked.

    Example:
        >>> generator = InferenceClientGenerator.from_endpoint("Qwen/Qwen3-8B", base_url="http://localhost:8000/v1")
        >>> distill_fn = ReasonDistiller(generator)
    """

    def __init__(self, model_id: str, decoding: DecodingConfig, config: EndpointConfig) -> None:
        refuse_for_endpoints(decoding)
        self.model_id, self.decoding, self.config = model_id, decoding, config
        self._is_probed = self._has_warned = self._has_answered = False
        self._token_number: int | None = None
        _ = self._fields

    @classmethod
    def from_endpoint(cls, model_id: str, *, token: str | None = None, **settings: Any) -> Self:
        """Make a generator. Nothing is asked before its first use.

        Args:
            model_id (`str`):
                What the server calls the model.
            token (`str`, *optional*):
                The key. It stays in this process and in workers that are forked from it: where others are started,
                put it into an environment variable, and pass `token_variable`.
            **settings:
                The settings of [`EndpointConfig`] (`base_url` or `provider`, `max_concurrency`, ...) and
                [`DecodingConfig`] (`max_new_tokens`, `generation_kwargs`, `context_length`, `json_schema`).

        Returns:
            [`InferenceClientGenerator`]: the generator.

        Raises:
            ConfigError: A setting is unknown, cannot be right, or is nothing for an endpoint.
        """
        check_token(token)
        decoding, own = split_settings(settings, DecodingConfig, EndpointConfig)
        generator = cls(model_id, DecodingConfig(**decoding), EndpointConfig(**own))
        if token is not None:
            tokens = _TOKENS.setdefault(generator._name, [])
            if token not in tokens:
                tokens.append(token)
            generator._token_number = tokens.index(token)
        return generator

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (self.decoding.to_json(), self.config.to_json())
        return _rebuild, (type(self), self.model_id, *settings, self._token_number)

    @cached_property
    def encoder(self) -> EndpointEncoder:
        """Turns conversations into prompts: messages, counted where `tokenizer` is given."""
        return EndpointEncoder(self._make_counter if self.config.tokenizer is not None else None)

    @property
    def is_sampling(self) -> bool:
        """Whether a completion depends on its seed: unless the temperature is 0."""
        return self._fields.get("temperature") != 0

    def identity(self) -> dict[str, Any]:
        """Return everything but prompt and seed that changes a completion, and nothing else, as JSON values.

        An address is not in it: the same model may be served elsewhere tomorrow. A provider is, since they differ in
        quantisation.
        """
        served = {"provider": self.config.provider} if self.config.provider is not None else {}
        return {"model_id": self.model_id, "engine": "endpoint", **served, "request": self._fields}

    def settings(self) -> dict[str, Any]:
        """Return the settings it was made with; neither the address nor where its key is."""
        endpoint = json.loads(self.config.to_json())
        for name in ("base_url", "token_variable", "bill_to"):
            endpoint[name] = None
        return {"endpoint": {"model_id": self.model_id, **endpoint}, "decoding": json.loads(self.decoding.to_json())}

    def cost(self, completion: Completion) -> float:
        """Reckon what a completion has cost, by `price_per_million`."""
        if self.has_prices and completion.text and not completion.completion_tokens and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s does not say how many tokens an answer took: costs and max_cost leave it out.", self.model_id
            )
        return self.config.cost(completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens)

    @property
    def has_prices(self) -> bool:
        """Whether there are prices."""
        return self.config.price_per_million is not None

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of a completion."""
        return self.decoding.max_new_tokens

    @property
    def requests_at_once(self) -> int:
        """How many completions this process asks for at a time, at first."""
        return max(1, self.config.max_concurrency // read_number_of_processes())

    def load(self) -> None:
        """Find out whether the server does what is asked of it, where it is asked for JSON by a schema.

        Raises:
            ConfigError: It does not.
            EndpointError: It does not answer.
        """
        if self.decoding.json_schema is not None and not self._is_probed:
            from hf_rare.generation.endpoints.writing import run_in_loop

            run_in_loop(self._probe)
            self._is_probed = True

    def generate(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job of a source; see [`Generator`].

        Raises:
            EndpointError: Nothing goes well any more with the endpoint.
        """
        self.load()
        if self.config.mode == "batch":
            from hf_rare.generation.endpoints.batch_api import BatchApi
            from hf_rare.generation.endpoints.batches import BatchWriter

            api = BatchApi(self.config, self._token)
            try:
                yield from BatchWriter(api, self.model_id, self.config, self._fields).write(source, observer)
            finally:
                api.close()
            return
        from hf_rare.generation.endpoints.writing import EndpointWriter

        writer = EndpointWriter(self.model_id, self.config, self._token, self._fields, self.requests_at_once)
        writer.has_answered = self._has_answered
        try:
            yield from writer.write(source, observer)
        finally:
            self._has_answered = writer.has_answered

    async def _probe(self) -> None:
        from hf_rare.generation.endpoints.chat import ChatClient
        from hf_rare.generation.endpoints.probe import probe_schema

        client = ChatClient(self.model_id, self.config, self._token)
        try:
            await probe_schema(client, self._fields)
        finally:
            await client.close()

    @cached_property
    def _fields(self) -> dict[str, Any]:
        """The fields of every request but for model, messages and seed."""
        extra = self.config.extra_body
        fields: dict[str, Any] = translate_sampling(self.decoding.generation_kwargs)
        if "max_completion_tokens" not in extra:
            fields["max_tokens"] = self.decoding.max_new_tokens
        if self.decoding.json_schema is not None:
            fields["response_format"] = make_response_format(self.decoding.json_schema)
        return {**fields, **extra}

    @property
    def _name(self) -> str:
        """What a key is for."""
        return f"{self.model_id} {self.config.base_url} {self.config.provider}"

    @property
    def _token(self) -> str | None:
        if self._token_number is not None:
            tokens = _TOKENS.get(self._name, [])
            if self._token_number >= len(tokens):
                raise ConfigError(
                    f"The key of {self.model_id} was given as token=..., and stays in the process that was given it. "
                    "Put it into an environment variable, and pass token_variable=..., the name of that."
                )
            return tokens[self._token_number]
        variable = self.config.token_variable
        if variable is None:
            return None
        token = os.environ.get(variable, "").strip()
        if not token:
            raise ConfigError(f"token_variable={variable!r} names an environment variable that is not set here.")
        check_token(token)
        return token

    def _make_counter(self) -> PromptEncoder:
        tokenizer = get_teacher(ModelConfig(model_id=str(self.config.tokenizer))).tokenizer
        template = self.config.extra_body.get("chat_template_kwargs")
        return PromptEncoder(tokenizer, template if isinstance(template, dict) else {}, count_room=self._count_room)

    def _count_room(self) -> int | None:
        length = self.decoding.context_length
        return length - self.decoding.max_new_tokens if length is not None else None


def _rebuild(
    make: type[InferenceClientGenerator], model_id: str, decoding: str, config: str, token_number: int | None
) -> InferenceClientGenerator:
    generator = make(model_id, DecodingConfig.from_json(decoding), EndpointConfig.from_json(config))
    generator._token_number = token_number
    return generator
