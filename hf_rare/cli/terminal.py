"""What people see: texts and logs without the control characters that could steer a terminal."""

import logging
import sys

from hf_rare.text import clean


def say(text: object = "", *, is_error: bool = False) -> None:
    """Print a text, which may hold words of documents, models and servers.

    Args:
        text (`object`): what is printed.
        is_error (`bool`, *optional*, defaults to `False`): whether it goes to `stderr`.
    """
    print(clean(text), file=sys.stderr if is_error else sys.stdout)


class CleanFormatter(logging.Formatter):
    """Formats records as ever, and cleans what comes out of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return clean(super().format(record))


def begin_logging() -> None:
    """Show warnings on `stderr`, where nothing else has been set up."""
    handler = logging.StreamHandler()
    handler.setFormatter(CleanFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
