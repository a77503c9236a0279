"""What a card can do at best: how fast it computes and how fast it reads its memory, and what follows for a model.

The figures of known cards are those of NVIDIA's data sheets: dense bfloat16 with sums in float32 (half of what the
sheets of the H100, H200, L4 and L40S say "with sparsity"), and the bandwidth of the memory. They are from the data
sheets "NVIDIA H100 Tensor Core GPU", "NVIDIA H200 Tensor Core GPU", "NVIDIA A100 Tensor Core GPU", "NVIDIA L4 Tensor
Core GPU" and "NVIDIA L40S", and for the RTX cards from appendix A of the "NVIDIA Ada GPU Architecture" whitepaper.
Names are those that `torch.cuda.get_device_name` gives, behind "NVIDIA ". Any other card, a part of one (MIG), and a
CPU are measured, and so are known cards, for comparison.
"""

import time
from typing import Any

CARDS = {
    "H200": (989e12, 4800e9),
    "H100 80GB HBM3": (989e12, 3350e9),
    "H100 NVL": (835e12, 3900e9),
    "H100 PCIe": (756e12, 2000e9),
    "A100-SXM4-80GB": (312e12, 2039e9),
    "A100-SXM4-40GB": (312e12, 1555e9),
    "A100 80GB PCIe": (312e12, 1935e9),
    "A100-PCIE-40GB": (312e12, 1555e9),
    "L40S": (362e12, 864e9),
    "L4": (121e12, 300e9),
    "GeForce RTX 4090": (165.2e12, 1008e9),
    "GeForce RTX 3090": (71e12, 936e9),
}
"""Operations and bytes of memory in a second."""

TRIES = 10


def measure_rates(device: str, dtype: Any) -> tuple[float, float]:
    """Measure operations a second by a product of matrices, and bytes a second by a copy; the best try counts."""
    import torch

    size, length = (8192, 2**30) if device == "cuda" else (768, 2**26)
    matrices = torch.randn(2, size, size, device=device, dtype=dtype)
    source = torch.zeros(length, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    product = _best_time(device, lambda: torch.matmul(matrices[0], matrices[1]))
    copy = _best_time(device, lambda: target.copy_(source))
    return 2 * size**3 / product, 2 * length / copy


def _best_time(device: str, do: Any) -> float:
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    times = []
    for _ in range(TRIES):
        wait()
        start = time.perf_counter()
        do()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def describe_card(device: str, dtype: Any) -> dict[str, Any]:
    """Say what a device is and what it can do.

    Returns:
        `dict[str, Any]`: its name, its memory in bytes, and operations and bytes a second: those of the data sheet
        where there is one, and those measured.
    """
    import psutil
    import torch

    name, known, memory = "CPU", None, psutil.virtual_memory().total
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        name, memory = properties.name, properties.total_memory
        known = CARDS.get(name.removeprefix("NVIDIA "))
    measured = measure_rates(device, dtype)
    operations, bandwidth = known or measured
    return {
        "name": name,
        "CUDA": torch.version.cuda if device == "cuda" else None,
        "uuid": f"GPU-{torch.cuda.get_device_properties(0).uuid}" if device == "cuda" else "",
        "memory": memory,
        "from": "data sheet" if known else "measured",
        "operations/s": operations,
        "bytes/s": bandwidth,
        "measured operations/s": measured[0],
        "measured bytes/s": measured[1],
    }


class Bound:
    """What a model can be written with at best on a card.

    Reading prompts is bound by operations: two for each weight of the layers, and those of attention. Writing is bound
    by what a step reads, weights and the keys and values of all texts, or by its operations, whichever is slower. All
    texts have the same lengths, and as many are written together as the memory holds beside the weights when each
    is half written. Samples of a prompt share its reading and its memory; in a step each reads it anew, which an
    engine that reads shared keys once for all of them can undercut.

    Args:
        config: the model's config, of Llama's kind.
        itemsize (`int`): bytes of a weight, and of a number of a key or value.
        card (`dict[str, Any]`): from [`describe_card`].
        prompt_tokens (`int`): tokens of each prompt.
        new_tokens (`int`): tokens that are written behind each.
    """

    def __init__(self, config: Any, itemsize: int, card: dict[str, Any], prompt_tokens: int, new_tokens: int) -> None:
        self._card = card
        self._prompt, self._new = prompt_tokens, new_tokens
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        queries, keys = config.num_attention_heads * width, config.num_key_value_heads * width
        self._body = config.num_hidden_layers * config.hidden_size * (2 * queries + 2 * keys)
        self._body += config.num_hidden_layers * 3 * config.hidden_size * config.intermediate_size
        self._head = config.vocab_size * config.hidden_size
        self._attention = 4 * config.num_hidden_layers * queries
        self.token_bytes = 2 * config.num_hidden_layers * keys * itemsize
        self.step_bytes = (self._body + self._head) * itemsize
        self.weight_bytes = self.step_bytes + self._head * itemsize  # the embedding of a token is one row

    def count_places(self, samples: int = 1) -> int:
        """Count the texts that the memory holds beside the weights."""
        text = self.token_bytes * (self._prompt / samples + self._new / 2)
        return max(1, int((self._card["memory"] - self.weight_bytes) / text))

    def reading(self) -> float:
        """Return the tokens of prompts that are read in a second."""
        return float(self._card["operations/s"] / (2 * self._body + self._attention * self._prompt / 2))

    def writing(self, together: int) -> float:
        """Return the tokens that are written in a second, with so many texts together."""
        context = self._prompt + self._new / 2
        reading = (self.step_bytes + together * context * self.token_bytes) / self._card["bytes/s"]
        operations = together * (2 * (self._body + self._head) + self._attention * context)
        return float(together / max(reading, operations / self._card["operations/s"]))

    def describe(self, prompts: int, samples: int) -> dict[str, Any]:
        """Say what writing so many samples of so many prompts takes at best."""
        texts = prompts * samples
        together = min(texts, self.count_places(samples))
        seconds = prompts * self._prompt / self.reading() + texts * self._new / self.writing(together)
        return {
            "texts together": together,
            "tokens/s read": round(self.reading(), 1),
            "tokens/s written": round(self.writing(together), 1),
            "seconds": round(seconds, 3),
            "rows/s": round(prompts / seconds, 3),
            "tokens/s": round(texts * self._new / seconds, 1),
        }
