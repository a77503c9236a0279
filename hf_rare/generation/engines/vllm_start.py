"""How vLLM is started, and how its requests are made: all that imports it. It is imported on first use."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from hf_rare.compat.vllm import HOW_TO_INSTALL
from hf_rare.errors import ConfigError, MissingPackageError, ModelLoadError
from hf_rare.settings.transformers_names import reject_unknown_names

TOKENS_AT_A_TIME = 16
"""Tokens of a row after which they are reported: fewer would cost more, more would be told of late."""


def make_engine(arguments: Mapping[str, Any]) -> Any:
    """Make vLLM's engine, in a process of its own.

    Raises:
        ConfigError: vLLM refuses an argument.
        MissingPackageError: vLLM cannot be imported.
        ModelLoadError: vLLM cannot load the model.
    """
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        from vllm import EngineArgs, LLMEngine
    except ImportError as err:
        raise MissingPackageError(
            f"VLLMGenerator needs vLLM, and it cannot be imported ({err}): {HOW_TO_INSTALL}."
        ) from err
    known = [setting.name for setting in dataclasses.fields(EngineArgs) if not setting.name.startswith("_")]
    reject_unknown_names(arguments, known, "engine_kwargs")
    try:
        return LLMEngine.from_engine_args(EngineArgs(**arguments), enable_multiprocessing=True)
    except (OSError, RuntimeError) as err:
        raise ModelLoadError(
            f"vLLM cannot load {arguments['model']!r}: {err} If memory ran out, pass engine_kwargs="
            "{'gpu_memory_utilization': ...} or a smaller context_length; in a script, what starts it must stand "
            'under `if __name__ == "__main__":`. VLLM_LOGGING_LEVEL=INFO shows more.'
        ) from err
    except Exception as err:  # what it says of arguments is of other classes from release to release
        raise ConfigError(f"vLLM refuses {dict(arguments)!r}: {err}") from err


def make_params(sampling: Mapping[str, Any]) -> Any:
    """Make the sampling parameters of a request."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    settings = dict(sampling)
    if (schema := settings.pop("json_schema", None)) is not None:
        settings["structured_outputs"] = StructuredOutputsParams(json=schema)
    return SamplingParams(
        **settings, output_kind=RequestOutputKind.DELTA, stream_interval=TOKENS_AT_A_TIME, skip_clone=True
    )


def make_prompt(token_ids: list[int]) -> Any:
    """Make the prompt of a request."""
    from vllm.inputs import tokens_input

    return tokens_input(token_ids)
