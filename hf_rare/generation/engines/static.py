"""Writing with a batch that is never idle: a row that has ended leaves it, and the next prompt takes its place.

All rows write together ([`Scheduler`]), each at its own place in a [`RowCache`] or a [`SlotCache`]. That works for
models whose layers all attend to the whole text and tell where a token stands by its position. Whether a model is one
of these is tried on a few texts; for any other, and for what only `generate` can do, [`choose_cache`] gives the
reason. What fails is written again by `generate`.
"""

import logging
from collections.abc import Iterator
from functools import partial

import torch
from transformers.cache_utils import DynamicCache

from hf_rare.errors import HfRareError
from hf_rare.generation.caches.row import RowCache
from hf_rare.generation.caches.slot import SlotCache
from hf_rare.generation.decoding import Decoding
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.engines.scheduler import Scheduler, read_prompts, read_tokens
from hf_rare.generation.engines.trial import SHORT, long_length, make_texts, once, why_not_by_place
from hf_rare.generation.failures import free_memory, is_out_of_memory
from hf_rare.generation.protocol import Completion, Job, JobList, JobSource, Observer
from hf_rare.generation.token_chooser import TokenChooser

logger = logging.getLogger(__name__)

CacheKind = type[RowCache] | type[SlotCache]

ONLY_GENERATE = ("cache_implementation", "guidance_scale", "prefill_chunk_size", "prompt_lookup_num_tokens")
"""Settings of generation that `generate` alone knows what to do with."""


class StaticEngine:
    """Writes with all the rows that memory allows, and fills the places of those that have ended.

    Args:
        plain ([`PlainEngine`]):
            The engine for the same model that writes again, in micro-batches that are halved, what fails here.
        kind (`type`):
            The kind of cache, from [`choose_cache`].
    """

    refills = True
    """Whether a prompt that has ended makes room for the next one at once."""

    def __init__(self, plain: PlainEngine, kind: CacheKind) -> None:
        self.kind = kind
        self._plain = plain
        self._make_cache = partial(kind, count_layers(plain.decoding))
        self._chooser = TokenChooser(plain.decoding)
        self._idle: list[Scheduler] = []

    def write(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job; see [`Generator`]."""
        # a judge may be the same model as the teacher: it writes while rows of the teacher are held
        scheduler = self._idle.pop() if self._idle else Scheduler(self._plain, self._chooser, self._make_cache)
        scheduler.begin(source, observer)
        while scheduler.has_work():
            failed: list[Job] = []
            try:
                if written := scheduler.step():
                    yield written
            except HfRareError:
                raise
            except Exception as err:
                if self._plain.is_one_of_many:
                    raise
                logger.warning("Writing %d rows failed: %s: %s", len(scheduler.rows), type(err).__name__, err)
                out_of_memory = is_out_of_memory(err)
                if out_of_memory:
                    self._plain.packer.shrink(scheduler.size)
                    self._idle.clear()
                failed = scheduler.give_up(out_of_memory)
                if not failed:  # the same step would fail for ever
                    raise
                err.__traceback__ = None  # its frames hold the tensors
            if failed:
                free_memory()
                yield from self._plain.write(JobList(failed), observer)
        self._idle.append(scheduler)


def choose_cache(decoding: Decoding) -> tuple[CacheKind | None, str]:
    """Choose the kind of cache that [`StaticEngine`] works with.

    Args:
        decoding ([`Decoding`]): the model and how it writes.

    Returns:
        the kind, and an empty text; or `None`, and the reason why the engine cannot be used.
    """
    if reason := _why_not(decoding):
        return None, reason
    kinds: list[CacheKind] = [SlotCache]
    if torch.device(decoding.device).type == "cpu":
        kinds.insert(0, RowCache)
    for kind in kinds:
        if not (reason := once(decoding.model, kind.__name__, partial(_try_out, decoding, kind))):
            return kind, ""
        logger.info("No %s is used: %s.", kind.__name__, reason)
    return None, reason


def _why_not(decoding: Decoding) -> str:
    """Say why no kind of cache will do; empty where that is to be tried."""
    model, config = decoding.model, decoding.config
    if (config.num_beams or 1) > 1:
        return "beam search keeps several texts for each row"
    if config.use_cache is False:
        return "use_cache=False"
    if given := [name for name in ONLY_GENERATE if getattr(config, name, None) is not None]:
        return f"{given[0]} is for `generate`"
    return why_not_by_place(model)


def _try_out(decoding: Decoding, kind: CacheKind) -> str:
    """Write rows of different lengths, and compare the logits with those of the whole texts."""
    longest = long_length(decoding)
    texts = make_texts(decoding, [longest, longest - 3, SHORT])
    ahead = 2 if kind.takes_guesses else 1
    try:
        cache = kind(count_layers(decoding))
        cache.add(read_prompts(decoding, [texts[0][: -1 - ahead], texts[1][:-2]])[0], [(0, 0), (1, 4 - ahead)])
        cache.add(read_prompts(decoding, [texts[2][:-2]])[0], [(0, 0)])
        for parts in ([texts[0][-1 - ahead : -1], texts[1][-2:-1], texts[2][-2:-1]], [text[-1:] for text in texts]):
            inputs = cache.begin_step(parts)
            logits = read_tokens(decoding, inputs, cache, keep=0, attention=cache.attention).flatten(0, 1)
        expected = torch.cat([read_prompts(decoding, [text])[1] for text in texts])
    except Exception as err:
        return f"the model fails with rows of different lengths ({type(err).__name__}: {err})"
    error = float((logits - expected).abs().max() / expected.abs().max())
    tolerance = 1e-3 if decoding.model.dtype.itemsize >= 4 else 0.1
    return "" if error <= tolerance else f"the model's logits differ by {error:.2g} with rows of different lengths"


def count_layers(decoding: Decoding) -> int:
    """Count the layers of a model that keep keys and values."""
    return len(DynamicCache(config=decoding.model.config).layers)
