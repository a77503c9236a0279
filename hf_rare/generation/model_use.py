"""Who runs a model in a thread beside its caller, and whose turn it is: one at a time.

The managers of continuous batching are such threads. A forward of transformers notes some of its arguments in the
model's config for as long as it runs, so that two at once spoil each other, and the model for good. The one that
began last has its turn, and all rest while the caller runs the model. While any has work, the model is without
dropout and has the kind of attention that they need; for the caller it is as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from hf_rare.compat.transformers import attention_of, set_attention


class Runner(Protocol):
    """A thread that runs a model."""

    def rest(self) -> None:
        """End its step, and wait."""

    def go_on(self) -> None:
        """Go on, if it rests."""


@dataclass
class _Use:
    attention: str | None
    was_training: bool
    runners: list[Runner] = field(default_factory=list)
    attention_at_work: str | None = None
    callers: int = 0


_USES: dict[int, _Use] = {}
"""The models that are run now, by their `id`."""


def begin_work(model: Any, runner: Runner, attention: str | None) -> None:
    """Let a runner have its turn, with a kind of attention. It may have begun before, and others too."""
    use = _USES.setdefault(id(model), _Use(attention_of(model), model.training))
    use.attention_at_work = attention
    use.runners.append(runner)
    model.eval()
    _give_turn(model, use)


def end_work(model: Any, runner: Runner) -> None:
    """Take note that what a runner began last is done; with the last one, the model becomes what it was."""
    use = _USES[id(model)]
    runner.rest()  # whatever step is under way
    del use.runners[len(use.runners) - 1 - use.runners[::-1].index(runner)]
    _give_turn(model, use)
    if runner not in use.runners:
        runner.go_on()  # with nothing to do
    if not use.runners:
        del _USES[id(model)]
        set_attention(model, use.attention)
        model.train(use.was_training)


def is_at_work(model: Any) -> bool:
    """Tell whether somebody runs a model beside its caller."""
    return id(model) in _USES


@contextmanager
def resting(model: Any) -> Iterator[None]:
    """Let those rest that run a model beside its caller."""
    use = _USES.get(id(model))
    if use is None:
        yield
        return
    use.callers += 1
    _give_turn(model, use)
    try:
        yield
    finally:
        use.callers -= 1
        _give_turn(model, use)


def _give_turn(model: Any, use: _Use) -> None:
    turn = use.runners[-1] if use.runners and not use.callers else None
    for runner in use.runners:
        if runner is not turn:
            runner.rest()
    set_attention(model, use.attention if turn is None else use.attention_at_work)
    if turn is not None:
        turn.go_on()
