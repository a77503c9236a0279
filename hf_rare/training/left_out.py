"""What an export leaves out, and why: said in the log, and to whoever asks what became of all the rows."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def say_left_out(logger: logging.Logger, message: str, *arguments: object) -> None:
    """Log as a warning what is left out.

    Args:
        logger (`logging.Logger`): the log of the export.
        message (`str`): a whole sentence, with places for the arguments.
        *arguments: what stands there.
    """
    logger.warning(message, *arguments)
    heard = _heard.get()
    if heard is not None:
        heard.append(message % arguments if arguments else message)


@contextmanager
def hear_left_out() -> Iterator[list[str]]:
    """Collect what the exports inside say that they leave out, for an error where nothing is left."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
