"""The draw of each row is its own."""

import torch

from hf_rare.generation.sampling import RowSampler


def test_the_draw_follows_the_probabilities():
    logits = torch.tensor([2.0, 1.0, 0.0, -torch.inf, 1.5])
    count = 20_000
    sampler = RowSampler(range(count))
    drawn = sampler(None, logits.expand(count, -1).float())
    assert torch.equal(drawn.exp().sum(-1), torch.ones(count))
    frequencies = torch.bincount(drawn.argmax(-1), minlength=5) / count
    expected = logits.softmax(-1)
    assert torch.all((frequencies - expected).abs() < 4 * (expected * (1 - expected) / count).sqrt() + 1e-9)
    assert frequencies[3] == 0


def test_a_row_draws_the_same_whoever_else_is_in_the_batch():
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    together, alone = RowSampler([5, 6, 7, 8]), [RowSampler([seed]) for seed in (5, 6, 7, 8)]
    for _ in range(5):
        expected = together(None, logits).argmax(-1).tolist()
        assert expected == [int(sampler(None, logits[i : i + 1]).argmax()) for i, sampler in enumerate(alone)]
