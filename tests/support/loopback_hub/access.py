"""Who may read and write what."""

from typing import TYPE_CHECKING

from tests.support.loopback_hub.request import Request, Token
from tests.support.loopback_hub.storage import HubError, Repo

if TYPE_CHECKING:
    from tests.support.loopback_hub.hub import LoopbackHub


def is_member(hub: "LoopbackHub", token: Token | None, repo_id: str) -> bool:
    return token is not None and repo_id.split("/")[0] in (token.user, *hub.organizations[token.user])


def can_write(hub: "LoopbackHub", token: Token, repo_id: str) -> bool:
    return is_member(hub, token, repo_id) and (token.role == "write" or repo_id in token.repos)


def what_is_needed(request: Request, revision: str) -> str:
    return "propose" if "create_pr" in request.query or revision.startswith("refs/pr/") else "write"


def find_repo(hub: "LoopbackHub", request: Request, repo_id: str, need: str = "read") -> Repo:
    """Find a repo for a request that will "read", "propose" (open a pull request) or "write"."""
    repo = hub.repos.get(repo_id)
    token = request.token
    if repo is None or (repo.private and not is_member(hub, token, repo_id)):
        raise not_found(request)
    if need == "read":
        return repo
    if token is None:
        raise not_found(request)
    if token.role == "read":
        raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")
    if need == "write" and not can_write(hub, token, repo_id):
        raise HubError(403, f"Forbidden: you have no write access to {repo_id}.")
    return repo


def not_found(request: Request) -> HubError:
    # over https, the client takes any 401 about a repo for a repo not found; over http it goes by the code
    status, message = (404, "Repository not found") if request.token else (401, "Invalid username or password.")
    return HubError(status, message, "RepoNotFound")
