"""Fixtures: an isolated cache, a tiny random teacher for almost everything, and the real SmolLM2 for a few tests."""

import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

_HOME = tempfile.mkdtemp(prefix="hf-rare-tests-")
os.environ |= {"HF_HOME": _HOME, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "120"}
os.environ["OMP_NUM_THREADS"] = "1"  # threads that wait for each other are slow beside anything else that runs
os.environ["HF_RARE_JOURNAL"] = "off"  # a comparison of two runs proves nothing when the second reads the first

import hypothesis  # noqa: E402
import pytest  # noqa: E402
from datasets import Dataset  # noqa: E402
from filelock import FileLock  # noqa: E402
from hypothesis import HealthCheck  # noqa: E402

from hf_rare import ReasonDistiller  # noqa: E402
from hf_rare.cli.demo import find_demo_model  # noqa: E402
from hf_rare.rows.demo import load_demo_dataset  # noqa: E402
from tests.support.tiny import THINKING_CHAT_TEMPLATE, save_tiny_embedder, save_tiny_model  # noqa: E402

REPOSITORY = Path(__file__).parent.parent
CACHE = Path(os.environ.get("HF_RARE_TEST_CACHE", REPOSITORY / ".cache"))
hypothesis.settings.register_profile("without a clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("without a clock")


def pytest_collection_modifyitems(items):
    """Let slow tests begin, then those that may take long, so that no process is left alone with one in the end."""

    def order(item) -> tuple[bool, float]:
        limit = item.get_closest_marker("timeout")
        return item.get_closest_marker("slow") is None, -limit.args[0] if limit else 0

    items.sort(key=order)


@pytest.fixture(scope="session", autouse=True)
def _remove_home():
    yield
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """Folder of a tiny random teacher."""
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="session")
def tiny_embedder(tmp_path_factory) -> str:
    """Folder of a tiny random SentenceTransformer."""
    pytest.importorskip("sentence_transformers")
    return str(save_tiny_embedder(tmp_path_factory.mktemp("tiny-embedder")))


@pytest.fixture(scope="session")
def tiny_thinking(tmp_path_factory) -> str:
    """Folder of a tiny teacher whose chat template pre-fills `<think>`."""
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny-thinking"), THINKING_CHAT_TEMPLATE))


@pytest.fixture(scope="session")
def tiny_plain(tmp_path_factory) -> str:
    """Folder of a tiny teacher without a chat template."""
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny-plain"), None))


@pytest.fixture(scope="session")
def context():
    """A server that has imported everything and forks a fresh process for each run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.preloaded"])
    return context


@pytest.fixture(scope="session")
def smollm2() -> str:
    """Folder of SmolLM2-135M-Instruct, converted once from the GGUF file and kept in a cache folder."""
    folder = CACHE / "SmolLM2-135M-Instruct"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "SmolLM2-135M-Instruct.lock"):  # two processes run the tests
        if not (folder / "model.safetensors").exists():
            convert_smollm2(folder)
    return str(folder)


def convert_smollm2(folder: Path) -> None:
    """Write the embedded model as safetensors."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = find_demo_model()
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype="float32")
    model.hf_quantizer, model.is_quantized = None, False  # it is dequantised: `save_pretrained` asks for this
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    model.save_pretrained(folder)


@pytest.fixture
def rows() -> Dataset:
    """Six short rows with two hard negatives each."""
    return Dataset.from_list(
        [
            {
                "id": f"row-{i}",
                "question": f"What follows from rule {i}?",
                "scenario": f"A clerk applies rule {i} to a case of {i + 2} parts.",
                "text": f"Rule {i} says that every part is counted once. " * (i % 3 + 1),
                "hard_negatives": [f"Rule {i + 10} is about something else.", "No part is counted on Sundays."],
                "answer": "gold",
            }
            for i in range(6)
        ]
    )


@pytest.fixture
def demo_rows() -> Dataset:
    """The rows that ship with the library."""
    return load_demo_dataset()


@pytest.fixture
def distill_fn(tiny) -> ReasonDistiller:
    """A distiller with the tiny teacher, 12 new tokens."""
    return ReasonDistiller.from_pretrained(tiny, max_new_tokens=12)
