"""Branches and tags."""

from typing import TYPE_CHECKING

from tests.support.loopback_hub.access import find_repo
from tests.support.loopback_hub.request import Request
from tests.support.loopback_hub.routes import API, Routes
from tests.support.loopback_hub.storage import Answer, HubError, Repo

if TYPE_CHECKING:
    from tests.support.loopback_hub.hub import LoopbackHub

routes = Routes()


@routes.add("GET", API + "/refs")
def list_refs(hub: "LoopbackHub", request: Request, repo: str) -> Answer:
    found = find_repo(hub, request, repo)

    def select(prefix: str, is_short: bool = True) -> list[dict[str, str]]:
        refs = [(ref, oid) for ref, oid in found.refs.items() if ref.startswith(prefix)]
        return [
            {"name": ref.removeprefix(prefix) if is_short else ref, "ref": ref, "targetCommit": oid}
            for ref, oid in refs
        ]

    body = {"branches": select("refs/heads/"), "tags": select("refs/tags/"), "converts": []}
    return Answer(body | ({"pullRequests": select("refs/pr/", False)} if "include_prs" in request.query else {}))


@routes.add("POST", API + "/branch/{branch}")
def create_branch(hub: "LoopbackHub", request: Request, repo: str, branch: str) -> Answer:
    found = find_repo(hub, request, repo, "write")
    return create_ref(found, f"refs/heads/{branch}", request.json().get("startingPoint", "main"))


@routes.add("DELETE", API + "/branch/{branch}")
def delete_branch(hub: "LoopbackHub", request: Request, repo: str, branch: str) -> Answer:
    if branch == "main":
        raise HubError(403, "The main branch can't be deleted.")
    return delete_ref(find_repo(hub, request, repo, "write"), f"refs/heads/{branch}")


@routes.add("POST", API + "/tag/{revision}")
def create_tag(hub: "LoopbackHub", request: Request, repo: str, revision: str) -> Answer:
    return create_ref(find_repo(hub, request, repo, "write"), f"refs/tags/{request.json()['tag']}", revision)


@routes.add("DELETE", API + "/tag/{tag}")
def delete_tag(hub: "LoopbackHub", request: Request, repo: str, tag: str) -> Answer:
    return delete_ref(find_repo(hub, request, repo, "write"), f"refs/tags/{tag}")


def create_ref(repo: Repo, ref: str, revision: str) -> Answer:
    if ref in repo.refs:
        raise HubError(409, f"Reference already exists: {ref}")
    repo.refs[ref] = repo.find_commit(revision).oid
    return Answer({})


def delete_ref(repo: Repo, ref: str) -> Answer:
    if repo.refs.pop(ref, None) is None:
        raise HubError(404, f"Reference does not exist: {ref}", "RevisionNotFound")
    return Answer({})
