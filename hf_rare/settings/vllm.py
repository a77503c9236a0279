"""The settings of vLLM, and which settings of models and of decoding it has nothing for."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.settings.base import Config, check_json
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.kinds import Options, Positive

REFUSED_ENGINE_KWARGS = {
    "data_parallel_size": "start a process for each copy of the model, by a launcher or by num_proc=",
    "device_ids": "the devices follow from the number of the process; set CUDA_VISIBLE_DEVICES to leave some out",
    "disable_log_stats": "the statistics of its steps are how it is known that vLLM is at work",
    "dtype": "pass dtype=... as a setting of its own",
    "enable_lora": "merge the adapter into the weights",
    "enable_prompt_embeds": "prompts are tokens",
    "generation_config": "pass generation_kwargs=..., which are merged with the model's own",
    "hf_token": "log in with `hf auth login`, or set HF_TOKEN: settings are recorded",
    "logits_processors": "what they do cannot be recorded",
    "max_model_len": "pass context_length=...",
    "max_num_queued_reqs": "requests are added as room is there",
    "max_num_queued_tokens": "requests are added as room is there",
    "model": "it is the first argument of from_pretrained",
    "override_generation_config": "pass generation_kwargs=..., which are merged with the model's own",
    "revision": "pass revision=... as a setting of its own",
    "runner": "the model is to generate",
    "seed": "pass seed=... to the distiller: every row gets a seed of its own from it",
    "skip_tokenizer_init": "vLLM needs the tokenizer",
    "stream_interval": "it is chosen here, and changes no text",
    "structured_outputs_config": "pass json_schema=...",
    "tokenizer": "it is the model's own",
    "tokenizer_revision": "pass revision=... as a setting of its own",
    "trust_remote_code": "pass trust_remote_code=... as a setting of its own",
}
"""Arguments of vLLM's engine that are set here, or would break a promise of the library, and what to do instead."""

REFUSED_SETTINGS = {
    "gguf_file": "save the model as safetensors first",
    "device_map": 'pass engine_kwargs={"tensor_parallel_size": ...}',
    "max_memory": 'pass engine_kwargs={"gpu_memory_utilization": ...}',
    "offload_folder": 'pass engine_kwargs={"cpu_offload_gb": ...}',
    "tp_plan": 'pass engine_kwargs={"tensor_parallel_size": ...}',
    "attn_implementation": 'pass engine_kwargs={"attention_backend": ...}',
    "quantization_config": 'pass engine_kwargs={"quantization": ...}; what a checkpoint says of itself is found',
    "adapter": "merge it into the weights",
    "max_batch_tokens": 'pass engine_kwargs={"max_num_seqs": ..., "gpu_memory_utilization": ...}',
    "continuous_batching": "pass engine_kwargs=...",
}
"""Settings of models and of decoding that vLLM has nothing for, and what to do instead."""

KEEPS_TEXT = (
    "block_size",
    "compilation_config",
    "cpu_offload_gb",
    "cudagraph_capture_sizes",
    "disable_custom_all_reduce",
    "distributed_executor_backend",
    "download_dir",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "load_format",
    "max_cudagraph_capture_size",
    "max_num_batched_tokens",
    "max_num_seqs",
    "max_parallel_loading_workers",
    "num_gpu_blocks_override",
    "optimization_level",
    "pipeline_parallel_size",
    "tensor_parallel_size",
    "use_tqdm_on_load",
)
"""Arguments of vLLM's engine that decide where and how fast it computes: up to floating point, the same texts."""


@dataclass(frozen=True, kw_only=True)
class VLLMConfig(Config):
    """How vLLM runs a model.

    Args:
        engine_kwargs (`dict`, *optional*):
            Passed through to vLLM's `EngineArgs`: `tensor_parallel_size`, `quantization`, `gpu_memory_utilization`,
            `max_num_seqs`, `speculative_config`, ...
        silence_timeout (`float`, *optional*, defaults to 60):
            Most seconds that a step of vLLM may take before it counts as hung. More is needed where a single step
            takes that long: a large model on a CPU that reads `max_num_batched_tokens` tokens of prompts at once.
    """

    engine_kwargs: Options = field(default_factory=dict)
    silence_timeout: Positive = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.engine_kwargs:
            if name in REFUSED_ENGINE_KWARGS:
                raise ConfigError(f"engine_kwargs has {name!r}: {REFUSED_ENGINE_KWARGS[name]}.")
        check_json(self)

    @property
    def changing_text(self) -> dict[str, Any]:
        """The arguments of vLLM's engine that change what is written."""
        return {name: value for name, value in self.engine_kwargs.items() if name not in KEEPS_TEXT}


def refuse_for_vllm(model: ModelConfig, decoding: DecodingConfig) -> None:
    """Raise [`ConfigError`] for a setting that vLLM has nothing for, so that none is silently dropped."""
    if model.dtype == "float64":
        raise ConfigError("dtype='float64' cannot be used with vLLM. Pass 'float32'.")
    if decoding.engine not in ("auto", "vllm"):
        raise ConfigError(f"engine={decoding.engine!r} is one of TransformersGenerator. Leave it out: vLLM writes.")
    for config in (model, decoding):
        for setting in dataclasses.fields(config):
            if setting.name not in REFUSED_SETTINGS:
                continue
            default = setting.default if setting.default_factory is dataclasses.MISSING else setting.default_factory()
            if (value := getattr(config, setting.name)) != default:
                raise ConfigError(
                    f"{setting.name}={value!r} cannot be used with vLLM. Instead: {REFUSED_SETTINGS[setting.name]}."
                )
