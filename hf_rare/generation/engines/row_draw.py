"""Each row's own draw inside the continuous batching of transformers, whose own sampling is one stream for all rows.

A manager ends each step with the highest logit of every row. Processors of ours stand around those of the settings:
the first looks out for logits that are not finite, and the last chooses the token, by the row's next uniform number
([`pick_tokens`]), and leaves no other possible. The number travels to the device as the manager lets arguments travel,
as 32-bit integers: two of them are the halves of a float64, so that it arrives as it was drawn, CUDA graphs included.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessor

from hf_rare.compat.transformers import written_before
from hf_rare.generation.sampling import draw_numbers, pick_tokens

DRAWN_AT_ONCE = 64
"""Numbers of a row that are drawn at once: one by one they would hold up every step."""


class RowDraws:
    """The uniform numbers of a request and its forks, which have a seed each.

    Args:
        seeds (`Mapping[str, int]`): the seeds, by the names of the requests.
    """

    def __init__(self, seeds: Mapping[str, int]) -> None:
        self._seeds = dict(seeds)
        self._streams: dict[str, torch.Generator] = {}
        self._drawn: dict[str, tuple[int, list[list[int]]]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "RowDraws":
        return self  # a fork copies the arguments of its request, and draws by its own name

    def halves(self, name: str, number: int) -> list[int]:
        """Return the two halves of a number.

        Args:
            name (`str`): the name of the request.
            number (`int`): how many were drawn before it. A request that was put aside may ask for one again.
        """
        start, drawn = self._drawn.get(name, (0, []))
        if number < start or name not in self._streams:
            self._streams[name] = torch.Generator().manual_seed(self._seeds[name])
            start, drawn = 0, []
        while number >= start + len(drawn):
            start += len(drawn)
            drawn = draw_numbers(self._streams[name], DRAWN_AT_ONCE).view(torch.int32).view(-1, 2).tolist()
            self._drawn[name] = (start, drawn)
        return drawn[number - start]


class FiniteGuard(LogitsProcessor):
    """The first processor: notes which rows have logits that are not finite, and makes them harmless."""

    is_bad: torch.Tensor

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Look at the highest logit of each row, which is NaN where any is."""
        self.is_bad = ~scores.amax(dim=-1, keepdim=True).isfinite()
        return torch.where(self.is_bad, torch.zeros_like(scores), scores)


class TokenChoice(LogitsProcessor):
    """The last processor of greedy writing: leaves the highest logit possible, and no other.

    Where the logits were not finite, the end token wins, but others stay possible: the log-probability of a token is 0
    unless something was wrong.

    Args:
        guard ([`FiniteGuard`]): knows which rows have logits that are not finite.
        end_token_id (`int`): what those are given.
    """

    def __init__(self, guard: FiniteGuard, end_token_id: int) -> None:
        self._guard = guard
        self._end_token_id = end_token_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Choose the tokens with the highest logits."""
        return self.leave_only(scores, scores.argmax(dim=-1))

    def leave_only(self, scores: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Leave one token of each row possible."""
        chosen = torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)
        spoilt = torch.zeros_like(scores)
        spoilt[:, self._end_token_id] = 1.0
        return torch.where(self._guard.is_bad, spoilt, chosen)


class HalfNumber(ContinuousBatchingLogitsProcessor):
    """Carries the first halves of the numbers to the device, and changes nothing."""

    supported_kwargs = {"draws": RowDraws}  # noqa: RUF012
    ignored_kwargs = ()

    def __init__(self) -> None:
        self.halves = torch.empty(0)
        self.others: list[int] = []

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """Fill a tensor with what stands for no number."""
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: Sequence[Any]) -> torch.Tensor:
        """Find the number of each row that gets a token now."""
        numbers = [_find_number(request.state) for request in requests_with_new_token]
        self.others = [second for _, second in numbers]
        return torch.tensor([first for first, _ in numbers], dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """Keep the halves for [`RowDraw`]."""
        self.halves = tensor_arg[: scores.shape[0]]
        return scores


class RowDraw(ContinuousBatchingLogitsProcessor):
    """The last processor of sampling: draws a token for each row and leaves no other possible.

    Args:
        first ([`HalfNumber`]): carries the other halves of the numbers.
        choice ([`TokenChoice`]): leaves one token possible.
    """

    supported_kwargs: dict[str, type] = {}  # noqa: RUF012
    ignored_kwargs = ()

    def __init__(self, first: HalfNumber, choice: TokenChoice) -> None:
        self._first = first
        self._choice = choice

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """Fill a tensor with what stands for no number."""
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: Sequence[Any]) -> torch.Tensor:
        """Return the second halves, which were found with the first."""
        return torch.tensor(self._first.others, dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """Draw one token per row."""
        halves = torch.stack([self._first.halves, tensor_arg[: scores.shape[0]]], dim=-1)
        halves = halves.cpu() if halves.device.type == "mps" else halves  # MPS has no float64
        return self._choice.leave_only(scores, pick_tokens(scores, halves.view(torch.float64)))


def _find_number(state: Any) -> list[int]:
    draws = state.logit_processor_kwargs.get("draws")
    return draws.halves(state.request_id, written_before(state)) if draws is not None else [0, 0]


def choose_by_row(manager: Any, processors: LogitsProcessorList, do_sample: bool, end_token_id: int) -> None:
    """Let a manager, before it starts, choose the tokens of each row as all our engines do.

    Its requests take `draws` where `do_sample` is set, and their log-probabilities say which logits were not finite.

    Args:
        manager ([`~transformers.ContinuousBatchingManager`]): the manager, made without sampling.
        processors ([`~transformers.LogitsProcessorList`]): those of the settings.
        do_sample (`bool`): whether tokens are drawn.
        end_token_id (`int`): the token that ends a row whose logits are not finite.
    """
    guard = FiniteGuard()
    choice, first = TokenChoice(guard, end_token_id), HalfNumber()
    last: list[Any] = [first, RowDraw(first, choice)] if do_sample else [choice]
    chain = manager.logit_processor
    chain.logits_processor = LogitsProcessorList([guard, *processors, *last])
    chain.tensors_required = len(last) if do_sample else 0
    chain.supported_keys = dict(HalfNumber.supported_kwargs) if do_sample else {}
    chain.do_processing = True
