"""The ways of writing that `benchmarks.gpu` compares: each loads the same shape of a model, and writes rows of tokens.

What a way needs is imported where it begins, so that one whose package is missing takes none of the others along.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

SAMPLING = {"temperature": 0.95, "top_p": 0.7, "top_k": 50}
"""That of RARE (section 3)."""


@dataclass
class Load:
    """What is to be written.

    Args:
        settings (`dict[str, Any]`): the config of the model.
        device (`str`): `"cuda"` or `"cpu"`.
        prompt_tokens (`int`): tokens of each prompt.
        new_tokens (`int`): tokens of each text; none ends before.
    """

    settings: dict[str, Any]
    device: str
    prompt_tokens: int
    new_tokens: int

    @property
    def context_length(self) -> int:
        """Tokens of a text."""
        return self.prompt_tokens + self.new_tokens

    def save(self) -> str:
        """Save the model without its weights; give the folder, which is left to the system."""
        from tests.support.large import save_without_weights

        folder = Path(tempfile.mkdtemp(prefix="hf-rare-gpu-"))
        save_without_weights(self.settings, folder)
        return str(folder)

    def make_model(self) -> tuple[Any, Any]:
        """Make the model and its tokenizer."""
        from tests.support.large import make_model, make_plain_tokenizer

        model = make_model(self.settings, self.device)
        return model, make_plain_tokenizer(model.config)

    @property
    def vllm_settings(self) -> dict[str, Any]:
        """Arguments of vLLM's engine; on a CPU it is to be ready soon."""
        small = {"gpu_memory_utilization": 0.1, "enforce_eager": True, "max_num_seqs": 8}
        return {"load_format": "dummy", **(small if self.device == "cpu" else {})}


@dataclass
class Written:
    """What came of it.

    Args:
        tokens (`list[int]`): tokens of each text.
        seconds (`float`): what it took.
        notes (`dict[str, Any]`): what else is worth knowing.
    """

    tokens: list[int]
    seconds: float
    notes: dict[str, Any] = field(default_factory=dict)


Write = Callable[[list[list[int]], int], Written]
"""Writes so many texts behind each prompt."""


def write_by_generate(load: Load) -> Write:
    """Write as most people would: `generate` with batches as large as fit, which is halved where memory runs out."""
    import torch

    from hf_rare.generation.failures import free_memory, is_out_of_memory
    from hf_rare.generation.memory import count_tokens_that_fit

    model, _ = load.make_model()
    model.generation_config.eos_token_id = None
    tokens = count_tokens_that_fit(model, torch.device(load.device))
    settings = {"do_sample": True, "max_new_tokens": load.new_tokens, **SAMPLING}

    def write_in_batches(prompts: list[list[int]], samples: int, together: int) -> list[int]:
        counts = []
        for first in range(0, len(prompts), together):
            inputs = torch.tensor(prompts[first : first + together], device=load.device)
            mask = torch.ones_like(inputs)
            with torch.no_grad():
                output = model.generate(
                    input_ids=inputs, attention_mask=mask, num_return_sequences=samples, **settings
                )
            counts += [output.shape[1] - inputs.shape[1]] * len(output)
        return counts

    def write(prompts: list[list[int]], samples: int) -> Written:
        together = min(len(prompts), max(1, tokens // load.context_length // samples))
        while True:
            start = time.perf_counter()
            try:
                counts = write_in_batches(prompts, samples, together)
            except Exception as err:
                if not is_out_of_memory(err) or together == 1:
                    raise
                together //= 2
            else:
                return Written(counts, time.perf_counter() - start, {"texts together": together * samples})
            free_memory()

    return write


def write_by_engine(load: Load, engine: str) -> Write:
    """Write with an engine of `TransformersGenerator`, with its defaults."""
    from hf_rare import TransformersGenerator

    model, tokenizer = load.make_model()
    kwargs = {**SAMPLING, "eos_token_id": []}
    settings: dict[str, Any] = {"max_new_tokens": load.new_tokens, "generation_kwargs": kwargs}
    if load.device == "cpu":
        settings["max_batch_tokens"] = 16 * load.context_length
    generator = TransformersGenerator(model, tokenizer, engine=engine, **settings)

    return partial(_write_with, generator)


def write_by_vllm_generator(load: Load) -> Write:
    """Write with `VLLMGenerator`."""
    from hf_rare import VLLMGenerator

    generator = VLLMGenerator.from_pretrained(
        load.save(),
        max_new_tokens=load.new_tokens,
        generation_kwargs={**SAMPLING, "eos_token_id": []},
        context_length=load.context_length,
        engine_kwargs=load.vllm_settings,
    )

    return partial(_write_with, generator)


def _write_with(generator: Any, prompts: list[list[int]], samples: int) -> Written:
    from hf_rare import EncodedPrompt
    from hf_rare.generation.protocol import Job, JobList

    encoded = [EncodedPrompt([], "", prompt) for prompt in prompts]
    jobs = [Job(prompt, samples * i + j) for i, prompt in enumerate(encoded) for j in range(samples)]
    start = time.perf_counter()
    completions = [pair[1] for written in generator.generate(JobList(jobs)) for pair in written]
    seconds = time.perf_counter() - start
    if errors := [completion.error for completion in completions if completion.finish_reason == "error"]:
        raise RuntimeError(f"{len(errors)} of {len(jobs)} texts failed: {errors[0]}")
    notes = {"written by": type(generator.engine).__name__}
    if packer := getattr(generator, "packer", None):
        notes["max_batch_tokens"] = packer.max_tokens
    return Written([completion.completion_tokens for completion in completions], seconds, notes)


def write_by_vllm(load: Load) -> Write:
    """Write with vLLM's own `LLM.generate`."""
    import vllm
    from vllm import LLM, SamplingParams

    llm = LLM(
        load.save(), dtype=load.settings["dtype"], max_model_len=load.context_length, seed=0, **load.vllm_settings
    )
    settings = {"max_tokens": load.new_tokens, "ignore_eos": True, "detokenize": False, **SAMPLING}

    def write(prompts: list[list[int]], samples: int) -> Written:
        sampling = SamplingParams(n=samples, **settings)
        start = time.perf_counter()
        outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)
        seconds = time.perf_counter() - start
        counts = [len(written.token_ids) for output in outputs for written in output.outputs]
        return Written(counts, seconds, {"version": vllm.__version__})

    return write


def write_by_sglang(load: Load) -> Write:
    """Write with the engine of SGLang."""
    import sglang

    engine = sglang.Engine(
        model_path=load.save(),
        load_format="dummy",
        dtype=load.settings["dtype"],
        context_length=load.context_length + 8,
    )
    settings = {"max_new_tokens": load.new_tokens, "ignore_eos": True, **SAMPLING}

    def write(prompts: list[list[int]], samples: int) -> Written:
        start = time.perf_counter()
        outputs = engine.generate(input_ids=prompts, sampling_params={"n": samples, **settings})
        seconds = time.perf_counter() - start
        counts = [int(output["meta_info"]["completion_tokens"]) for output in outputs]
        return Written(counts, seconds, {"version": sglang.__version__})

    return write


WAYS: dict[str, Callable[[Load], Write]] = {
    "continuous": lambda load: write_by_engine(load, "continuous"),
    "static": lambda load: write_by_engine(load, "static"),
    "generate": write_by_generate,
    "VLLMGenerator": write_by_vllm_generator,
    "LLM.generate": write_by_vllm,
    "SGLang": write_by_sglang,
}
NEEDS = {"VLLMGenerator": "vllm", "LLM.generate": "vllm", "SGLang": "sglang"}
"""The packages that ways need besides ours."""
