"""Whether an engine writes what the model says, tried on a few texts before it is trusted.

An engine that computes a model in a way of its own can be wrong for some models, silently. So it is tried: on texts of
different lengths, some of them longer than every window, index and chunk that the model's config names, for that is
where the computation changes. The texts are random tokens; what counts is that two ways of computing them agree, up to
floating point. A verdict holds for the loaded model, and is found once.
"""

import copy
import dataclasses
import inspect
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import ContinuousBatchingConfig, LogitsProcessorList
from transformers.cache_utils import DynamicCache, DynamicLayer

from hf_rare.compat.transformers import attention_of, name_of_cache
from hf_rare.generation.decoding import Decoding, set_up
from hf_rare.generation.engines.manager import LiveManager
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.failures import free_memory
from hf_rare.generation.memory import count_tokens_that_fit
from hf_rare.generation.protocol import EncodedPrompt, Job
from hf_rare.generation.sampling import draw_numbers

logger = logging.getLogger(__name__)

LIMITS = re.compile(r"window|chunk|block|compress|index_topk|floor_scale|original_max_position")
"""Names in a config whose numbers are lengths of text at which the computation of a model changes."""

SHORT, USUAL = 5, 32
"""Tokens of the short texts, and of the long ones where the config names no length."""

BEYOND = 32
"""Tokens that the longest text has more than twice the longest length: five eighths of it are over that, too."""

WRITTEN = 8
"""Tokens that are written behind each text."""

OPERATIONS = {"cpu": 1e12}
OPERATIONS_ELSEWHERE = 1e15
"""Operations that reading a long text may take: a matter of seconds."""

SHARE_OF_MEMORY = 8
"""The longest text takes no more than this share of the tokens that fit: several are written together."""

TRIAL_SECONDS = 300
"""Time after which a manager that is tried is taken to hang."""

_VERDICTS: "WeakKeyDictionary[Any, dict[str, str]]" = WeakKeyDictionary()


def once(model: Any, name: str, find: Callable[[], str]) -> str:
    """Find a verdict on a loaded model, unless it was found before.

    It holds for the kind of attention, and not where somebody has put another forward in the place of the model's own.
    """
    verdicts = _VERDICTS.setdefault(model, {})
    key = f"{name} {attention_of(model)} {model.dtype}"
    if key not in verdicts or "forward" in vars(model):
        verdicts[key] = find()
        free_memory()
    return verdicts[key]


def why_not_by_place(model: Any) -> str:
    """Say why a model cannot be told the place of each token, with a cache that holds them all; empty where it can.

    Whether what it then computes is right is to be tried.
    """
    if not isinstance(model, torch.nn.Module):
        return "the model is not of torch"
    if model.config.is_encoder_decoder:
        return "the model is an encoder and a decoder"
    needed = {"attention_mask", "position_ids", name_of_cache(model), "logits_to_keep"}
    if missing := needed - set(inspect.signature(model.forward).parameters):
        return f"the model's forward takes no {', '.join(sorted(missing))}"
    layers = DynamicCache(config=model.config).layers
    kinds = {type(layer).__name__ for layer in layers if type(layer) is not DynamicLayer}
    if kinds or not layers:
        return f"the cache has layers of another kind: {', '.join(sorted(kinds)) or 'none are named'}"
    return ""


def make_texts(decoding: Decoding, lengths: list[int]) -> list[list[int]]:
    """Make texts of random tokens, none of which are at either end of the vocabulary, where control tokens are."""
    size = decoding.model.config.get_text_config().vocab_size
    dice = random.Random(0)
    return [[dice.randrange(size // 8, max(size // 8 + 1, size // 2)) for _ in range(length)] for length in lengths]


def long_length(decoding: Decoding) -> int:
    """Say how long a text is that is longer than what the config names, within the context and a few seconds."""
    room = _count_room(decoding)
    return max(SHORT + 1, min(max(USUAL, 2 * _longest_limit(decoding) + BEYOND), room))


def _longest_limit(decoding: Decoding) -> int:
    """Find the longest length that the config names, and that a text can be longer than; 0 where there is none."""
    limits = _find_limits(decoding.model.config.get_text_config().to_dict())
    return max((limit for limit in limits if limit + BEYOND <= _count_room(decoding)), default=0)


def _count_room(decoding: Decoding) -> int:
    context = getattr(decoding.model.config.get_text_config(), "max_position_embeddings", None) or 2**31
    most = OPERATIONS.get(decoding.device.type, OPERATIONS_ELSEWHERE) / (2 * max(1, decoding.model.num_parameters()))
    held = count_tokens_that_fit(decoding.model, decoding.device) // SHARE_OF_MEMORY
    return int(min(context - WRITTEN - 1, most, held))


def _find_limits(config: Mapping[str, Any]) -> Iterator[int]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _find_limits(value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and LIMITS.search(name):
            yield int(value)


def try_continuous(decoding: Decoding, config: ContinuousBatchingConfig) -> str:
    """Let a manager of continuous batching write texts, one of them twice, and compare its draws with the model's.

    Args:
        decoding ([`Decoding`]): the model.
        config ([`~transformers.ContinuousBatchingConfig`]): the settings; those of size are replaced by small ones.

    Returns:
        `str`: why the engine cannot be used; empty where it can.
    """
    crossing = max(SHORT, _longest_limit(decoding) - WRITTEN // 2)  # while it is written
    longest = long_length(decoding)
    texts = make_texts(decoding, [SHORT, min(USUAL, longest), crossing, longest])
    texts.insert(2, texts[1])
    jobs = [Job(EncodedPrompt([], "", text), seed) for seed, text in enumerate(texts) if text]
    plain = copy.copy(decoding.config)
    plain.update(do_sample=True, eos_token_id=-1, max_new_tokens=WRITTEN)
    blocks = sum(-(-(len(job.prompt.token_ids) + WRITTEN) // config.page_size) for job in jobs)
    small = dataclasses.replace(config, num_blocks=2 * blocks + 4, max_requests_per_batch=8, cpu_offload_space=0.0)
    small.max_batch_tokens = min(small.max_batch_tokens or 8192, 8192)
    noise = logging.getLogger("ContinuousBatchingLogger")
    level = noise.level
    noise.setLevel(logging.CRITICAL)
    try:
        written = _write(dataclasses.replace(decoding, config=plain), small, jobs)
        distances = [
            distance
            for job in jobs
            for distance in _find_distances(decoding, job.prompt.token_ids, written[job], job.seed)
        ]
    except Exception as err:
        return f"the model fails in it ({type(err).__name__}: {err})"
    finally:
        noise.setLevel(level)
    # a draw can be off by the error of the probabilities; in half precision now and then by more, where experts change
    if decoding.model.dtype.itemsize >= 4:
        is_right, error = max(distances) <= 1e-3, max(distances)
    else:
        error = sum(distances) / len(distances)
        is_right = error <= 0.02
    return "" if is_right else f"what it draws is {error:.2g} away from what the model's probabilities say"


def _write(decoding: Decoding, config: ContinuousBatchingConfig, jobs: list[Job]) -> dict[Job, list[int]]:
    """Let a manager write the jobs, and be gone."""
    live = LiveManager(decoding, LogitsProcessorList(), config)
    written, deadline = dict[Job, list[int]](), time.monotonic() + TRIAL_SECONDS
    try:
        with live.session() as session:
            session.add(jobs)
            while session.left:
                result = session.poll(1.0)
                if result is None and not session.can_go_on:
                    raise RuntimeError("it has stopped")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"it has not ended after {TRIAL_SECONDS} seconds")
                if result is not None:
                    if result.error is not None or any(result.logprobs):
                        raise RuntimeError(result.error or "logits are not finite")
                    written[session.left.pop(result.request_id)] = result.generated_tokens
    finally:
        live.close()
    return written


def _find_distances(decoding: Decoding, prompt: list[int], written: list[int], seed: int) -> list[float]:
    """Say how far each draw is from where the model's own forward would have drawn the token."""
    keep = (
        {"logits_to_keep": WRITTEN + 1}
        if "logits_to_keep" in inspect.signature(decoding.model.forward).parameters
        else {}
    )
    tokens = torch.tensor([prompt + written], device=decoding.device)
    with torch.no_grad(), set_up(decoding.model, decoding.config):
        logits = decoding.model(input_ids=tokens, use_cache=False, **keep).logits[0, -WRITTEN - 1 : -1].float().cpu()
    ends = logits.double().softmax(dim=-1).cumsum(dim=-1)
    ends = torch.cat([torch.zeros(WRITTEN, 1, dtype=torch.float64), ends / ends[:, -1:]], dim=-1)
    numbers = draw_numbers(torch.Generator().manual_seed(seed), WRITTEN)
    places = torch.tensor(written)[:, None]
    low, high = ends.gather(1, places)[:, 0], ends.gather(1, places + 1)[:, 0]
    distances: list[float] = torch.maximum(low - numbers, numbers - high).clamp(min=0).tolist()
    return distances


def why_not_together(plain: PlainEngine) -> str:
    """Say why rows cannot be padded to one length and written together; empty where they can.

    Args:
        plain ([`PlainEngine`]): the engine that would do so.
    """
    model = plain.decoding.model
    if not isinstance(model, torch.nn.Module) or plain.is_one_of_many:
        return ""
    return once(model, "padding", lambda: try_padding(plain.decoding))


def try_padding(decoding: Decoding) -> str:
    """Let `generate` write a few texts padded to one length and each alone, and compare the logits.

    Args:
        decoding ([`Decoding`]): the model.

    Returns:
        `str`: why rows cannot be written together; empty where they can, or where the trial itself fails.
    """
    longest = long_length(decoding)
    texts = make_texts(decoding, [*(longest * eighths // 8 for eighths in (8, 7, 6, 5)), SHORT])
    config = copy.copy(decoding.config)
    config.update(do_sample=False, num_beams=1, eos_token_id=None, max_new_tokens=4, min_new_tokens=None)
    try:
        together = _generate(decoding, config, texts)
        alone = [_generate(decoding, config, [text]) for text in texts]
    except Exception as err:
        logger.info("Whether rows can be padded could not be tried: %s: %s", type(err).__name__, err)
        return ""
    error = 0.0
    for row, (own, tokens) in enumerate(alone):
        for step, logits in enumerate(own):
            scale = float(logits.abs().max()) or 1.0
            error = max(error, float((together[0][step][row] - logits[0]).abs().max()) / scale)
            if together[1][row, step] != tokens[0, step]:
                break
    tolerance = 1e-3 if decoding.model.dtype.itemsize >= 4 else 0.1
    return "" if error <= tolerance else f"the model's logits differ by {error:.2g} where rows are padded"


def _generate(decoding: Decoding, config: Any, texts: list[list[int]]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return the logits of each step, and the tokens written."""
    side = {"padding_side": "right"} if decoding.model.config.is_encoder_decoder else {}
    inputs = decoding.tokenizer.pad({"input_ids": texts}, return_tensors="pt", **side).to(decoding.device)
    with torch.no_grad(), set_up(decoding.model, config):
        output = decoding.model.generate(**inputs, output_logits=True, return_dict_in_generate=True)
    steps = len(output.logits)
    return [logits.float() for logits in output.logits], output.sequences[:, -steps:]
