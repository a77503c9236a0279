"""Completions in thought and answer, by what their model marks them with; the log says which markers were taken."""

import logging
from functools import lru_cache
from typing import Any

from hf_rare.generation.protocol import Completion
from hf_rare.prompts.completion import SplitCompletion, split_completion
from hf_rare.prompts.thought_markers import Tags
from hf_rare.writers.result import Result

logger = logging.getLogger(__name__)


def split_thoughts(result: Result[Any], completion: Completion, thought_tags: Tags) -> SplitCompletion:
    """Split the completion of a row into thought and what is said aloud."""
    split = split_completion(completion.text, opening_of(result), thought_tags)
    say_markers(split.markers.models)
    return split


def opening_of(result: Result[Any]) -> str:
    """Return what the chat template wrote before the completions of a row."""
    encoded = result.prepared.encoded
    return encoded.opening if encoded is not None else ""


@lru_cache(maxsize=64)  # once in a process
def say_markers(models: str) -> None:
    """Say in the log whose markers completions are read by; empty for those that were set."""
    if models:
        logger.info("Thoughts are read by the markers of %s, which the completions have; see thought_tags.", models)
