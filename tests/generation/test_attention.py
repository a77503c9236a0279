"""Attention a few tokens at a time is the attention of torch under a mask of all tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare.generation.attention import PIECE, attend_in_pieces


def attend_whole(query, key, value, scaling):
    """Attend with one mask, on keys and values that are repeated for the heads that share them."""
    count, tokens, shared = query.shape[2], key.shape[2], query.shape[1] // key.shape[1]
    seen = torch.ones(count, tokens, dtype=torch.bool).tril(tokens - count)
    key, value = (states.repeat_interleave(shared, dim=1) for states in (key, value))
    scores = (query.double() @ key.double().transpose(2, 3)) * (scaling or query.shape[3] ** -0.5)
    return (scores.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ value.double()).transpose(1, 2)


@given(
    texts=st.integers(1, 2),
    held=st.integers(0, 200),
    count=st.integers(1, 3 * PIECE),
    heads=st.sampled_from([(1, 1), (4, 4), (6, 2)]),
    sizes=st.sampled_from([(8, 8), (16, 8)]),
    scaling=st.sampled_from([None, 0.7]),
)
@settings(max_examples=60)
def test_pieces_are_the_whole(texts, held, count, heads, sizes, scaling):
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(texts, heads[0], count, sizes[0], generator=draw)
    key = torch.randn(texts, heads[1], held + count, sizes[0], generator=draw)
    value = torch.randn(texts, heads[1], held + count, sizes[1], generator=draw)
    attended, weights = attend_in_pieces(None, query, key, value, None, scaling)
    assert weights is None
    assert torch.allclose(attended.double(), attend_whole(query, key, value, scaling), atol=1e-5)


@pytest.mark.parametrize("count", [1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE])
def test_half_precision_keeps_its_type(count):
    query, key, value = (
        torch.randn(1, 2, tokens, 8, dtype=torch.bfloat16) for tokens in (count, count + 9, count + 9)
    )
    attended, _ = attend_in_pieces(None, query, key, value, None)
    assert attended.dtype == torch.bfloat16
    assert torch.allclose(attended.double(), attend_whole(query, key, value, None), atol=0.05)


def test_nothing_is_seen_that_comes_later():
    query, key, value = (torch.randn(1, 1, 2 * PIECE, 4) for _ in range(3))
    before, _ = attend_in_pieces(None, query, key, value, None)
    value[:, :, PIECE + 3 :] = torch.nan
    after, _ = attend_in_pieces(None, query, key, value, None)
    assert torch.equal(before[:, :PIECE], after[:, :PIECE])
