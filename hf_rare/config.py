"""The settings: frozen dataclasses, checked when they are made, that turn into JSON and back.

They know nothing of models, datasets or files. Their docstrings are the reference for every setting; the command line
builds its flags and its help from them.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from hf_rare.errors import ConfigError
from hf_rare.passed_through import check_chat_template_kwargs, check_generation_kwargs, reject_unknown_names

GENERATION_REVISION = 1
"""Bumped by hand whenever prompts, document order, sampling or parsing change what a row becomes."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What all settings share: JSON, and names that are checked."""

    def to_json(self) -> str:
        """Give all settings as JSON with sorted keys: the same text for equal settings in every process."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Make the settings again from [`Config.to_json`]."""
        return cls(**json.loads(text))

    @classmethod
    def names(cls) -> list[str]:
        """List the names of the settings, in order."""
        return [setting.name for setting in dataclasses.fields(cls)]


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
            Passed through. A `dict` needs its `quant_method`.
        adapter (`str`, *optional*):
            Name or folder of a PEFT adapter that is loaded on top (needs `peft`).
        adapter_revision (`str`, *optional*):
            Revision of the adapter, resolved to a commit sha like the model's.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether code from the model's repository may run.
    """

    model_id: str
    revision: str | None = None
    gguf_file: str | None = None
    dtype: str = "auto"
    device_map: str | dict[str, Any] | None = None
    max_memory: dict[str, Any] | None = None
    offload_folder: str | None = None
    tp_plan: str | None = None
    attn_implementation: str | None = None
    quantization_config: dict[str, Any] | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name in ("model_id", "adapter", "offload_folder"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))
        object.__setattr__(self, "dtype", str(self.dtype).removeprefix("torch."))
        quantization: Any = self.quantization_config
        if hasattr(quantization, "to_dict"):
            object.__setattr__(self, "quantization_config", quantization.to_dict())
        texts = (
            "revision",
            "gguf_file",
            "attn_implementation",
            "adapter",
            "adapter_revision",
            "offload_folder",
            "tp_plan",
        )
        for name in texts:
            check_setting(self, name, (str, type(None)), "a text, or None for none")
        if self.max_memory is not None:
            check_setting(self, "max_memory", dict, "a dict of devices and sizes, or None")
            object.__setattr__(self, "max_memory", {str(device): size for device, size in self.max_memory.items()})
        if self.tp_plan is not None and self.device_map is not None:
            raise ConfigError("device_map and tp_plan cannot both say where the model lies. Pass one of them.")
        check_setting(self, "device_map", (str, dict, type(None)), "a text, a dict, or None for none")
        check_setting(self, "model_id", str, "the name of a model or a folder", lambda value: value != "")
        dtypes = ("auto", "float32", "bfloat16", "float16", "float64")
        check_setting(self, "dtype", str, f"one of {', '.join(dtypes)}", lambda value: value in dtypes)
        if self.quantization_config is not None:
            expected = "a quantisation config of transformers, or a dict with its 'quant_method'"
            check_setting(self, "quantization_config", dict, expected, lambda value: "quant_method" in value)
        check_setting(self, "trust_remote_code", bool, "True or False")
        _check_json(self)


@dataclass(frozen=True, kw_only=True)
class DecodingConfig(Config):
    """How the teacher writes: its context, its sampling, and how much is generated at a time.

    Args:
        max_new_tokens (`int`, *optional*, defaults to 4096):
            Most tokens of a completion. A completion that reaches it is `truncated`.
        generation_kwargs (`dict`, *optional*):
            Sampling settings by the names of `transformers.GenerationConfig`: `temperature`, `top_p`, `top_k`,
            `min_p`, `repetition_penalty`, `stop_strings`, ... The model's own generation config gives the rest. Where
            `do_sample` is not given, a sampling setting turns it on, and `temperature=0` turns it off.
        chat_template_kwargs (`dict`, *optional*):
            Passed to `apply_chat_template`, for example `enable_thinking`.
        context_length (`int`, *optional*):
            Most tokens of prompt and completion together, or of the prompt alone where an encoder reads it; more
            than `max_new_tokens` in either case. By default what model and tokenizer say.
        max_batch_tokens (`int`, *optional*, defaults to 32768):
            As many rows are written together as fit into this many tokens: each takes its prompt and `max_new_tokens`,
            and on a GPU, where rows are padded, as many as the longest. It bounds memory and changes no text. On CUDA
            `"continuous"` takes a share of the free memory instead: `continuous_batching={"max_memory_percent": 0.5}`.
        engine (`"auto"`, `"static"` or `"continuous"`, *optional*, defaults to `"auto"`):
            What writes. `"static"` lets a row that has ended make room for the next one at once, and on a CPU takes
            several tokens in a step where a row says again what stands in its prompt; models and settings that it
            cannot serve (sliding windows, state spaces, beam search, ...) are written by `generate` in micro-batches.
            `"continuous"` is the continuous batching of transformers, which is greedy only. `"auto"` is
            `"continuous"` on CUDA where it can be, else `"static"`. Engines compute the same text up to floating
            point: sums are taken in another order, and where two tokens are all but equally likely, another one may
            win. In half precision this is seen now and then, in float32 hardly ever.
        continuous_batching (`dict`, *optional*):
            Arguments of `transformers.ContinuousBatchingConfig`, for `"continuous"`.
        json_schema (`dict`, *optional*):
            JSON schema that completions are held to, from their first token on, so without a thought (needs
            `llguidance`). Only the token limit can still spoil the JSON: bound the lengths in the schema.
    """

    max_new_tokens: int = 4096
    generation_kwargs: dict[str, Any] = field(default_factory=dict)
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    context_length: int | None = None
    max_batch_tokens: int = 32768
    engine: Literal["auto", "static", "continuous"] = "auto"
    continuous_batching: dict[str, Any] = field(default_factory=dict)
    json_schema: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("generation_kwargs", "chat_template_kwargs", "continuous_batching"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Mapping):
                raise ConfigError(f"{name}={value!r} is not a dict of names and values.")
            object.__setattr__(self, name, dict(value or {}))
        for name in ("max_new_tokens", "max_batch_tokens"):
            check_setting(self, name, int, "a number of at least 1", lambda value: value >= 1)
        check_choice(self, "engine", ("auto", "static", "continuous"))
        check_setting(self, "json_schema", (dict, type(None)), "a JSON schema as a dict, or None")
        if self.context_length is not None:
            expected = f"more than max_new_tokens={self.max_new_tokens}"
            check_setting(self, "context_length", int, expected, lambda value: value > self.max_new_tokens)
        object.__setattr__(self, "generation_kwargs", check_generation_kwargs(self.generation_kwargs))
        check_chat_template_kwargs(self.chat_template_kwargs)
        _check_json(self)


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """How a run goes on: its journal, what becomes of failures, and its limits. None of it changes a completion.

    Args:
        journal_dir (`str` or `Path`, *optional*, defaults to `"auto"`):
            Folder of the journal, in which every completion is safe as soon as it is written, and which a later run
            reads first. `"auto"` is the folder that the environment variable `HF_RARE_JOURNAL` names, or one in the
            Hugging Face cache; `None` is no journal.
        retry_failed (`bool`, *optional*, defaults to `False`):
            Whether rows that failed in an earlier run are tried again.
        max_tries (`int`, *optional*, defaults to 3):
            How often a row that fails is tried in all, with `retry_failed`.
        on_error (`"status"` or `"raise"`, *optional*, defaults to `"status"`):
            Whether a row that fails gets the status `failed`, or ends the run with an exception.
        max_rows (`int`, *optional*):
            Most completions to generate in this process; then the run ends with `BudgetReachedError`.
        max_tokens (`int`, *optional*):
            Most tokens to generate in this process, give or take a micro-batch. The length of one completion is
            limited by `max_new_tokens`.
        max_hours (`float`, *optional*):
            Most hours to run, give or take a micro-batch.
        stall_timeout (`float`, *optional*, defaults to 600):
            Seconds without a token after which the rows being written are logged as a warning; `None` for never.
        checkpoint_repo (`str`, *optional*):
            Dataset repository on the Hub, made private, to which the journal is committed while the run goes on, and
            from which a fresh machine starts.
        checkpoint_minutes (`float`, *optional*, defaults to 10):
            Minutes between two of these commits.
        share_rows (`bool`, *optional*, defaults to `True`):
            Whether the processes that a launcher has started share the rows of every batch. `False` where each has
            rows of its own, as after `split_dataset_by_node`.
        rank_timeout (`float`, *optional*, defaults to 300):
            Seconds to wait for processes of the job that have not been heard of at all. Once they have been, nothing
            but their death ends the wait.
    """

    journal_dir: str | None = "auto"
    retry_failed: bool = False
    max_tries: int = 3
    on_error: Literal["status", "raise"] = "status"
    max_rows: int | None = None
    max_tokens: int | None = None
    max_hours: float | None = None
    stall_timeout: float | None = 600.0
    checkpoint_repo: str | None = None
    checkpoint_minutes: float = 10.0
    share_rows: bool = True
    rank_timeout: float = 300.0

    def __post_init__(self) -> None:
        if isinstance(self.journal_dir, Path):
            object.__setattr__(self, "journal_dir", str(self.journal_dir))
        check_setting(
            self, "journal_dir", (str, type(None)), "a folder, 'auto', or None for no journal", lambda v: v != ""
        )
        check_setting(self, "retry_failed", bool, "True or False")
        check_setting(self, "max_tries", int, "a number of at least 1", lambda value: value >= 1)
        check_setting(self, "share_rows", bool, "True or False")
        check_setting(self, "checkpoint_repo", (str, type(None)), "the name of a repository, or None for none")
        for name in ("rank_timeout", "checkpoint_minutes"):
            check_setting(self, name, (int, float), "a number above 0", lambda value: value > 0)
        check_choice(self, "on_error", ("status", "raise"))
        for name in ("max_rows", "max_tokens"):
            if getattr(self, name) is not None:
                check_setting(
                    self, name, int, "a number of at least 1, or None for no limit", lambda value: value >= 1
                )
        for name in ("max_hours", "stall_timeout"):
            if getattr(self, name) is not None:
                check_setting(self, name, (int, float), "a number above 0, or None", lambda value: value > 0)


def split_settings(settings: Mapping[str, Any], *configs: type[Config]) -> list[dict[str, Any]]:
    """Hand each setting to the config that has a setting of that name.

    Args:
        settings (`Mapping[str, Any]`):
            Settings by name.
        configs (subclasses of [`Config`]):
            The configs to hand them to.

    Returns:
        `list[dict[str, Any]]`: the settings of each config, in the order of `configs`.

    Raises:
        ConfigError: A name belongs to none of them.
    """
    reject_unknown_names(settings, [name for config in configs for name in config.names()], "settings")
    return [{name: settings[name] for name in config.names() if name in settings} for config in configs]


def check_setting(
    config: Config, name: str, types: Any, expected: str, is_right: Callable[[Any], bool] = lambda value: True
) -> None:
    """Check one setting.

    Raises:
        ConfigError: It is of another type, or `is_right` says no.
    """
    value = getattr(config, name)
    is_bool_for_number = isinstance(value, bool) and bool not in (types if isinstance(types, tuple) else (types,))
    if not isinstance(value, types) or is_bool_for_number or not is_right(value):
        raise ConfigError(f"{name}={value!r} cannot be right: expected {expected}.")


def check_choice(config: Config, name: str, choices: Sequence[str]) -> None:
    """Check that a setting is one of some names.

    Raises:
        ConfigError: It is none of them.
    """
    *others, last = map(repr, choices)
    check_setting(config, name, str, f"{', '.join(others)} or {last}", lambda value: value in choices)


def _check_json(config: Config) -> None:
    try:
        config.to_json()
    except (TypeError, ValueError) as err:
        raise ConfigError(
            f"{type(config).__name__} holds a value that JSON cannot hold ({err}). Settings must be texts, numbers, "
            "lists and dicts of these, so that they can be recorded."
        ) from err
