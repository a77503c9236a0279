"""Discussions and pull requests."""

from typing import TYPE_CHECKING, Any

from tests.support.loopback_hub.access import find_repo
from tests.support.loopback_hub.request import Request
from tests.support.loopback_hub.routes import API, Routes
from tests.support.loopback_hub.storage import Answer, Commit, Discussion, HubError, Repo, now

if TYPE_CHECKING:
    from tests.support.loopback_hub.hub import LoopbackHub

routes = Routes()


def open_discussion(repo: Repo, title: str, text: str, author: str, is_pull_request: bool) -> Discussion:
    discussion = Discussion(len(repo.discussions) + 1, title, author, is_pull_request, now())
    discussion.add_comment(author, text)
    repo.discussions.append(discussion)
    return discussion


def tell_discussion(repo: Repo, ref: str, commit: Commit) -> None:
    if ref.startswith("refs/pr/"):
        discussion = repo.discussions[int(ref.removeprefix("refs/pr/")) - 1]
        discussion.add_event("commit", commit.author, subject=commit.summary, oid=commit.oid)


def describe_discussion(repo: Repo, discussion: Discussion) -> dict[str, Any]:
    return {
        "num": discussion.num,
        "title": discussion.title,
        "author": {"name": discussion.author},
        "createdAt": discussion.date,
        "status": discussion.status,
        "repo": {"name": repo.id, "type": "dataset"},
        "isPullRequest": discussion.is_pull_request,
    }


@routes.add("GET", API + "/discussions")
def list_discussions(hub: "LoopbackHub", request: Request, repo: str) -> Answer:
    found, query = find_repo(hub, request, repo), request.query
    kinds = {"pull_request": [True], "discussion": [False]}.get(query.get("type", ""), [True, False])
    selected = [
        describe_discussion(found, discussion)
        for discussion in reversed(found.discussions)
        if discussion.is_pull_request in kinds
        and query.get("author", discussion.author) == discussion.author
        and (query.get("status", "all") == "all" or (discussion.status == "open") == (query["status"] == "open"))
    ]
    start = int(query.get("p", 0)) * hub.page_size
    page = selected[start : start + hub.page_size]
    return Answer({"discussions": page, "count": len(selected), "start": start})


@routes.add("POST", API + "/discussions")
def create_discussion(hub: "LoopbackHub", request: Request, repo: str) -> Answer:
    found, body = find_repo(hub, request, repo, "propose"), request.json()
    is_pull_request = body.get("pullRequest", False)
    discussion = open_discussion(found, body["title"], body["description"], request.user or "", is_pull_request)
    if is_pull_request:
        discussion.status = "draft"
        discussion.base_oid = found.refs[f"refs/pr/{discussion.num}"] = found.find_commit("main").oid
    return Answer({"num": discussion.num, "pullRequest": is_pull_request})


@routes.add("GET", API + "/discussions/{num}")
def show_discussion(hub: "LoopbackHub", request: Request, repo: str, num: str) -> Answer:
    found = find_repo(hub, request, repo)
    discussion = find_discussion(found, num)
    body = describe_discussion(found, discussion) | {"events": discussion.events, "diff": ""}
    if discussion.is_pull_request:
        conflicts = found.find_conflicts(discussion) if discussion.status != "merged" else []
        changes = {"base": f"refs/heads/{discussion.base}", "mergeCommitId": discussion.merge_commit}
        body |= {"filesWithConflicts": conflicts, "changes": changes}
    return Answer(body)


@routes.add("POST", API + "/discussions/{num}/{action}")
def change_discussion(hub: "LoopbackHub", request: Request, repo: str, num: str, action: str) -> Answer:
    found = find_repo(hub, request, repo, "write" if action == "merge" else "propose")
    discussion, body, user = find_discussion(found, num), request.json(), request.user or ""
    event: dict[str, Any] = {}
    if action == "comment":
        event = discussion.add_comment(user, body["comment"])
    elif action == "status":
        discussion.status = body["status"]
        event = discussion.add_event("status-change", user, status=body["status"])
    elif action == "title":
        event = discussion.add_event("title-change", user, **{"from": discussion.title, "to": body["title"]})
        discussion.title = body["title"]
    elif action == "merge" and discussion.is_pull_request and discussion.status in ("open", "draft"):
        discussion.merge_commit = found.merge(discussion, user).oid
        discussion.status = "merged"
        event = discussion.add_event("status-change", user, status="merged")
    else:
        raise HubError(400, f"A discussion that is {discussion.status} does not take this: {action}")
    return Answer({"newMessage": event, "newStatus": event, "newTitle": event})


def find_discussion(repo: Repo, num: str) -> Discussion:
    if not 1 <= int(num) <= len(repo.discussions):
        raise HubError(404, f"Discussion {num} does not exist.", "EntryNotFound")
    return repo.discussions[int(num) - 1]
