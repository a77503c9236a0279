"""What lies at a path that may be none at all: a text that is too long for one, or that has what no name can have.

`Path.exists` and its like raise for such texts, in some versions of Python.
"""

import stat
from pathlib import Path


def is_there(path: str | Path) -> bool:
    """Tell whether something lies at a path."""
    return _mode_of(path) != 0


def is_file(path: str | Path) -> bool:
    """Tell whether a file lies at a path."""
    return stat.S_ISREG(_mode_of(path))


def is_folder(path: str | Path) -> bool:
    """Tell whether a folder lies at a path."""
    return stat.S_ISDIR(_mode_of(path))


def _mode_of(path: str | Path) -> int:
    """Return the kind of what lies at a path, as the system numbers it; 0 where nothing can be found there."""
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0
