"""Attention of one text to itself and to what was read before, for CPUs: a few tokens at a time.

torch has a fast way for texts that are read whole. Behind what was read before, it needs a mask there, and computes
what is masked as well: up to twice as much. A few tokens see nearly the same, so of them hardly anything is masked.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

IN_PIECES = "hf_rare_in_pieces"
"""What the model calls this kind of attention. [`register`] tells transformers of it when it is first wanted."""

PIECE = 128
"""Tokens that attend at once: of fewer, many cores have too little to do; of more, more is masked."""


def attend_in_pieces(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend from the last tokens of texts without padding to all that is before each, as transformers calls it.

    Args:
        module: the attention layer.
        query (`torch.Tensor` of shape `(texts, heads, new tokens, head size)`): the queries.
        key (`torch.Tensor` of shape `(texts, key heads, tokens, head size)`): the keys, the new ones last.
        value (`torch.Tensor` of shape `(texts, key heads, tokens, value size)`): the values.
        mask: `None`: there is no padding.
        scaling (`float`, *optional*): what scores are multiplied with.
        **kwargs: what other kinds of attention need. A model whose attention differs by one of them is found out by
            the trial that every model goes through.

    Returns:
        `torch.Tensor` of shape `(texts, new tokens, heads, value size)`, and `None` for the weights.
    """
    texts, heads, count, _ = query.shape
    tokens, size = key.shape[2], min(PIECE, count)
    hidden = query.new_zeros(size, tokens)  # of the last tokens; those of earlier ones are its ends on the right
    hidden[:, tokens - size :] = query.new_full((size, size), -torch.inf).triu(diagonal=1)
    attended = query.new_empty(texts, count, heads, value.shape[3])
    for start in range(0, count, size):
        end = min(start + size, count)
        seen = tokens - count + end
        piece = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, :seen],
            value[:, :, :seen],
            attn_mask=hidden[size - (end - start) :, tokens - seen :],
            scale=scaling,
            enable_gqa=True,
        )
        attended[:, start:end] = piece.transpose(1, 2)
    return attended, None


def register(name: str, attend: Any) -> None:
    """Tell transformers in this process of a kind of attention for texts without padding; again changes nothing.

    Args:
        name (`str`): what models call it.
        attend (`Callable`): what attends, as transformers calls it, with `None` for a mask.
    """
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, _no_mask)


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """Return the mask of texts without padding."""
