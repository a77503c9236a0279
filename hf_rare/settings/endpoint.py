"""Which endpoint writes, and how it is asked: the settings of a model behind an address."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Predicate
from pydantic import BeforeValidator

from hf_rare.errors import ConfigError
from hf_rare.settings.base import Config, check_json
from hf_rare.settings.generation import DecodingConfig
from hf_rare.settings.kinds import AtLeastOne, AtLeastZero, Options, Positive

PRICES = ("prompt", "cached_prompt", "completion")
"""What a price can be given for, in the order of `price_per_million`."""

OWN_FIELDS = {
    "max_tokens": "pass max_new_tokens=...",
    "messages": "the rows and the template make them",
    "model": "it is the first argument",
    "n": "pass num_samples=...: each sample is a request with a seed of its own",
    "response_format": "pass json_schema=...",
    "seed": "pass seed=... to the distiller: every row gets a seed of its own from it",
    "stop": 'pass generation_kwargs={"stop_strings": ...}',
    "stream": "pass stream=... as a setting of its own",
    "temperature": 'pass generation_kwargs={"temperature": ...}',
    "top_p": 'pass generation_kwargs={"top_p": ...}',
    "tools": "a trace that calls a tool is none",
}
"""Fields of a request that are made of other settings, and which."""

REFUSED_SETTINGS = {
    "chat_template_kwargs": 'the server has the template; pass extra_body={"chat_template_kwargs": ...} where it '
    "takes that (vLLM, SGLang, llama.cpp)",
    "max_batch_tokens": "the server decides what it writes together; pass max_concurrency=...",
    "engine": "the server writes",
    "continuous_batching": "the server decides what it writes together",
    "repetition_detection": "only engines of this process can end a loop; what the server has for it goes into "
    "extra_body=...",
}
"""Settings of decoding that an endpoint has nothing for, and what to do instead."""

Prices = Annotated[
    dict[str, float],
    BeforeValidator(lambda given: {name: float(given[name]) for name in given} if isinstance(given, dict) else given),
    Predicate(lambda given: {"prompt", "completion"} <= set(given) <= set(PRICES)),
    Predicate(lambda given: all(price >= 0 for price in given.values())),
    "a dict with the prices of a million tokens: 'prompt', 'completion' and, where it differs, 'cached_prompt'",
]


@dataclass(frozen=True, kw_only=True)
class EndpointConfig(Config):
    """Where the model is that is asked, and how.

    Args:
        base_url (`str`, *optional*):
            Address of a server with the chat completions of OpenAI (`"http://localhost:8000/v1"`). It is not in
            recipes or journals.
        provider (`str`, *optional*):
            Inference Provider that is asked where there is no `base_url`: `"auto"`, or a name such as `"together"`.
        bill_to (`str`, *optional*):
            Organisation on the Hub that pays for the Inference Provider.
        token_variable (`str`, *optional*):
            Name of the environment variable that holds the key, such as `"OPENAI_API_KEY"`. By default the token of
            the Hub is sent, to addresses of Hugging Face and to providers alone.
        tokenizer (`str`, *optional*):
            Name or folder of the model's tokenizer. With it, and with `context_length`, documents are shortened until
            prompts fit; without it the server says what is too long.
        max_concurrency (`int`, *optional*, defaults to 64):
            Requests under way at first, in all processes of a launcher together. Where the server asks for fewer,
            there are fewer, and step by step more again.
        stream (`bool`, *optional*, defaults to `True`):
            Whether texts come token by token, so that silence is told from work, and no gateway ends a long answer.
        read_timeout (`float`, *optional*, defaults to 300):
            Seconds without a byte after which a request is sent again: the time until the first token, too. Without
            `stream` it is the time that a whole answer may take.
        request_timeout (`float`, *optional*, defaults to 3600):
            Most seconds that a request may take.
        max_retries (`int`, *optional*, defaults to 5):
            How often a request is sent again that failed. What a server has no room for is not counted: it waits.
        send_seed (`bool`, *optional*, defaults to `True`):
            Whether each row's seed is sent. Servers promise little for it; some refuse it.
        extra_body (`dict`, *optional*):
            Further fields of a request, by the server's own names: `top_k`, `min_p`, `chat_template_kwargs`,
            `reasoning_effort`, ... With `max_completion_tokens` in it, `max_tokens` is left out.
        price_per_million (`dict`, *optional*):
            What a million tokens cost, in whatever currency: `{"prompt": 0.6, "cached_prompt": 0.1, "completion":
            2.4}`. Then costs are shown, and `max_cost` bounds them. Nothing is guessed.
        mode (`"requests"` or `"batch"`, *optional*, defaults to `"requests"`):
            `"batch"` sends files to the batch API of OpenAI-compatible servers, which answers within a day and costs
            less.
        requests_per_batch (`int`, *optional*, defaults to 10000):
            Most requests of one file, with `mode="batch"`.
        poll_seconds (`float`, *optional*, defaults to 30):
            Seconds between two looks at the batches that are being written.
    """

    base_url: (
        Annotated[
            str,
            Predicate(lambda url: url.startswith(("http://", "https://"))),
            "an address that begins with http:// or https://",
        ]
        | None
    ) = None
    provider: str | None = None
    bill_to: str | None = None
    token_variable: str | None = None
    tokenizer: str | None = None
    max_concurrency: AtLeastOne = 64
    stream: bool = True
    read_timeout: Positive = 300.0
    request_timeout: Positive = 3600.0
    max_retries: AtLeastZero = 5
    send_seed: bool = True
    extra_body: Options = field(default_factory=dict)
    price_per_million: Prices | None = None
    mode: Literal["requests", "batch"] = "requests"
    requests_per_batch: AtLeastOne = 10_000
    poll_seconds: Positive = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.base_url is None) == (self.provider is None):
            both = self.base_url is not None
            raise ConfigError(
                f"{'Both base_url and provider are' if both else 'Neither base_url nor provider is'} given. Pass "
                'base_url=..., the address of a server, or provider=..., an Inference Provider ("auto" for any).'
            )
        if self.mode == "batch" and self.base_url is None:
            raise ConfigError('mode="batch" needs base_url=..., a server with the batch API of OpenAI.')
        for name in self.extra_body:
            if name in OWN_FIELDS:
                raise ConfigError(f"extra_body has {name!r}: {OWN_FIELDS[name]}.")
        check_json(self)

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        """Reckon what a completion has cost, in the currency of `price_per_million`; 0 without prices.

        Args:
            prompt_tokens (`int`): tokens of the prompt, those from the server's cache included.
            cached_tokens (`int`): tokens of these from the cache.
            completion_tokens (`int`): tokens generated, those of the thought included.
        """
        prices = self.price_per_million
        if prices is None:
            return 0.0
        cached_price = prices.get("cached_prompt", prices["prompt"])
        fresh = max(0, prompt_tokens - cached_tokens)
        return (
            fresh * prices["prompt"] + cached_tokens * cached_price + completion_tokens * prices["completion"]
        ) / 1e6


def refuse_for_endpoints(decoding: DecodingConfig) -> None:
    """Raise [`ConfigError`] for a setting that an endpoint has nothing for, so that none is silently dropped."""
    defaults = DecodingConfig()
    for name, instead in REFUSED_SETTINGS.items():
        value = getattr(decoding, name)
        if value != getattr(defaults, name) and (name, value) != ("repetition_detection", None):
            raise ConfigError(f"{name}={value!r} cannot be used with an endpoint: {instead}.")


TRANSLATED: dict[str, str] = {"temperature": "temperature", "top_p": "top_p", "stop_strings": "stop"}
"""Sampling settings by the names of transformers, and what every server calls them."""


def translate_sampling(generation_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Translate sampling settings into fields of a request.

    Args:
        generation_kwargs (`dict[str, Any]`): the settings, by the names of transformers.

    Returns:
        `dict[str, Any]`: the fields.

    Raises:
        ConfigError: One has no name that all servers know.
    """
    given = {name: value for name, value in generation_kwargs.items() if value is not None}
    do_sample = given.pop("do_sample", None)
    for name, value in given.items():
        if name not in TRANSLATED:
            raise ConfigError(
                f"generation_kwargs has {name!r}, which not every server knows, and one that does not may drop it "
                f"silently. Where yours has it, pass it by its own name: extra_body={{{name!r}: {value!r}}}."
            )
    fields = {TRANSLATED[name]: value for name, value in given.items()}
    if isinstance(fields.get("stop"), str):
        fields["stop"] = [fields["stop"]]
    return {**fields, "temperature": 0} if do_sample is False else fields


def make_response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Make the field of a request that holds its answer to a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": True}}
