"""Who runs a model in a thread beside its caller: it rests while the caller runs the model too.

The managers of continuous batching are such threads. While the first of them works, the model is without dropout and
has the kind of attention that they need; for the caller it is as it was.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from hf_rare.compat.transformers import attending, attention_of, set_attention


class Runner(Protocol):
    """A thread that runs a model."""

    def resting(self) -> AbstractContextManager[None]:
        """Let it rest for a while."""


@dataclass
class _Use:
    attention: str | None
    was_training: bool
    runners: list[Runner] = field(default_factory=list)


_USES: dict[int, _Use] = {}
"""The models that are run now, by their `id`."""


def begin_work(model: Any, runner: Runner, attention: str | None) -> None:
    """Take note that a runner begins to run a model, with a kind of attention."""
    use = _USES.setdefault(id(model), _Use(attention_of(model), model.training))
    use.runners.append(runner)
    model.eval()
    set_attention(model, attention)


def end_work(model: Any, runner: Runner) -> None:
    """Take note that a runner has ended; with the last one, the model becomes what it was."""
    use = _USES[id(model)]
    use.runners.remove(runner)
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
    with ExitStack() as stack:
        for runner in use.runners:
            stack.enter_context(runner.resting())
        if use.attention is not None:
            stack.enter_context(attending(model, use.attention))
        yield
