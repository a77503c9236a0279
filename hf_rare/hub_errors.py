"""What goes wrong with the Hub, in words that a person can act on, and without tokens."""

import contextlib
import errno
import re
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator

from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hf_rare.errors import ConfigError, HfRareError, HubError
from hf_rare.text import hide_tokens, shorten

CLIENT_ERROR: type[Exception] = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
"""What huggingface_hub's HTTP client raises: httpx's error in its versions 1, that of httpx2 in its versions 2."""
NETWORK_ERRORS = (CLIENT_ERROR, OSError)
"""What huggingface_hub raises without a connection; its own errors of the server's answers are others."""
CONNECTION_ERRORS = (CLIENT_ERROR, ConnectionError, TimeoutError, socket.gaierror, socket.herror, ssl.SSLError)
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
"""What huggingface_hub raises where an answer is not what the Hub sends: a page of a proxy, `null`, other fields."""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
DISK_ERRORS = (*FULL_DISK, errno.EACCES, errno.ENOENT, errno.EROFS, errno.EIO, errno.EFBIG)


def check_token(token: str | bool | None) -> None:
    """Raise [`ConfigError`] for a token that no request can carry, without showing it."""
    if isinstance(token, str) and not re.fullmatch(r"[!-~]+", token):
        raise ConfigError(
            f"token= is a text of {len(token)} characters, which is empty or holds a blank, a line end or a letter "
            "not of ASCII; expected what the Hub shows when a token is made. Pass `token.strip()` where a file has it."
        )


@contextlib.contextmanager
def explain(repo_id: str, describe_state: Callable[[], str]) -> Iterator[None]:
    """Turn what goes wrong with the Hub into a [`HubError`] that says what failed, what is there now, and what to do.

    Args:
        repo_id (`str`): the repository.
        describe_state (`Callable`): says what is on the Hub when it goes wrong.
    """
    try:
        yield
    except HfRareError:  # such as what is wrong with a card
        raise
    except (HfHubHTTPError, RuntimeError, *NETWORK_ERRORS, *UNREADABLE) as err:
        if isinstance(err, UNREADABLE) and not is_of_client(err):
            raise
        cause = err.__cause__ if isinstance(err, RuntimeError) and isinstance(err.__cause__, HfHubHTTPError) else err
        raise HubError(f"{repo_id}: {_describe(cause)} {describe_state()}") from _without_token(err)


def is_of_client(err: BaseException) -> bool:
    """Tell whether an exception comes from huggingface_hub, or from what makes head or tail of its answers."""
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(err.__traceback__))
    return any(module.split(".")[0] == "huggingface_hub" or module == "hf_rare.hub.repository" for module in modules)


def _describe(err: BaseException) -> str:
    """Say what went wrong and what to do."""
    status, server = status_of(err), hide_tokens(str(getattr(err, "server_message", None) or err))
    if _is_of_disk(err) and getattr(err, "errno", None) in FULL_DISK:
        return (
            f"the disk of this machine is full ({server}). Make room, or set TMPDIR to a folder on another disk, and "
            "try again; shards that arrived are not uploaded twice."
        )
    if _is_of_disk(err):
        return (
            f"a file of this machine cannot be read or written ({type(err).__name__}: {server}). Mend that and try "
            "again; shards that arrived are not uploaded twice."
        )
    if isinstance(err, HFValidationError):
        return f"this cannot be the name of a repository ({server}). Pass a name like me/my-dataset."
    if status == 401 and _had_token(err):
        return (
            f"the Hub does not accept the token, which may be mistyped, revoked or expired ({server}). Run `hf auth "
            "login` again, or pass token=..., with a token that may write."
        )
    if isinstance(err, LocalTokenNotFoundError) or status == 401:
        return "the Hub asks for a token. Run `hf auth login`, or pass token=..., with a token that may write."
    if "quota" in server.lower() or "storage" in server.lower():
        return f"the Hub has no room for it ({server}). Free or buy storage, or push to another account."
    if status == 403:
        return (
            f"the token may not write there ({server}). Use a token with write access, and a name under your own "
            "account or an organisation you belong to."
        )
    if isinstance(err, UNREADABLE) and status is None:
        return (
            f"what was answered in the place of the Hub cannot be understood ({type(err).__name__}: "
            f"{shorten(server, 200)}). A proxy, a login page or another server may have answered: check the "
            "connection and HF_ENDPOINT, and try again; shards that arrived are not uploaded twice."
        )
    if isinstance(err, RepositoryNotFoundError | RevisionNotFoundError) or status == 404:
        return (
            f"there is no such repository or revision, or the token may not see it ({server}). Check its name, and "
            "use a token that may read and write it."
        )
    if status == 429:
        return (
            "the Hub receives too many requests from this account. Wait some minutes and try again; shards that "
            "arrived are not uploaded twice."
        )
    if status is not None and status >= 500:
        return f"the Hub is in trouble (status {status}). Try again later; shards that arrived are not uploaded twice."
    if status is None:
        return (
            f"the Hub cannot be reached ({type(err).__name__}: {server}). Check the connection and try again; shards "
            "that arrived are not uploaded twice."
        )
    return f"the Hub refused (status {status}: {server}). Mend what it names and try again."


def _is_of_disk(err: BaseException) -> bool:
    """Tell whether an error is about a file of this machine."""
    if not isinstance(err, OSError) or isinstance(err, CONNECTION_ERRORS) or status_of(err) is not None:
        return False
    return err.filename is not None or err.errno in DISK_ERRORS


def _without_token(err: BaseException) -> BaseException:
    """Take tokens out of the text of an exception and of those that led to it."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [err]
    while waiting:
        link = waiting.pop()
        if link is None or link in seen:
            continue
        seen.append(link)
        link.args = tuple(hide_tokens(arg) if isinstance(arg, str) else arg for arg in link.args)
        waiting += [link.__cause__, link.__context__]
    return err


def _had_token(err: BaseException) -> bool:
    response = getattr(err, "response", None)
    return response is not None and "authorization" in response.request.headers


def status_of(err: BaseException) -> int | None:
    """Return the status of the Hub's answer, where there was one."""
    response = getattr(err, "response", None)
    return int(response.status_code) if response is not None else None
