"""Teachers: a tokenizer, a config and a model, each loaded on first use and once per process.

A [`Teacher`] is what a `ModelConfig` becomes in a process. `get_teacher` gives the same one for equal settings, so
that a generator which is pickled, sent to a worker and made again there finds the model that is loaded already.
Nothing here knows of prompts or sampling.
"""

import copy
import json
import logging
import re
import weakref
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from hf_rare.compat.accelerate import hook_device
from hf_rare.compat.transformers import attention_of_config
from hf_rare.errors import ConfigError, MissingPackageError, ModelLoadError
from hf_rare.generation.devices import pick_device
from hf_rare.generation.revisions import IN_MEMORY, is_local
from hf_rare.settings.generation import ModelConfig
from hf_rare.text import in_one_line

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_TEACHERS: dict[str, "Teacher"] = {}
_WRAPPED: "weakref.WeakValueDictionary[str, Teacher]" = weakref.WeakValueDictionary()


def get_teacher(config: ModelConfig) -> "Teacher":
    """Return the teacher of these settings: the one this process has, or a new one that has loaded nothing yet."""
    key = config.to_json()
    return _WRAPPED.get(key) or _TEACHERS.setdefault(key, Teacher(config))


def wrap_loaded(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "Teacher":
    """Make a teacher of objects that are loaded already. They stay as they are; the tokenizer is copied.

    A fork of this process finds it by its settings as long as someone here holds it.
    """
    config = ModelConfig(
        model_id=model.config.name_or_path or type(model).__name__, revision=_digest(model, tokenizer)
    )
    teacher = Teacher(config)
    teacher.__dict__ |= {"model": model, "model_config": model.config, "generation_config": model.generation_config}
    teacher.__dict__["tokenizer"] = _pad_left(copy.deepcopy(tokenizer))
    _WRAPPED[config.to_json()] = teacher
    return teacher


class Teacher:
    """A model with its tokenizer and config, each loaded on first use.

    Args:
        config ([`ModelConfig`]):
            What to load, with its revision resolved.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return "model" in self.__dict__

    @property
    def is_from_memory(self) -> bool:
        """Whether the model was handed over loaded."""
        return (self.config.revision or "").startswith(IN_MEMORY)

    def load(self) -> None:
        """Load the model now, if it is not in memory yet."""
        _ = self.model

    def unload(self) -> None:
        """Free the model, the tokenizer and the config of this process. The next use loads them again."""
        for name in ("model", "model_config", "generation_config", "tokenizer"):
            self.__dict__.pop(name, None)

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer, padded on the left."""
        from transformers import AutoTokenizer

        return _pad_left(self._load(AutoTokenizer))

    @cached_property
    def model_config(self) -> "PreTrainedConfig":
        """The model's config: the context and the dtype are known from it before the weights are loaded."""
        from transformers import AutoConfig

        return self._load(AutoConfig)

    @cached_property
    def generation_config(self) -> "GenerationConfig":
        """The model's own generation config, known before the weights are loaded."""
        from transformers import GenerationConfig

        try:
            return self._load(GenerationConfig)
        except ModelLoadError:  # most often there is no such file: transformers does the same when it loads the model
            return GenerationConfig.from_model_config(self.model_config)

    @cached_property
    def model(self) -> "PreTrainedModel":
        """The model in evaluation mode, on the device that accelerate gives this process or spread by `device_map`."""
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

        self._refuse_foreign_code()
        kwargs: dict[str, Any] = {
            "dtype": self.config.dtype,
            "attn_implementation": self.config.attn_implementation,
            **self._placement(),
        }
        if not self.config.gguf_file:
            kwargs["use_safetensors"] = True
        if self.config.quantization_config:
            kwargs["quantization_config"] = _make_quantization_config(self.config.quantization_config)
        model = self._load(AutoModelForSeq2SeqLM if self.has_encoder else AutoModelForCausalLM, **kwargs)
        if self.config.adapter:
            self._load_adapter(model)
        if model.device.type == "cpu" and model.dtype.itemsize < 4:
            logger.warning(
                "The model runs on the CPU in %s, which is several times slower than float32: pass dtype='float32'.",
                model.dtype,
            )
        return model.eval()

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads the prompt and a decoder writes. Known before the weights are loaded."""
        return bool(getattr(self.model_config, "is_encoder_decoder", False))

    @property
    def input_device(self) -> Any:
        """The device that prompts go to. Weights that lie on the disk are of no device; accelerate's hook knows it."""
        model: Any = self.model
        return hook_device(model) if model.device.type == "meta" else model.device

    @property
    def dtype(self) -> str:
        """Name of the weights' type as settings and config say it: the same before and after they are loaded."""
        if self.is_from_memory:
            return str(self.model.dtype).removeprefix("torch.")
        dtype = self.config.dtype if self.config.dtype != "auto" else self.model_config.dtype
        return str(dtype or "float32").removeprefix("torch.")

    @property
    def positions(self) -> int | None:
        """Most tokens of a text that the model can tell the places of, where its config says it."""
        return getattr(self.model_config.get_text_config(), "max_position_embeddings", None)

    @property
    def context_length(self) -> int | None:
        """Most tokens of prompt and completion, or of what an encoder reads, where config or tokenizer say it."""
        limits = [self.positions, self.tokenizer.model_max_length]
        return min((limit for limit in limits if isinstance(limit, int) and limit < 10**9), default=None)

    def identity(self) -> dict[str, Any]:
        """Return what stands for the weights, as JSON values and without a local path."""
        settings = {
            "model_id": _name_without_path(self.config.model_id),
            "revision": self.config.revision,
            "dtype": self.dtype,
            "gguf_file": self.config.gguf_file,
            "attn_implementation": self.config.attn_implementation,
            "quantization_config": self.config.quantization_config,
            "adapter": _name_without_path(self.config.adapter) if self.config.adapter else None,
            "adapter_revision": self.config.adapter_revision,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def _load(self, auto_class: Any, **kwargs: Any) -> Any:
        if self.is_from_memory:
            raise ModelLoadError(
                "This generator wraps a model that was loaded by hand and is not in this process (any more). Use "
                "`from_pretrained(model_id)`, or start workers by fork."
            )
        local = is_local(self.config.model_id)
        try:
            return auto_class.from_pretrained(
                self.config.model_id,
                revision=None if local else self.config.revision,
                **({} if auto_class.__name__ == "GenerationConfig" else self._load_kwargs()),
                **kwargs,
            )
        except ImportError as err:
            raise MissingPackageError(f"Loading {self.config.model_id!r} needs a package: {err}") from err
        except (
            OSError,
            ValueError,
            KeyError,
            AssertionError,
            RuntimeError,
        ) as err:  # the last two of a missing device
            if local and (reason := self._why_no_model()):
                raise ModelLoadError(f"The folder {self.config.model_id!r} holds no model: {reason}") from err
            raise ModelLoadError(
                f"{self.config.model_id!r} at revision {self.config.revision!r} cannot be loaded with "
                f"{auto_class.__name__}: {in_one_line(err)}{self._advise_device(err)}"
            ) from err

    def _advise_device(self, error: Exception) -> str:
        """Say which setting may name a device that is not there, where the error speaks of one."""
        speaks_of_one = re.search("device|driver|cuda|hip|xpu|mps", str(error), re.IGNORECASE)
        if self.config.device_map is None or not isinstance(error, AssertionError | RuntimeError) or not speaks_of_one:
            return ""
        return (
            f" Is there what device_map={self.config.device_map!r} names? Name a device that is here, or leave it out."
        )

    def _why_no_model(self) -> str:
        """Say why a folder cannot be that of a model; empty where it can be one."""
        folder = Path(self.config.model_id)
        if self.config.gguf_file is not None or (folder / "config.json").exists():
            return ""
        if (folder / "adapter_config.json").exists():
            return "it is an adapter. Pass it as adapter=..., and the model that it was trained on as model_id."
        return "it has no config.json. Pass a folder that `save_pretrained` has written, or a name on the Hub."

    def _refuse_foreign_code(self) -> None:
        """Raise [`ModelLoadError`] where the model's own config names a repository whose kernels would be run."""
        if self.config.trust_remote_code:
            return
        whole: Any = self.model_config
        parts = [whole, *(getattr(whole, name, None) for name in getattr(whole, "sub_configs", ()))]
        kinds = [str(attention_of_config(part)) for part in parts if part is not None]
        # transformers looks for the kernels of the config even where another kind is passed
        if asked := [kind for kind in kinds if "/" in kind and kind != self.config.attn_implementation]:
            raise ModelLoadError(
                f"The config of {self.config.model_id!r} asks for attention by {asked[0]!r}, which is code from the "
                f"Hub. Pass attn_implementation={asked[0]!r} where you trust it, or take it out of the config."
            )

    def _placement(self) -> dict[str, Any]:
        """Say where the model lies, in the words of `from_pretrained`."""
        from transformers.distributed import DistributedConfig

        config = self.config
        if config.tp_plan is not None:
            return {"distributed_config": DistributedConfig(tp_plan=config.tp_plan)}
        placement: dict[str, Any] = {"device_map": config.device_map or {"": pick_device()}}
        if config.max_memory is not None:
            memory = {
                int(device) if device.isdecimal() else device: size for device, size in config.max_memory.items()
            }
            placement["max_memory"] = memory
        if config.offload_folder is not None:
            placement["offload_folder"] = config.offload_folder
        return placement

    def _load_kwargs(self) -> dict[str, Any]:
        gguf = {"gguf_file": self.config.gguf_file} if self.config.gguf_file else {}
        return {"trust_remote_code": self.config.trust_remote_code, **gguf}

    def _load_adapter(self, model: Any) -> None:
        from transformers.utils import cached_file

        adapter = str(self.config.adapter)
        revision = None if is_local(adapter) else self.config.adapter_revision
        try:
            cached_file(adapter, "adapter_model.safetensors", revision=revision)  # load_adapter takes a .bin too
        except OSError as err:
            raise ModelLoadError(
                f"adapter={adapter!r}: adapter_model.safetensors cannot be had, and no other weights are loaded: "
                f"{in_one_line(err)}"
            ) from err
        try:
            model.load_adapter(adapter, adapter_kwargs={"revision": revision} if revision else {})
        except ImportError as err:
            raise MissingPackageError("adapter=... needs the package peft: `pip install hf-rare[peft]`.") from err
        except (OSError, ValueError, KeyError) as err:
            raise ModelLoadError(
                f"adapter={adapter!r} cannot be loaded on {self.config.model_id!r}: {in_one_line(err)}"
            ) from err


def _pad_left(tokenizer: Any) -> Any:
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ConfigError("The tokenizer has neither a pad token nor an end token. Set `tokenizer.pad_token`.")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _digest(model: Any, tokenizer: Any) -> str:
    """Digest config, tokenizer and every weight. It takes about a second for 8 GB.

    A model that is not of torch does not show its weights: it counts with its class, its config and its name.
    """
    import torch

    hasher = xxhash.xxh3_128(model.config.to_json_string().encode())
    hasher.update(json.dumps(model.generation_config.to_dict(), sort_keys=True, default=str).encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    hasher.update((backend.to_str() if backend else json.dumps(sorted(tokenizer.get_vocab().items()))).encode())
    settings = (tokenizer.chat_template, tokenizer.model_max_length, sorted(tokenizer.special_tokens_map.items()))
    hasher.update(json.dumps(settings, default=str).encode())
    if not isinstance(model, torch.nn.Module):
        name = model.config.name_or_path
        logger.warning("The journal cannot tell weights of %s from others with the same config.", name or type(model))
        hasher.update(f"{type(model).__name__} {name}".encode())
        return f"{IN_MEMORY}{hasher.hexdigest()}"
    for name, weight in model.state_dict().items():
        hasher.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        if weight.device.type != "meta":  # weights that are offloaded count with their shape only
            hasher.update(weight.detach().contiguous().flatten().view(torch.uint8).cpu().numpy())
    return f"{IN_MEMORY}{hasher.hexdigest()}"


def _make_quantization_config(settings: dict[str, Any]) -> Any:
    from transformers.quantizers import AutoQuantizationConfig

    try:
        return AutoQuantizationConfig.from_dict(dict(settings))
    except (TypeError, ValueError) as err:
        raise ConfigError(f"quantization_config={settings!r} cannot be right: {err}") from err


def _name_without_path(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1] if is_local(name) else name
