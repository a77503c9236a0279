"""How likely texts are by a plain forward of the whole, which is what every other way of reading is compared with."""

import torch


def log_probs_of(model, context, continuation) -> torch.Tensor:
    """The log probability of each token of the continuation, in nats."""
    return (
        _logits(model, context, continuation)
        .log_softmax(-1)
        .gather(1, torch.tensor(list(continuation))[:, None])[:, 0]
    )


def ranks_of(model, context, continuation) -> list[int]:
    """The rank of each token of the continuation, from a full sort."""
    orders = _logits(model, context, continuation).argsort(dim=-1, descending=True).tolist()
    return [order.index(token) + 1 for order, token in zip(orders, continuation, strict=True)]


def _logits(model, context, continuation) -> torch.Tensor:
    with torch.no_grad():
        logits = model(torch.tensor([[*context, *continuation]]), use_cache=False).logits[0].float()
    return logits[len(context) - 1 : -1]
