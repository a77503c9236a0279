"""Commits: all operations of one are carried out, or none."""

import base64
import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tests.support.loopback_hub.access import find_repo, what_is_needed
from tests.support.loopback_hub.discussions import open_discussion, tell_discussion
from tests.support.loopback_hub.faults import RACED
from tests.support.loopback_hub.request import Request
from tests.support.loopback_hub.routes import API, Routes
from tests.support.loopback_hub.storage import Answer, File, HubError, Repo, is_lfs

if TYPE_CHECKING:
    from tests.support.loopback_hub.hub import LoopbackHub

routes = Routes()


@routes.add("POST", API + "/preupload/{revision}")
def preupload(hub: "LoopbackHub", request: Request, repo: str, revision: str) -> Answer:
    found = find_repo(hub, request, repo, what_is_needed(request, revision))
    files = found.find_commit(revision).files
    ignored = found.read(files[".gitignore"]).decode().split() if ".gitignore" in files else []
    answers = []
    for item in request.json()["files"]:
        mode = "lfs" if is_lfs(item["path"], item["size"], base64.b64decode(item["sample"])) else "regular"
        old = files.get(item["path"])
        oid = (old.lfs or old.oid) if old else None
        is_ignored = any(fnmatch(item["path"], pattern) for pattern in ignored)
        answers.append({"path": item["path"], "uploadMode": mode, "shouldIgnore": is_ignored, "oid": oid})
    return Answer({"files": answers, "commitOid": found.find_commit(revision).oid})


@routes.add("POST", API + "/commit/{revision}")
def receive_commit(hub: "LoopbackHub", request: Request, repo: str, revision: str) -> Answer:
    is_proposal = "create_pr" in request.query
    found = find_repo(hub, request, repo, what_is_needed(request, revision))
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    if not lines or lines[0]["key"] != "header":
        raise HubError(400, "The first line of a commit must be its header.")
    header, ref = lines[0]["value"], found.find_ref(revision)
    if not header.get("summary"):
        raise HubError(400, "A commit needs a summary.")
    head = found.find_commit(ref)
    parent = header.get("parentCommit")
    if is_proposal and parent:
        head = found.find_commit(parent)
    elif parent and not head.oid.startswith(parent):
        raise HubError(412, RACED)
    files = apply_operations(hub, found, dict(head.files), lines[1:])
    author, url = request.user or "", f"{hub.url}/datasets/{repo}"
    pull_request = None
    if is_proposal:
        discussion = open_discussion(found, header["summary"], header.get("description", ""), author, True)
        discussion.base, discussion.base_oid = revision, head.oid
        pull_request, ref = f"{url}/discussions/{discussion.num}", f"refs/pr/{discussion.num}"
        found.refs[ref] = head.oid
    commit = found.commit(ref, files, header["summary"], header.get("description", ""), author)
    tell_discussion(found, ref, commit)
    body = {"success": True, "commitOid": commit.oid, "commitUrl": f"{url}/commit/{commit.oid}"}
    return Answer(body | ({"pullRequestUrl": pull_request} if pull_request else {}))


def apply_operations(
    hub: "LoopbackHub", repo: Repo, files: dict[str, File], lines: Sequence[Mapping[str, Any]]
) -> dict[str, File]:
    """Carry out the operations of a commit, or raise at the first that cannot be."""
    for line in lines:
        key, value = line["key"], line["value"]
        path = value["path"]
        if not path or {"", ".", "..", ".git"} & set(path.rstrip("/").split("/")):
            raise HubError(400, f"Invalid path: {path!r}")
        if key == "file":
            data = base64.b64decode(value["content"], validate=True)
            if is_lfs(path, len(data), data[:512]):
                raise HubError(400, f"The push was rejected because this binary file is not in LFS: {path}")
            files[path] = repo.store(data)
        elif key == "lfsFile":
            files[path] = find_uploaded(hub, repo, path, value)
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        elif key == "deletedFolder":
            inside = [name for name in files if name.startswith(path.rstrip("/") + "/")]
            if not inside:
                raise HubError(404, f"A folder with this name doesn't exist: {path}", "EntryNotFound")
            for name in inside:
                del files[name]
        else:
            raise HubError(400, f"Unknown operation: {key}")
    folders = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    if clashes := folders & set(files):
        raise HubError(400, f"A file and a folder have the same name: {sorted(clashes)}")
    return files


def find_uploaded(hub: "LoopbackHub", repo: Repo, path: str, value: Mapping[str, Any]) -> File:
    sha256 = value["oid"]
    xet = hub.xet.find(sha256)
    if sha256 not in repo.objects:
        if xet is None:
            raise HubError(400, f"An LFS pointer pointed to a file that does not exist. Offending file: {path}")
        repo.store_lfs(hub.xet.read(*xet))
    if sha256 not in repo.objects or value.get("size", len(repo.objects[sha256])) != len(repo.objects[sha256]):
        raise HubError(400, f"What was uploaded does not fit the LFS pointer. Offending file: {path}")
    return repo.point_to(sha256, xet and xet[0])
