"""Sampling in which every row has a random stream of its own, so that a draw does not depend on the batch.

`torch.multinomial` draws for a whole batch from one stream: another batch, another text. Here row `i` draws one
uniform number per step from a generator seeded for that row, and takes the first token at which the cumulative
probability exceeds it (inverse transform sampling). The warpers of transformers (temperature, top-k, top-p, ...) run
before, as always.

What floating point still allows to differ: the probabilities themselves. Padding and batch shape change the order of
sums in matrix products and so their last digits, and where a uniform number falls that close to the border between two
tokens, the other token is drawn. Greedy decoding has the same limit at near ties.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria

from hf_rare.compat.transformers import sample

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, StoppingCriteriaList


class RowSampler(LogitsProcessor):
    """The last logits processor: draws a token for each row and leaves no other possible.

    Args:
        seeds (`Sequence[int]`): a seed for each row of the batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Draw one token per row.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): the tokens so far.
            scores (`torch.FloatTensor` of shape `(batch_size, vocab_size)`): the warped logits.

        Returns:
            `torch.FloatTensor` of shape `(batch_size, vocab_size)`: 0 for the token drawn, minus infinity elsewhere.
        """
        tokens = draw_tokens(scores, self._streams)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


def draw_tokens(scores: torch.Tensor, streams: Sequence[torch.Generator]) -> torch.Tensor:
    """Draw one token per row, with one uniform number from the row's own stream.

    Args:
        scores (`torch.Tensor` of shape `(batch_size, vocab_size)`): the warped logits.
        streams (`Sequence[torch.Generator]`): the stream of each row.

    Returns:
        `torch.Tensor` of shape `(batch_size,)`: the tokens.
    """
    return pick_tokens(scores, torch.cat([draw_numbers(stream, 1)[:, None] for stream in streams]))


def draw_numbers(stream: torch.Generator, count: int) -> torch.Tensor:
    """Draw the next uniform numbers of a row: the same ones, whether one by one or many at a time."""
    return torch.rand(count, generator=stream, dtype=torch.float64)


def pick_tokens(scores: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Pick a token for each row: the first at which the cumulative probability exceeds the row's uniform number.

    Args:
        scores (`torch.Tensor` of shape `(batch_size, vocab_size)`): the warped logits.
        uniform (`torch.Tensor` of shape `(batch_size, 1)`): the numbers, in float64.

    Returns:
        `torch.Tensor` of shape `(batch_size,)`: the tokens.
    """
    exact = scores.cpu() if scores.device.type == "mps" else scores  # MPS has no float64
    cumulative = exact.softmax(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    # strictly below the total, so that rounding cannot choose a token behind the last possible one
    threshold = cumulative[:, -1:] * uniform.clamp(max=1 - 2**-40).to(exact.device)
    return torch.searchsorted(cumulative, threshold, right=True)[:, 0].to(scores.device)


def sample_per_row(
    model: "PreTrainedModel",
    input_ids: torch.LongTensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: "StoppingCriteriaList",
    generation_config: "GenerationConfig",
    seeds: Sequence[int],
    **model_kwargs: Any,
) -> Any:
    """Decode as transformers does, with [`RowSampler`] behind all other logits processors.

    Made to be passed as `model.generate(custom_generate=sample_per_row, seeds=...)`.
    """
    return sample(
        model,
        input_ids,
        logits_processor=LogitsProcessorList([*logits_processor, RowSampler(seeds)]),
        stopping_criteria=stopping_criteria,
        generation_config=generation_config,
        **model_kwargs,
    )


class TokenCounter(StoppingCriteria):
    """Never stops anything: tells how many tokens each step has read and generated.

    Args:
        prompt_tokens (`int`): tokens of all prompts of the batch, told with the first step.
        pad_token_id (`int`): the token that rows get once they have finished.
        on_tokens (`Callable[[int, int], None]`): called at each step with prompt tokens and generated tokens.
    """

    def __init__(self, prompt_tokens: int, pad_token_id: int, on_tokens: Callable[[int, int], None]) -> None:
        self._prompt_tokens = prompt_tokens
        self._pad_token_id = pad_token_id
        self._on_tokens = on_tokens

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        """Count the rows whose last token is not padding, and stop none of them."""
        self._on_tokens(self._prompt_tokens, int((input_ids[:, -1] != self._pad_token_id).sum()))
        self._prompt_tokens = 0
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class LogitsGuard(LogitsProcessor):
    """Ends the rows whose logits are not finite, and leaves the others alone.

    `generate` runs it behind its own logits processors, which leave what is not finite as it is, but for the one of
    `remove_invalid_values`. That setting is never on.

    Args:
        end_token_id (`int`): the token that such a row is given.

    Attributes:
        bad_rows (`set[int]`): the rows of the batch that were ended.
    """

    def __init__(self, end_token_id: int) -> None:
        self.bad_rows: set[int] = set()
        self._end_token_id = end_token_id

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Look at the highest logit of each row, which is NaN where any is."""
        is_bad = ~scores.amax(dim=-1).isfinite()
        if is_bad.any():
            self.bad_rows |= set(is_bad.nonzero().flatten().tolist())
            scores[is_bad] = -torch.inf
            scores[is_bad, self._end_token_id] = 0
        return scores
