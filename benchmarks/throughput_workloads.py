"""What `benchmarks.throughput` lets every way of writing write: real rows, and rows whose lengths have a long tail."""

import argparse
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from benchmarks.real_rows import load_rows

DATA = Path(__file__).parent.parent / "tests" / "data"
COUNT_FROM = 3
"""Token that stands for 0 in the long-tailed workload; those before it are special."""


class Workload:
    """Prompts of tokens and the model that is to complete them.

    Args:
        arguments (`argparse.Namespace`): the arguments of the benchmark.
    """

    model: Any
    tokenizer: Any
    prompts: list[list[int]]
    max_new_tokens: int

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments

    def load(self) -> None:
        """Load the model and make the prompts."""
        raise NotImplementedError

    def make_generator(self, engine: str) -> Any:
        """Make a generator of hf_rare around the model."""
        from hf_rare import TransformersGenerator
        from tests.support.plain import PlainGenerator

        if engine == "plain":
            return PlainGenerator(self.model, self.tokenizer, **self.settings())
        return TransformersGenerator(self.model, self.tokenizer, **self.settings(), engine=engine)

    def settings(self) -> dict[str, Any]:
        """Return the settings of decoding."""
        return {"max_new_tokens": self.max_new_tokens, "generation_kwargs": {"do_sample": False}}

    def read(self, ids: Sequence[int]) -> str:
        """Read what was written, as the text that hf_rare gives."""
        end = next((i for i, token in enumerate(ids) if token == self.tokenizer.eos_token_id), len(ids))
        hidden = {self.tokenizer.pad_token_id, self.tokenizer.bos_token_id}
        return str(self.tokenizer.decode([token for token in ids[:end] if token not in hidden]))

    def read_completion(self, completion: Any) -> str:
        """Read what hf_rare has written, as `read` does."""
        return str(completion.text)

    def count(self, texts: Sequence[str]) -> int:
        """Count the generated tokens, the ends included."""
        raise NotImplementedError


class RealRows(Workload):
    """Real questions, each with 1 to 6 negatives."""

    def load(self) -> None:
        from transformers import AutoModelForCausalLM

        self.max_new_tokens = self.arguments.max_new_tokens
        distill_fn = self._distiller()
        self.prompts = [prompt.token_ids for prompt in make_real_prompts(self.arguments.rows, distill_fn)]
        self.tokenizer = distill_fn.generator.teacher.tokenizer
        self.model = AutoModelForCausalLM.from_pretrained(self.arguments.model, dtype="float32").eval()

    def _distiller(self) -> Any:
        from hf_rare import ReasonDistiller

        return ReasonDistiller.from_pretrained(
            self.arguments.model, max_new_tokens=self.arguments.max_new_tokens, journal_dir=None
        )

    def count(self, texts: Sequence[str]) -> int:
        lengths = self._distiller().generator.encoder.count_tokens(texts)
        return sum(min(length + 1, self.arguments.max_new_tokens) for length in lengths)


class LongTailedRows(Workload):
    """A tiny random model whose completions have the lengths that their prompts say.

    The last token of a prompt stands for a number, and the model, which computes as any other, is made to count down
    from it to the end.
    """

    def load(self) -> None:
        from tests.support.tiny import make_model, make_tokenizer

        self.max_new_tokens = 1024
        self.tokenizer = make_tokenizer()
        self.tokenizer.padding_side = "left"
        end = self.tokenizer.eos_token_id
        size = COUNT_FROM + 1025
        self.model = make_model(size, end, self.tokenizer.pad_token_id)

        def count_down(module: Any, arguments: Any, inputs: dict[str, Any], output: Any) -> Any:
            kept = inputs.get("logits_to_keep", 0)  # a number of last tokens, 0 for all, or places
            last = inputs["input_ids"][:, slice(-kept, None) if isinstance(kept, int) else kept] - 1
            output.logits.fill_(0).scatter_(2, last.masked_fill(last < COUNT_FROM, end)[..., None], 1)
            return output

        self.model.register_forward_hook(count_down, with_kwargs=True)
        draw = random.Random(0)
        self.prompts = [
            [draw.randrange(COUNT_FROM, size) for _ in range(draw.randint(20, 60))] + [COUNT_FROM + length - 1]
            for length in self._lengths()
        ]

    def _lengths(self) -> list[int]:
        draw = random.Random(1)
        normal = [draw.gauss(math.log(64), 1.2) for _ in range(self.arguments.long_tailed_rows)]
        return [min(1024, max(8, round(math.exp(value)))) for value in normal]

    def read(self, ids: Sequence[int]) -> str:
        return str(ids.index(self.tokenizer.eos_token_id) + 1)

    def read_completion(self, completion: Any) -> str:
        return str(completion.completion_tokens)

    def count(self, texts: Sequence[str]) -> int:
        return sum(self._lengths())


def make_real_prompts(count: int, distill_fn: Any) -> list[Any]:
    """Make the prompts of the first real questions, each with 1 to 6 negatives cut to 700 characters."""
    from hf_rare import mine_hard_negatives

    documents = Dataset.from_json(str(DATA / "pg_docs.jsonl"))["text"][:]
    rows = mine_hard_negatives(load_rows().remove_columns("hard_negatives"), documents, num_negatives=6)
    rows = rows.select(range(count))
    negatives = [[text[:700] for text in row[: 1 + i % 6]] for i, row in enumerate(rows["hard_negatives"])]
    rows = rows.remove_columns("hard_negatives").add_column("hard_negatives", negatives)
    return [row.encoded for row in distill_fn.prepare(rows[:]) if row.encoded is not None]


WORKLOADS: dict[str, type[Workload]] = {"real": RealRows, "long-tailed": LongTailedRows}
