"""A stopping criterion for `generate` that ends each row that repeats itself."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from hf_rare.generation.repetition import RepetitionDetector


class RepetitionCriterion(StoppingCriteria):
    """Ends the rows of a batch that repeat themselves. What pads the rows that have ended does no harm.

    Args:
        detectors (`Sequence[RepetitionDetector]`): a new one for each row.
    """

    def __init__(self, detectors: Sequence[RepetitionDetector]) -> None:
        self._detectors = detectors

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        """Take in the last token of each row, and tell which rows repeat themselves."""
        tokens = input_ids[:, -1:].tolist()
        repeats = [detector.feed(own) for detector, own in zip(self._detectors, tokens, strict=True)]
        return torch.tensor(repeats, dtype=torch.bool, device=input_ids.device)
