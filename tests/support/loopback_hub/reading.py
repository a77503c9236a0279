"""Files, folders and commits as clients read them."""

import hashlib
import itertools
import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.support.loopback_hub.access import find_repo
from tests.support.loopback_hub.request import Request
from tests.support.loopback_hub.routes import API, Routes, give_page
from tests.support.loopback_hub.storage import Answer, Commit, HubError, Repo

if TYPE_CHECKING:
    from tests.support.loopback_hub.hub import LoopbackHub

routes = Routes()


@routes.add("GET", "/datasets/{repo}/resolve/{revision}/{path}")
def resolve(hub: "LoopbackHub", request: Request, repo: str, revision: str, path: str) -> Answer:
    found = find_repo(hub, request, repo)
    commit = found.find_commit(revision)
    try:
        file = found.find_file(commit, path)
    except HubError as error:
        error.answer.headers = {**error.answer.headers, "X-Repo-Commit": commit.oid}
        raise
    data, tag = found.read(file), f'"{file.lfs or file.oid}"'
    headers = {"ETag": tag, "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
    if file.lfs:
        headers |= {"X-Linked-Etag": tag, "X-Linked-Size": str(file.size)}
    if file.xet:
        refresh = f"{hub.url}/api/datasets/{repo}/xet-read-token/{commit.oid}"
        headers |= {"X-Xet-Hash": file.xet, "Link": f'<{refresh}>; rel="xet-auth"'}
    headers["Content-Type"] = "application/octet-stream" if file.lfs else "text/plain; charset=utf-8"
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not match or match[0] == "bytes=-":
        return Answer(data, headers=headers)
    start = int(match[1]) if match[1] else max(0, len(data) - int(match[2]))
    end = min(int(match[2]) + 1, len(data)) if match[1] and match[2] else len(data)
    if start >= end:
        raise HubError(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Answer(data[start:end], 206, headers)


@routes.add("GET", API + "/tree/{revision}")
@routes.add("GET", API + "/tree/{revision}/{path}")
def list_tree(hub: "LoopbackHub", request: Request, repo: str, revision: str, path: str = "") -> Answer:
    found = find_repo(hub, request, repo)
    commit = found.find_commit(revision)
    prefix = path.strip("/") + "/" if path.strip("/") else ""
    inside = [name for name in commit.files if name.startswith(prefix)]
    if prefix and not inside:
        raise HubError(404, f'"{path}" does not exist on "{revision}"', "EntryNotFound")
    names = {*inside, *(str(p) for name in inside for p in PurePosixPath(name).parents if str(p) != ".")}
    names = {name for name in names if name.startswith(prefix)}
    if request.query.get("recursive", "").lower() != "true":
        names = {name for name in names if "/" not in name[len(prefix) :]}
    is_expanded = request.query.get("expand", "").lower() == "true"
    return give_page(hub, request, [describe_entry(found, commit, name, is_expanded) for name in sorted(names)])


@routes.add("POST", API + "/paths-info/{revision}")
def list_paths(hub: "LoopbackHub", request: Request, repo: str, revision: str) -> Answer:
    found = find_repo(hub, request, repo)
    commit = found.find_commit(revision)
    form = parse_qs(request.body.decode())
    folders = {str(parent) for name in commit.files for parent in PurePosixPath(name).parents}
    names = [path.strip("/") for path in form.get("paths", [])]
    is_expanded = form.get("expand", [""])[0].lower() == "true"
    known = [name for name in names if name in commit.files or name in folders]
    return Answer([describe_entry(found, commit, name, is_expanded) for name in known])


def describe_entry(repo: Repo, commit: Commit, path: str, is_expanded: bool) -> dict[str, Any]:
    def look(at: Commit) -> Any:
        return at.files.get(path) or sorted((p, f.oid) for p, f in at.files.items() if p.startswith(path + "/"))

    if file := commit.files.get(path):
        entry: dict[str, Any] = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
        if file.lfs:
            entry["lfs"] = {"oid": file.lfs, "size": file.size, "pointerSize": file.pointer_size}
        if file.xet:
            entry["xetHash"] = file.xet
    else:
        oid = hashlib.sha1(json.dumps(look(commit)).encode()).hexdigest()
        entry = {"type": "directory", "oid": oid, "size": 0, "path": path}
    if is_expanded:
        *_, last = itertools.takewhile(lambda at: look(at) == look(commit), repo.history(commit))
        entry["lastCommit"] = {"id": last.oid, "title": last.summary, "date": last.date}
    return entry


@routes.add("GET", API + "/commits/{revision}")
def list_commits(hub: "LoopbackHub", request: Request, repo: str, revision: str) -> Answer:
    found = find_repo(hub, request, repo)
    commits = [
        {
            "id": commit.oid,
            "title": commit.summary,
            "message": commit.description,
            "date": commit.date,
            "authors": [{"user": commit.author}],
        }
        for commit in found.history(found.find_commit(revision))
    ]
    return give_page(hub, request, commits)
