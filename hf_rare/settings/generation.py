"""Which model writes and how: the settings of loading and of decoding."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Gt, MinLen, Predicate
from pydantic import BeforeValidator

from hf_rare.errors import ConfigError
from hf_rare.settings.base import Config, check_json
from hf_rare.settings.kinds import AtLeastOne, Options, PathText, check_value
from hf_rare.settings.transformers_names import check_chat_template_kwargs, check_generation_kwargs

Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16", "float64"],
    BeforeValidator(lambda dtype: str(dtype).removeprefix("torch.")),
]


def _is_size(size: Any) -> bool:
    """Tell whether accelerate can read a size of memory."""
    if isinstance(size, str):
        return re.fullmatch(r"\d{1,15}(\.\d+)?\s*[KMG]i?B", size, re.IGNORECASE | re.ASCII) is not None
    return isinstance(size, int) and not isinstance(size, bool) and size >= 0


MaxMemory = Annotated[
    dict[str, Any],
    BeforeValidator(lambda sizes: {str(key): sizes[key] for key in sizes} if isinstance(sizes, dict) else sizes),
    Predicate(lambda sizes: all(map(_is_size, sizes.values()))),
    "a dict of devices and sizes, in bytes or as texts such as '10GiB'",
]
Quantization = Annotated[
    dict[str, Any],
    BeforeValidator(lambda config: config.to_dict() if hasattr(config, "to_dict") else config),
    Predicate(lambda config: "quant_method" in config),
    "a quantisation config of transformers, or a dict with its 'quant_method'",
]

REPETITION_DETECTION = {"max_pattern_size": 1024, "min_pattern_size": 32, "min_count": 8}
"""What completions are ended for where nothing else is said; another default would need to be in journal keys."""

RepetitionDetection = Annotated[
    dict[str, AtLeastOne],
    BeforeValidator(lambda given: {**REPETITION_DETECTION, **given} if isinstance(given, dict) else given),
    Predicate(lambda given: set(given) == set(REPETITION_DETECTION) and given["min_count"] > 1),
    Predicate(lambda given: given["min_pattern_size"] <= given["max_pattern_size"]),
    "a dict with some of 'max_pattern_size', at least 'min_pattern_size', and 'min_count', at least 2",
]


OF_READING = ("chat_template_kwargs", "context_length")
"""Settings of decoding that mean something where a model reads and writes nothing."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Which model is loaded, and how. All but `adapter` and `model_id` are the words of `from_pretrained`.

    Args:
        model_id (`str`):
            Name of the teacher on the Hub, or a local folder.
        revision (`str`, *optional*):
            Branch, tag or commit. Resolved to a commit sha when the distiller is made.
        gguf_file (`str`, *optional*):
            Name of a GGUF file in the repository or folder, loaded with its weights dequantised.
        dtype (`str`, *optional*, defaults to `"auto"`):
            Type of the weights: `"auto"` (as the checkpoint says), `"float32"`, `"bfloat16"`, `"float16"`.
        device_map (`str` or `dict`, *optional*):
            Passed through, for models larger than one device (`"auto"`). Without it, each process has the whole model
            on the device that accelerate gives it.
        max_memory (`dict`, *optional*):
            Passed through: most memory to use of each device, with `device_map`.
        offload_folder (`str`, *optional*):
            Passed through: where layers lie that `device_map` puts on the disk.
        tp_plan (`str`, *optional*):
            Passed through: `"auto"` spreads every layer over all processes of the job (tensor parallel).
        attn_implementation (`str`, *optional*):
            Passed through: `"sdpa"`, `"eager"`, `"flash_attention_2"`, ...
        quantization_config (`dict` or a quantisation config of transformers, *optional*):
            How transformers quantises the weights when it loads them. A `dict` needs its `quant_method`.
        adapter (`str`, *optional*):
            Name or folder of a PEFT adapter that is loaded on top (needs `peft`).
        adapter_revision (`str`, *optional*):
            Revision of the adapter, resolved to a commit sha like the model's.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether code from the model's repository may run.
    """

    model_id: Annotated[PathText, MinLen(1), "the name of a model or a folder"]
    revision: str | None = None
    gguf_file: str | None = None
    dtype: Dtype = "auto"
    device_map: Annotated[str | dict[str, Any] | None, "a text, a dict, or None for none"] = None
    max_memory: MaxMemory | None = None
    offload_folder: PathText | None = None
    tp_plan: str | None = None
    attn_implementation: str | None = None
    quantization_config: Quantization | None = None
    adapter: PathText | None = None
    adapter_revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tp_plan is not None and self.device_map is not None:
            raise ConfigError("device_map and tp_plan cannot both say where the model lies. Pass one of them.")
        check_json(self)


@dataclass(frozen=True, kw_only=True)
class DecodingConfig(Config):
    """How the teacher writes: its context, its sampling, and how much is generated at a time.

    Args:
        max_new_tokens (`int`, *optional*, defaults to 4096):
            Most tokens of a completion. A completion that reaches it is `truncated`.
        generation_kwargs (`dict`, *optional*):
            Sampling settings by the names of `transformers.GenerationConfig`, such as `temperature`, `top_p`,
            `top_k`, `min_p`, `repetition_penalty` and `stop_strings`. The model's own generation config gives the
            rest. Where `do_sample` is not given, a sampling setting turns it on, and `temperature=0` turns it off.
        chat_template_kwargs (`dict`, *optional*):
            Passed to `apply_chat_template`, for example `enable_thinking`.
        context_length (`int`, *optional*):
            Most tokens of prompt and completion together, or of the prompt alone where an encoder reads it; more
            than `max_new_tokens` in either case. By default what model and tokenizer say.
        max_batch_tokens (`int`, *optional*):
            As many rows are written together as fit into this many tokens: each takes its prompt and `max_new_tokens`,
            and on a GPU, where rows are padded, as many as the longest. It bounds memory and changes no text. By
            default, as many as the memory has room for that is free once the model is loaded. On CUDA `"continuous"`
            takes a share of the free memory instead: `continuous_batching={"max_memory_percent": 0.5}`.
        engine (`"auto"`, `"static"`, `"continuous"` or `"vllm"`, *optional*, defaults to `"auto"`):
            What writes. `"static"` lets a row that has ended make room for the next one at once, and on a CPU takes
            several tokens in a step where a row says again what stands in its prompt; models and settings that it
            cannot serve (sliding windows, state spaces, beam search, ...) are written by `generate` in micro-batches.
            `"continuous"` is the continuous batching of transformers, with each row's own draws. `"auto"` is
            `"continuous"` on CUDA where it can be, else `"static"`. Each is tried on the loaded model before it is
            used, and models whose rows cannot be padded are written row by row. These compute the same text up to
            floating point: sums are taken in another order, and where two tokens are all but equally likely, another
            one may win. In half precision this is seen now and then, in float32 hardly ever. `"vllm"` is a
            [`VLLMGenerator`], whose draws are its own.
        continuous_batching (`dict`, *optional*):
            Arguments of `transformers.ContinuousBatchingConfig`, for `"continuous"`.
        json_schema (`dict`, *optional*):
            JSON schema that completions are held to (needs `llguidance`): from their first token on, or behind the
            thought of a model that thinks, as its chat template says (`chat_template_kwargs={"enable_thinking":
            False}` goes without, where the template knows that). Only the token limit or a loop can still spoil the
            JSON: bound the lengths in the schema.
        repetition_detection (`dict`, *optional*):
            When a completion is ended that repeats itself, and is `truncated`: when the same tokens, of
            `min_pattern_size` (by default 32) to `max_pattern_size` (1024), stand `min_count` times (8) one behind the
            other. Shorter patterns count several at a time, so that a loop has at least `min_pattern_size` times
            `min_count` tokens: rules, tables and rows of zeros are shorter. Of 55 real rows that ended by themselves,
            5 times would have cut one off, 6 and 8 times none (`benchmarks/loops.py`). `None` ends none. The names are
            those of vLLM.
    """

    max_new_tokens: AtLeastOne = 4096
    generation_kwargs: Options = field(default_factory=dict)
    chat_template_kwargs: Options = field(default_factory=dict)
    context_length: int | None = None
    max_batch_tokens: AtLeastOne | None = None
    engine: Literal["auto", "static", "continuous", "vllm"] = "auto"
    continuous_batching: Options = field(default_factory=dict)
    json_schema: Annotated[dict[str, Any] | None, "a JSON schema as a dict, or None"] = None
    repetition_detection: RepetitionDetection | None = field(default_factory=REPETITION_DETECTION.copy)

    def __post_init__(self) -> None:
        super().__post_init__()
        more = Annotated[int, Gt(self.max_new_tokens), f"more than max_new_tokens={self.max_new_tokens}"]
        check_value("context_length", self.context_length, more | None)
        object.__setattr__(self, "generation_kwargs", check_generation_kwargs(self.generation_kwargs))
        check_chat_template_kwargs(self.chat_template_kwargs)
        check_json(self)
