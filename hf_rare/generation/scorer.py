"""The generator that writes nothing: its completion of a job says how likely a model takes the texts of the job to be.

So journal, limits, processes and progress of a run are those of any other. What the texts are, and what their numbers
mean, is the business of others.
"""

import hashlib
import json
import logging
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hf_rare.errors import ConfigError, HfRareError
from hf_rare.generation.decoding import not_finite
from hf_rare.generation.encoder import PromptEncoder
from hf_rare.generation.failures import describe_failure
from hf_rare.generation.packing import JobWindow
from hf_rare.generation.protocol import Completion, EncodedPrompt, Generator, Job, JobSource, Observer
from hf_rare.generation.transformers import TransformersGenerator
from hf_rare.settings.base import split_settings
from hf_rare.settings.generation import DecodingConfig, ModelConfig

if TYPE_CHECKING:
    from hf_rare.generation.engines.prefill import Likelihood, PrefillEngine

logger = logging.getLogger(__name__)

SCORING_REVISION = 1
"""Bumped by hand whenever the same texts get other numbers."""

JOBS_AHEAD = 8
"""Jobs that are taken at a time: the longest come first, so that what does not fit shows early."""

TokenIds = Sequence[int]


@dataclass(frozen=True)
class ScoredPrompt(EncodedPrompt):
    """Texts that are measured together, in the place of a prompt.

    Args:
        texts (`tuple[tuple[TokenIds, TokenIds], ...]`): the context and the continuation of each text, as tokens.
    """

    texts: tuple[tuple[TokenIds, TokenIds], ...] = ()

    @classmethod
    def of_texts(cls, texts: Sequence[tuple[TokenIds, TokenIds]], shown: str) -> "ScoredPrompt":
        """Make one.

        Args:
            texts (`Sequence[tuple[TokenIds, TokenIds]]`): context and continuation of each text, both with tokens.
            shown (`str`): what the journal and errors show of them.
        """
        hasher = hashlib.blake2b(digest_size=16)
        for tokens in (part for text in texts for part in text):
            hasher.update(len(tokens).to_bytes(8, "little"))
            hasher.update(array("q", tokens).tobytes())
        longest = max(([*context, *continuation] for context, continuation in texts), key=len)
        return cls([{"role": "assistant", "content": shown}], hasher.hexdigest(), longest, texts=tuple(texts))


class TransformersScorer(Generator):
    """Says how likely a model of transformers takes texts to be, token by token.

    The completion of a job is JSON: for each text the log probability of each token of its continuation in nats,
    computed in float32 and rounded to six decimals, and with `has_ranks` also the token's rank among all tokens, 1 for
    the most likely. Neither temperature nor any other setting of sampling has a part in it.

    Args:
        generator ([`TransformersGenerator`]):
            The model, its tokenizer and its chat template.
        has_ranks (`bool`, *optional*, defaults to `False`):
            Whether ranks are given too.

    Raises:
        ConfigError: `generator` is another one: its model shows no probabilities.
    """

    is_sampling = False

    def __init__(self, generator: Generator, *, has_ranks: bool = False) -> None:
        if not isinstance(generator, TransformersGenerator):
            raise ConfigError(
                f"A {type(generator).__name__} does not say how likely a text is. Pass the name or the folder of a "
                "model of transformers, or a TransformersGenerator."
            )
        self.generator = generator
        self.has_ranks = has_ranks

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (SCORING_REVISION, self.generator, self.has_ranks)

    @property
    def encoder(self) -> PromptEncoder:
        """What turns conversations into prompts. Made without loading the model."""
        return self.generator.encoder

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of context and continuation together; `None` where the model has no limit."""
        return self.generator.decoding.context_length or self.generator.teacher.context_length

    @property
    def spans_processes(self) -> bool:
        """Whether all processes of the job together are one model."""
        return self.generator.spans_processes

    def identity(self) -> dict[str, Any]:
        """Return what stands for the weights, and that they measure."""
        measure = "log_probs and ranks" if self.has_ranks else "log_probs"
        return {**self.generator.teacher.identity(), "scores": measure, "scoring_revision": SCORING_REVISION}

    def settings(self) -> dict[str, Any]:
        """Return the settings it was made with: those of the model and those of decoding."""
        return self.generator.settings()

    def load(self) -> None:
        """Load the model into the memory of this process, if it is not there yet."""
        self.generator.load()

    @cached_property
    def engine(self) -> "PrefillEngine":
        """What reads. Loads the model."""
        from hf_rare.generation.engines.prefill import PrefillEngine

        self.load()
        return PrefillEngine(self.generator.make_plain_engine())

    def generate(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Measure the texts of each job of a source; see [`Generator`]. A job that fails does so alone."""
        window = JobWindow(source)
        while window.fill(JOBS_AHEAD) or window.jobs:
            (job,) = window.take(1)
            if observer is not None:
                observer.begin([job])
            completion = self._complete(job)
            if observer is not None:
                observer.add_tokens(0, 0)  # a sign of life: nothing is generated
            yield [(job, completion)]

    def _complete(self, job: Job) -> Completion:
        from hf_rare.generation.engines.prefill import Text

        prompt = job.prompt
        if not isinstance(prompt, ScoredPrompt):
            raise TypeError(f"TransformersScorer measures a ScoredPrompt, and this is a {type(prompt).__name__}.")
        longest, limit = len(prompt.token_ids), self.max_tokens
        if limit is not None and longest > limit:
            error = f"context and continuation have {longest} tokens, and the model has room for {limit}"
            return Completion("", "prompt_too_long", longest, 0, error)
        try:
            measured = self.engine.measure([Text(tuple(one), tuple(other)) for one, other in prompt.texts])
        except HfRareError:
            raise
        except Exception as err:  # a model raises what it likes
            if self.spans_processes:
                raise
            logger.warning("Measuring a text of %d tokens failed: %s: %s", longest, type(err).__name__, err)
            return Completion("", "error", longest, 0, describe_failure(err))
        if not all(math.isfinite(value) for one in measured for value in one.log_probs):
            return not_finite(longest)
        return Completion(self._write(measured), "stop", longest, sum(len(one.log_probs) for one in measured))

    def _write(self, measured: "Sequence[Likelihood]") -> str:
        values: list[dict[str, Any]] = [
            {"log_probs": [round(value, 6) for value in one.log_probs]} for one in measured
        ]
        if self.has_ranks:
            values = [{**value, "ranks": one.ranks} for value, one in zip(values, measured, strict=True)]
        return json.dumps(values, separators=(",", ":"))


def make_scorer(model: Any, has_ranks: bool, settings: dict[str, Any]) -> TransformersScorer:
    """Make a scorer of what somebody gives as a model.

    Args:
        model (`str`, [`TransformersGenerator`] or [`TransformersScorer`]):
            The name of a model on the Hub, a folder, or a generator.
        has_ranks (`bool`):
            Whether ranks are given too.
        settings (`dict[str, Any]`):
            Settings of [`ModelConfig`] and [`DecodingConfig`], for a name or a folder.

    Returns:
        [`TransformersScorer`]: the scorer. No weights are loaded yet.

    Raises:
        ConfigError: `model` is something else, or a setting cannot be right.
        ModelLoadError: The model does not exist, or cannot be found out about.
    """
    if isinstance(model, str):
        loading, decoding = split_settings(settings, ModelConfig, DecodingConfig)
        model = TransformersGenerator.from_pretrained(model, **{"max_new_tokens": 1, **loading, **decoding})
    elif settings:
        raise ConfigError(
            f"{next(iter(settings))} is for a model that is loaded by its name. This {type(model).__name__} has "
            "settings of its own."
        )
    generator = model.generator if isinstance(model, TransformersScorer) else model
    return TransformersScorer(generator, has_ranks=has_ranks)


def _rebuild(revision: int, generator: TransformersGenerator, has_ranks: bool) -> TransformersScorer:
    """Make a scorer again; `revision` is there for the fingerprint of `map` alone."""
    return TransformersScorer(generator, has_ranks=has_ranks)
