"""What the lowest versions that setup.cfg allows cannot do, and tests ask for."""

import importlib

import datasets
import huggingface_hub
import pytest
from packaging.version import Version

HTTP = importlib.import_module(type(huggingface_hub.get_session()).__module__.partition(".")[0])
"""What the Hub's client sends its requests with: `httpx`, or `httpx2` from huggingface_hub 2 on."""


def skip_before_datasets_5(why: str) -> None:
    """Skip a test of what `datasets` itself cannot do before version 5."""
    if Version(datasets.__version__) < Version("5"):
        pytest.skip(f"datasets {datasets.__version__}: {why}")
