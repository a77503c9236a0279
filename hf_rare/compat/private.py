"""How a private name of another library is looked up, which may be gone in its next version."""

import importlib.metadata
from typing import Any

from hf_rare.errors import MissingPackageError


def look_up(owner: Any, name: str, package: str, seen: str) -> Any:
    """Look up a private name.

    Args:
        owner: the object or module that has it.
        name (`str`): the name.
        package (`str`): the library, as pip calls it.
        seen (`str`): the version of it that was last seen to have it.

    Returns:
        what it is.

    Raises:
        MissingPackageError: It is not there any more.
    """
    try:
        return getattr(owner, name)
    except AttributeError as err:
        kind = owner.__name__ if hasattr(owner, "__name__") else type(owner).__name__
        raise MissingPackageError(
            f"{package} {importlib.metadata.version(package)} has no `{kind}.{name}`, which hf_rare needs and which "
            f"{package} {seen} has. Install that version: `pip install {package}=={seen}`."
        ) from err
