"""The cache with tensors of its own for every row: what it tells transformers of, and when."""

import subprocess
import sys

import pytest

SCRIPT = """
import importlib, multiprocessing, pkgutil
import torch
from transformers import AttentionInterface, AttentionMaskInterface
import hf_rare.generation

def find_ours():
    return [name for kind in (AttentionInterface, AttentionMaskInterface) for name in kind() if "hf_rare" in name]

def use_caches():
    from hf_rare.generation.caches.row import NAME, RowCache
    for _ in range(2):
        RowCache(1)
        assert find_ours() == [NAME, NAME], find_ours()

def use_caches_elsewhere(method):
    process = multiprocessing.get_context(method).Process(target=use_caches)
    process.start()
    process.join()
    assert process.exitcode == 0

if __name__ == "__main__":
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(hf_rare.generation.__path__, "hf_rare.generation."):
        importlib.import_module(module.name)
    use_caches_elsewhere("fork")
    use_caches_elsewhere("spawn")
    assert find_ours() == [], find_ours()
    use_caches()
    use_caches_elsewhere("fork")
"""


@pytest.mark.slow
def test_importing_registers_nothing_and_the_first_cache_of_each_process_does(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    subprocess.run([sys.executable, tmp_path / "script.py"], check=True, timeout=110)
