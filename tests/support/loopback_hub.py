"""A Hub on loopback, for the real `huggingface_hub` and `datasets` clients, and the fixtures that lead them to it.

It keeps datasets in memory and is as strict as the Hub: roles of tokens, parent commits, LFS objects that must have
been uploaded. It shows what it received, and fails on request. Models, Spaces and multipart uploads are not served.

    from tests.support.loopback_hub import hub_fixture, xet_fixture  # noqa: F401

    def test_push(hub):
        hub.fault("POST .*/commit/", cut="after")
        push_to_hub(rows, "me/rules")
        assert hub.commits("me/rules")[0].files
"""

import base64
import contextlib
import hashlib
import itertools
import json
import re
import socket
import tempfile
import threading
import time
import traceback
import uuid
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
import yaml

from tests.support.loopback_storage import (
    Answer,
    Commit,
    Discussion,
    File,
    HubError,
    Repo,
    XetFolder,
    is_lfs,
    now,
    validate_card,
)

QUOTA = "Private repository storage limit reached, please upgrade your plan to increase your private storage limit."
RACED = "A commit has happened since. Please refresh and try again."
DEFAULT_MESSAGES = {403: QUOTA, 409: "The repository is busy.", 412: RACED, 429: "Too many requests."}


class _Cut(Exception):
    """No answer: the connection is cut."""


@dataclass(frozen=True)
class Token:
    user: str
    role: str  # "write", "read" or "fine"
    repos: tuple[str, ...] = ()  # that a fine-grained token may write to


@dataclass
class Request:
    """A request as it was received; `status` is None where no answer was sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    user: str | None = None
    status: int | None = None
    token: Token | None = field(default=None, repr=False)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Fault:
    """What goes wrong with the `nth` request that matches, and the `times - 1` matching requests after it."""

    match: re.Pattern[str]
    nth: int
    times: int
    status: int | None
    message: str
    headers: Mapping[str, str]
    cut: str | None
    delay: float
    race: Mapping[str, bytes] | None
    seen: int = 0
    used: int = 0

    def is_due(self, request: Request) -> bool:
        if not self.match.search(f"{request.method} {request.path}"):
            return False
        self.seen += 1
        is_due = self.nth <= self.seen < self.nth + self.times
        self.used += is_due
        return is_due


Route = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
GROUPS = {"repo": "[^/]+/[^/]+", "path": ".+", "num": r"\d+", "action": "[a-z]+", "kind": "read|write"}
API = "/api/datasets/{repo}"


def route(method: str, path: str) -> Callable[[Route], Route]:
    """Let a method of the hub answer requests; what stands in braces becomes an argument."""
    pattern = re.sub(r"{(\w+)}", lambda match: f"(?P<{match[1]}>{GROUPS.get(match[1], '[^/]+')})", path)

    def register(function: Route) -> Route:
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


class LoopbackHub:
    """A Hub at `url`, between `start` and `stop`, or as a context manager.

    Its users are "me", who belongs to the organisation "lab", and "other".
    """

    write_token = "hf_write_of_me"
    read_token = "hf_read_of_me"
    fine_token = "hf_fine_of_me"  # writes to "me/fine" alone
    other_token = "hf_write_of_other"

    def __init__(self) -> None:
        self.organizations = {"me": ["lab"], "other": []}
        self.tokens = {
            self.write_token: Token("me", "write"),
            self.read_token: Token("me", "read"),
            self.fine_token: Token("me", "fine", ("me/fine",)),
            self.other_token: Token("other", "write"),
        }
        self.requests: list[Request] = []
        self.puts: dict[str, list[int]] = defaultdict(list)  # bytes of each PUT, by sha256
        self.errors: list[str] = []  # tracebacks of what went wrong in here
        self.page_size = 1000
        self.waiting_logins = 1  # times that a login in the browser is asked for before its user has allowed it
        self._repos: dict[str, Repo] = {}
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._port = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="loopback-hub-")
        self.xet = XetFolder(self._folder.name)

    # Running

    def __enter__(self) -> "LoopbackHub":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> "LoopbackHub":
        self._stopping.clear()
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def stop(self) -> None:
        self.down()
        self._folder.cleanup()

    def down(self) -> None:
        """Refuse connections, and end those that are open; `start` brings everything back at the same `url`."""
        if self._server and self._thread:
            self._stopping.set()
            self._server.shutdown()
            self._thread.join()
            self._server.close_connections()
            self._server.server_close()
            self._server = self._thread = None

    # What tests ask for

    def create_repo(self, repo_id: str, private: bool = False) -> None:
        self._repos[repo_id] = Repo(repo_id, private, repo_id.split("/")[0])

    def commit(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        summary: str = "A commit by somebody else",
        delete: Sequence[str] = (),
        branch: str = "main",
    ) -> str:
        """Put a commit on a branch, past all checks, and give its oid."""
        with self._lock:
            repo = self._repos[repo_id]
            ref = repo.find_ref(branch)
            tree = {path: file for path, file in repo.find_commit(ref).files.items() if path not in delete}
            for path, data in files.items():
                tree[path] = repo.store_lfs(data) if is_lfs(path, len(data), data[:512]) else repo.store(data)
            return repo.commit(ref, tree, summary, "", "other").oid

    def repo_ids(self) -> list[str]:
        return sorted(self._repos)

    def refs(self, repo_id: str) -> dict[str, str]:
        """Give the oids that branches, tags and pull requests point to, as in {"refs/heads/main": "5d0e..."}."""
        return dict(self._repos[repo_id].refs)

    def commits(self, repo_id: str, revision: str = "main") -> list[Commit]:
        """Give the commits of a branch, newest first."""
        repo = self._repos[repo_id]
        return repo.history(repo.find_commit(revision))

    def files(self, repo_id: str, revision: str = "main") -> list[str]:
        return sorted(self.commits(repo_id, revision)[0].files)

    def read(self, repo_id: str, path: str, revision: str = "main") -> bytes:
        repo = self._repos[repo_id]
        return repo.read(repo.find_commit(revision).files[path])

    def discussions(self, repo_id: str) -> list[Discussion]:
        return self._repos[repo_id].discussions

    def received(self, match: str = "") -> list[Request]:
        """Give the requests whose "METHOD /path" matches a regular expression."""
        return [request for request in self.requests if re.search(match, f"{request.method} {request.path}")]

    def fault(
        self,
        match: str = "",
        *,
        nth: int = 1,
        times: int = 1,
        status: int | None = None,
        message: str | None = None,
        retry_after: int | None = None,
        cut: str | None = None,
        delay: float = 0.0,
        race: Mapping[str, bytes] | bool = False,
    ) -> Fault:
        """Let requests fail, counted from now on.

        Args:
            match: regular expression for "METHOD /path?query", as in "POST .*/commit/main"; by default every request,
                or every commit for a race.
            nth: the first matching request that fails.
            times: how many matching requests fail, one after the other.
            status: is answered, and the request is not handled.
            message: goes with the status; the default for 403 is that the storage is full.
            retry_after: seconds, in a header that goes with the status.
            cut: the connection is cut "before" the request is handled, or "after" it: it is done, the answer is lost.
            delay: seconds before anything else.
            race: files of a commit that is put on the branch before the commit request is handled; True for any.
        """
        if cut not in (None, "before", "after"):
            raise ValueError(f"`cut` is {cut!r}, expected 'before' or 'after'.")
        message = DEFAULT_MESSAGES.get(status or 0, "Something went wrong.") if message is None else message
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        files = {"race.txt": uuid.uuid4().hex.encode()} if race is True else race or None
        match = match or ("POST .*/commit/" if files else "")
        fault = Fault(re.compile(match), nth, times, status, message, headers, cut, delay, files)
        self._faults.append(fault)
        return fault

    def environment(self, token: str | None = None) -> dict[str, str]:
        """Give the environment variables that lead clients in another process here."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.write_token if token is None else token,
            "HF_HUB_OFFLINE": "0",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    # Answering

    def answer(self, request: Request) -> Answer | None:
        """Answer a request, or give None where the connection shall be cut."""
        with self._lock:
            self.requests.append(request)
            faults = [fault for fault in self._faults if fault.is_due(request)]
        try:
            self._fail(request, faults)
            answer = self._handle(request)
        except HubError as error:
            answer = error.answer
        except _Cut:
            return None
        except Exception:
            self.errors.append(f"{request.method} {request.path}\n{traceback.format_exc()}")
            answer = HubError(500, "The loopback hub has an error: see `hub.errors`.").answer
        if any(fault.cut == "after" for fault in faults):
            return None
        request.status = answer.status
        return answer

    def _fail(self, request: Request, faults: Sequence[Fault]) -> None:
        for fault in faults:
            self._stopping.wait(fault.delay)
            if fault.race is not None:
                self._race(request, fault.race)
            if fault.cut == "before":
                raise _Cut
            if fault.status is not None:
                raise HubError(fault.status, fault.message, headers=fault.headers)

    def _handle(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        method = "GET" if request.method == "HEAD" else request.method
        with self._lock:
            self._authenticate(request)
            for allowed, pattern, function in ROUTES:
                if allowed == method and (match := pattern.fullmatch(path)):
                    return function(self, request, **{name: unquote(v) for name, v in match.groupdict().items()})
        if re.match(r"/api/(models|datasets|spaces)/|/.*/resolve/", path):
            raise self._hidden(request)
        raise HubError(404, "Sorry, we can't find the page you are looking for.")

    def _authenticate(self, request: Request) -> None:
        if authorization := request.headers.get("authorization"):
            request.token = self.tokens.get(authorization.removeprefix("Bearer "))
            if request.token is None:
                raise HubError(401, "Invalid credentials in Authorization header")
            request.user = request.token.user

    def _race(self, request: Request, files: Mapping[str, bytes]) -> None:
        if match := re.match("/api/datasets/([^/]+/[^/]+)/commit/([^/?]+)", request.path):
            self.commit(match[1], files, branch=unquote(match[2]))

    def _is_member(self, token: Token | None, repo_id: str) -> bool:
        return token is not None and repo_id.split("/")[0] in (token.user, *self.organizations[token.user])

    def _can_write(self, token: Token, repo_id: str) -> bool:
        return self._is_member(token, repo_id) and (token.role == "write" or repo_id in token.repos)

    def _hidden(self, request: Request) -> HubError:
        # over https, the client takes any 401 about a repo for a repo not found; over http it goes by the code
        status, message = (404, "Repository not found") if request.token else (401, "Invalid username or password.")
        return HubError(status, message, "RepoNotFound")

    def _find(self, request: Request, repo_id: str, need: str = "read") -> Repo:
        """Find a repo for a request that will "read", "propose" (open a pull request) or "write"."""
        repo = self._repos.get(repo_id)
        token = request.token
        if repo is None or (repo.private and not self._is_member(token, repo_id)):
            raise self._hidden(request)
        if need == "read":
            return repo
        if token is None:
            raise self._hidden(request)
        if token.role == "read":
            raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")
        if need == "write" and not self._can_write(token, repo_id):
            raise HubError(403, f"Forbidden: you have no write access to {repo_id}.")
        return repo

    def _need(self, request: Request, revision: str) -> str:
        return "propose" if "create_pr" in request.query or revision.startswith("refs/pr/") else "write"

    def _page(self, request: Request, items: list[Any]) -> Answer:
        query = request.query
        start = int(query.get("cursor", 0))
        end = start + min(self.page_size, int(query.get("limit", self.page_size)))
        headers = {}
        if end < len(items):
            path = urlsplit(request.path).path
            headers["Link"] = f'<{self.url}{path}?{urlencode(query | {"cursor": str(end)})}>; rel="next"'
        return Answer(items[start:end], headers=headers)

    # Users and repos

    @route("GET", "/api/whoami-v2")
    def _whoami(self, request: Request) -> Answer:
        if not (token := request.token):
            raise HubError(401, "Invalid username or password.")
        access: dict[str, Any] = {"displayName": "loopback", "role": token.role}
        if token.role == "fine":
            scopes = [{"entity": {"type": "dataset", "name": r}, "permissions": ["repo.write"]} for r in token.repos]
            access |= {"role": "fineGrained", "fineGrained": {"canReadGatedRepos": False, "scoped": scopes}}
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in self.organizations[token.user]]
        auth = {"type": "access_token", "accessToken": access}
        return Answer({"type": "user", "id": token.user, "name": token.user, "orgs": orgs, "auth": auth})

    @route("POST", "/oauth/device")
    def _begin_login(self, request: Request) -> Answer:
        page = f"{self.url}/oauth/device"
        codes = {"device_code": "device-code-of-me", "user_code": "ABCD-EFGH"}
        return Answer({**codes, "verification_uri": page, "interval": 1, "expires_in": 60})

    @route("POST", "/oauth/token")
    def _end_login(self, request: Request) -> Answer:
        if parse_qs(request.body.decode()).get("device_code") != ["device-code-of-me"]:
            return Answer({"error": "invalid_grant"}, 400)
        if self.waiting_logins:
            self.waiting_logins -= 1
            return Answer({"error": "authorization_pending"}, 400)
        return Answer({"access_token": self.write_token, "token_type": "bearer"})

    @route("POST", "/api/validate-yaml")
    def _validate_yaml(self, request: Request) -> Answer:
        errors, hints = validate_card(request.json()["content"])
        body = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in hints]}
        return Answer(body, 400 if errors else 200)

    @route("POST", "/api/repos/create")
    def _create_repo(self, request: Request) -> Answer:
        repo_id, body = self._read_repo_id(request), request.json()
        if repo_id in self._repos:
            url = f"{self.url}/datasets/{repo_id}"
            raise HubError(409, "conflict", error="You already created this dataset repo", url=url)
        self.create_repo(repo_id, body.get("visibility") == "private" or body.get("private") is True)
        return Answer({"url": f"{self.url}/datasets/{repo_id}", "name": repo_id, "id": uuid.uuid4().hex})

    @route("DELETE", "/api/repos/delete")
    def _delete_repo(self, request: Request) -> Answer:
        repo_id = self._read_repo_id(request)
        self._find(request, repo_id, "write")
        del self._repos[repo_id]
        return Answer({})

    def _read_repo_id(self, request: Request) -> str:
        body = request.json()
        if not (token := request.token):
            raise HubError(401, "Invalid username or password.")
        if body.get("type") != "dataset":
            raise HubError(400, "This hub holds datasets only.")
        repo_id = f"{body.get('organization') or token.user}/{body['name']}"
        if not re.fullmatch(r"[\w.-]{1,96}", body["name"]) or re.search(r"--|\.\.|\.git$", body["name"]):
            raise HubError(400, f"Invalid repository name: {body['name']}")
        if not self._can_write(token, repo_id):
            raise HubError(403, f"You don't have the rights to create a dataset under this namespace: {repo_id}")
        return repo_id

    @route("PUT", API + "/settings")
    def _change_settings(self, request: Request, repo: str) -> Answer:
        self._find(request, repo, "write").private = request.json().get("visibility") == "private"
        return Answer({})

    @route("GET", API + "/auth-check")
    def _check_access(self, request: Request, repo: str) -> Answer:
        self._find(request, repo)
        return Answer({})

    @route("GET", API)
    @route("GET", API + "/revision/{revision}")
    def _describe(self, request: Request, repo: str, revision: str = "main") -> Answer:
        found = self._find(request, repo)
        commit = found.find_commit(revision)
        siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
        if "blobs" in request.query:
            for sibling in siblings:
                file = commit.files[sibling["rfilename"]]
                sibling |= {"size": file.size, "blobId": file.oid}
                if file.lfs:
                    sibling["lfs"] = {"sha256": file.lfs, "size": file.size, "pointerSize": file.pointer_size}
        card = None
        if readme := commit.files.get("README.md"):
            text = found.read(readme).decode(errors="replace")
            card = None if any(validate_card(text)) else yaml.safe_load(text.split("---", 2)[1])
        return Answer(
            {
                "_id": hashlib.sha1(repo.encode()).hexdigest()[:24],
                "id": repo,
                "author": repo.split("/")[0],
                "sha": commit.oid,
                "lastModified": commit.date,
                "createdAt": found.created,
                "private": found.private,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": siblings,
                "cardData": card,
            }
        )

    # Commits

    @route("POST", API + "/preupload/{revision}")
    def _preupload(self, request: Request, repo: str, revision: str) -> Answer:
        found = self._find(request, repo, self._need(request, revision))
        files = found.find_commit(revision).files
        answers = []
        for item in request.json()["files"]:
            mode = "lfs" if is_lfs(item["path"], item["size"], base64.b64decode(item["sample"])) else "regular"
            old = files.get(item["path"])
            oid = (old.lfs or old.oid) if old else None
            answers.append({"path": item["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Answer({"files": answers, "commitOid": found.find_commit(revision).oid})

    @route("POST", API + "/commit/{revision}")
    def _commit(self, request: Request, repo: str, revision: str) -> Answer:
        is_proposal = "create_pr" in request.query
        found = self._find(request, repo, self._need(request, revision))
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
        files = self._apply(found, dict(head.files), lines[1:])
        author, url = request.user or "", f"{self.url}/datasets/{repo}"
        pull_request = None
        if is_proposal:
            discussion = self._open(found, header["summary"], header.get("description", ""), author, True)
            discussion.base, discussion.base_oid = revision, head.oid
            pull_request, ref = f"{url}/discussions/{discussion.num}", f"refs/pr/{discussion.num}"
            found.refs[ref] = head.oid
        commit = found.commit(ref, files, header["summary"], header.get("description", ""), author)
        self._tell_discussion(found, ref, commit)
        body = {"success": True, "commitOid": commit.oid, "commitUrl": f"{url}/commit/{commit.oid}"}
        return Answer(body | ({"pullRequestUrl": pull_request} if pull_request else {}))

    def _apply(self, repo: Repo, files: dict[str, File], lines: Sequence[Mapping[str, Any]]) -> dict[str, File]:
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
                files[path] = self._find_uploaded(repo, path, value)
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

    def _find_uploaded(self, repo: Repo, path: str, value: Mapping[str, Any]) -> File:
        sha256 = value["oid"]
        xet = self.xet.find(sha256)
        if sha256 not in repo.objects:
            if xet is None:
                raise HubError(400, f"An LFS pointer pointed to a file that does not exist. Offending file: {path}")
            repo.store_lfs(self.xet.read(*xet))
        if sha256 not in repo.objects or value.get("size", len(repo.objects[sha256])) != len(repo.objects[sha256]):
            raise HubError(400, f"What was uploaded does not fit the LFS pointer. Offending file: {path}")
        return repo.point_to(sha256, xet and xet[0])

    # Large files

    @route("POST", r"/datasets/{repo}\.git/info/lfs/objects/batch")
    def _batch(self, request: Request, repo: str) -> Answer:
        found = self._find(request, repo, "propose")
        objects = []
        for item in request.json()["objects"]:
            entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if not re.fullmatch("[0-9a-f]{64}", item["oid"]):
                entry["error"] = {"code": 422, "message": "Invalid oid"}
            elif item["oid"] not in found.objects:
                upload = f"{self.url}/lfs/{repo}/{item['oid']}?size={item['size']}"
                verify = f"{self.url}/datasets/{repo}.git/info/lfs/objects/verify"
                entry["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            objects.append(entry)
        media_type = {"Content-Type": "application/vnd.git-lfs+json"}
        return Answer({"transfer": "basic", "objects": objects}, headers=media_type)

    @route("PUT", "/lfs/{repo}/{sha256}")
    def _put(self, request: Request, repo: str, sha256: str) -> Answer:
        if request.token:
            raise HubError(400, "Only one auth mechanism allowed: the address is signed already.")
        self.puts[sha256].append(len(request.body))
        if hashlib.sha256(request.body).hexdigest() != sha256 or len(request.body) != int(request.query["size"]):
            raise HubError(400, "The provided sha256 or size does not match what was computed.")
        self._repos[repo].objects[sha256] = request.body
        return Answer(headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})

    @route("POST", r"/datasets/{repo}\.git/info/lfs/objects/verify")
    def _verify(self, request: Request, repo: str) -> Answer:
        found, body = self._find(request, repo, "propose"), request.json()
        if body["oid"] not in found.objects or len(found.objects[body["oid"]]) != body["size"]:
            raise HubError(404, "The object was not uploaded.")
        return Answer({})

    @route("GET", API + "/xet-{kind}-token/{revision}")
    def _give_xet_token(self, request: Request, repo: str, kind: str, revision: str) -> Answer:
        found = self._find(request, repo, "read" if kind == "read" else self._need(request, revision))
        if "create_pr" not in request.query:
            found.find_commit(revision)
        token, expiry = f"xet-{kind}", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": self.xet.url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expiry)}
        return Answer({"casUrl": self.xet.url, "accessToken": token, "exp": expiry}, headers=headers)

    # Reading

    @route("GET", "/datasets/{repo}/resolve/{revision}/{path}")
    def _resolve(self, request: Request, repo: str, revision: str, path: str) -> Answer:
        found = self._find(request, repo)
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
            refresh = f"{self.url}/api/datasets/{repo}/xet-read-token/{commit.oid}"
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

    @route("GET", API + "/tree/{revision}")
    @route("GET", API + "/tree/{revision}/{path}")
    def _list_tree(self, request: Request, repo: str, revision: str, path: str = "") -> Answer:
        found = self._find(request, repo)
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
        return self._page(request, [self._entry(found, commit, name, is_expanded) for name in sorted(names)])

    @route("POST", API + "/paths-info/{revision}")
    def _list_paths(self, request: Request, repo: str, revision: str) -> Answer:
        found = self._find(request, repo)
        commit = found.find_commit(revision)
        form = parse_qs(request.body.decode())
        folders = {str(parent) for name in commit.files for parent in PurePosixPath(name).parents}
        names = [path.strip("/") for path in form.get("paths", [])]
        is_expanded = form.get("expand", [""])[0].lower() == "true"
        known = [name for name in names if name in commit.files or name in folders]
        return Answer([self._entry(found, commit, name, is_expanded) for name in known])

    def _entry(self, repo: Repo, commit: Commit, path: str, is_expanded: bool) -> dict[str, Any]:
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

    @route("GET", API + "/commits/{revision}")
    def _list_commits(self, request: Request, repo: str, revision: str) -> Answer:
        found = self._find(request, repo)
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
        return self._page(request, commits)

    # Branches and tags

    @route("GET", API + "/refs")
    def _list_refs(self, request: Request, repo: str) -> Answer:
        found = self._find(request, repo)

        def select(prefix: str, is_short: bool = True) -> list[dict[str, str]]:
            refs = [(ref, oid) for ref, oid in found.refs.items() if ref.startswith(prefix)]
            return [
                {"name": ref.removeprefix(prefix) if is_short else ref, "ref": ref, "targetCommit": oid}
                for ref, oid in refs
            ]

        body = {"branches": select("refs/heads/"), "tags": select("refs/tags/"), "converts": []}
        return Answer(body | ({"pullRequests": select("refs/pr/", False)} if "include_prs" in request.query else {}))

    @route("POST", API + "/branch/{branch}")
    def _create_branch(self, request: Request, repo: str, branch: str) -> Answer:
        found = self._find(request, repo, "write")
        return self._create_ref(found, f"refs/heads/{branch}", request.json().get("startingPoint", "main"))

    @route("DELETE", API + "/branch/{branch}")
    def _delete_branch(self, request: Request, repo: str, branch: str) -> Answer:
        if branch == "main":
            raise HubError(403, "The main branch can't be deleted.")
        return self._delete_ref(self._find(request, repo, "write"), f"refs/heads/{branch}")

    @route("POST", API + "/tag/{revision}")
    def _create_tag(self, request: Request, repo: str, revision: str) -> Answer:
        return self._create_ref(self._find(request, repo, "write"), f"refs/tags/{request.json()['tag']}", revision)

    @route("DELETE", API + "/tag/{tag}")
    def _delete_tag(self, request: Request, repo: str, tag: str) -> Answer:
        return self._delete_ref(self._find(request, repo, "write"), f"refs/tags/{tag}")

    def _create_ref(self, repo: Repo, ref: str, revision: str) -> Answer:
        if ref in repo.refs:
            raise HubError(409, f"Reference already exists: {ref}")
        repo.refs[ref] = repo.find_commit(revision).oid
        return Answer({})

    def _delete_ref(self, repo: Repo, ref: str) -> Answer:
        if repo.refs.pop(ref, None) is None:
            raise HubError(404, f"Reference does not exist: {ref}", "RevisionNotFound")
        return Answer({})

    # Discussions and pull requests

    def _open(self, repo: Repo, title: str, text: str, author: str, is_pull_request: bool) -> Discussion:
        discussion = Discussion(len(repo.discussions) + 1, title, author, is_pull_request, now())
        discussion.add_comment(author, text)
        repo.discussions.append(discussion)
        return discussion

    def _tell_discussion(self, repo: Repo, ref: str, commit: Commit) -> None:
        if ref.startswith("refs/pr/"):
            discussion = repo.discussions[int(ref.removeprefix("refs/pr/")) - 1]
            discussion.add_event("commit", commit.author, subject=commit.summary, oid=commit.oid)

    def _describe_discussion(self, repo: Repo, discussion: Discussion) -> dict[str, Any]:
        return {
            "num": discussion.num,
            "title": discussion.title,
            "author": {"name": discussion.author},
            "createdAt": discussion.date,
            "status": discussion.status,
            "repo": {"name": repo.id, "type": "dataset"},
            "isPullRequest": discussion.is_pull_request,
        }

    @route("GET", API + "/discussions")
    def _list_discussions(self, request: Request, repo: str) -> Answer:
        found, query = self._find(request, repo), request.query
        kinds = {"pull_request": [True], "discussion": [False]}.get(query.get("type", ""), [True, False])
        selected = [
            self._describe_discussion(found, discussion)
            for discussion in reversed(found.discussions)
            if discussion.is_pull_request in kinds
            and query.get("author", discussion.author) == discussion.author
            and (query.get("status", "all") == "all" or (discussion.status == "open") == (query["status"] == "open"))
        ]
        start = int(query.get("p", 0)) * self.page_size
        page = selected[start : start + self.page_size]
        return Answer({"discussions": page, "count": len(selected), "start": start})

    @route("POST", API + "/discussions")
    def _create_discussion(self, request: Request, repo: str) -> Answer:
        found, body = self._find(request, repo, "propose"), request.json()
        is_pull_request = body.get("pullRequest", False)
        discussion = self._open(found, body["title"], body["description"], request.user or "", is_pull_request)
        if is_pull_request:
            discussion.status = "draft"
            discussion.base_oid = found.refs[f"refs/pr/{discussion.num}"] = found.find_commit("main").oid
        return Answer({"num": discussion.num, "pullRequest": is_pull_request})

    @route("GET", API + "/discussions/{num}")
    def _show_discussion(self, request: Request, repo: str, num: str) -> Answer:
        found = self._find(request, repo)
        discussion = self._find_discussion(found, num)
        body = self._describe_discussion(found, discussion) | {"events": discussion.events, "diff": ""}
        if discussion.is_pull_request:
            conflicts = found.find_conflicts(discussion) if discussion.status != "merged" else []
            changes = {"base": f"refs/heads/{discussion.base}", "mergeCommitId": discussion.merge_commit}
            body |= {"filesWithConflicts": conflicts, "changes": changes}
        return Answer(body)

    @route("POST", API + "/discussions/{num}/{action}")
    def _change_discussion(self, request: Request, repo: str, num: str, action: str) -> Answer:
        found = self._find(request, repo, "write" if action == "merge" else "propose")
        discussion, body, user = self._find_discussion(found, num), request.json(), request.user or ""
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

    def _find_discussion(self, repo: Repo, num: str) -> Discussion:
        if not 1 <= int(num) <= len(repo.discussions):
            raise HubError(404, f"Discussion {num} does not exist.", "EntryNotFound")
        return repo.discussions[int(num) - 1]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for them
    request_queue_size = 64

    def __init__(self, hub: LoopbackHub, port: int):
        self.hub = hub
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.hub.errors.append(traceback.format_exc())

    def close_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # header and body leave together
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client has gone
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: `hub.requests` has it."""

    def _exchange(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self._read_body(headers))
        answer = self.server.hub.answer(request)
        if answer is None:
            self.close_connection = True
            return
        is_raw = isinstance(answer.body, bytes)
        data = answer.body if is_raw else json.dumps(answer.body).encode()
        sent = {"Content-Type": "application/octet-stream" if is_raw else "application/json", **answer.headers}
        self.send_response(answer.status)
        for name, value in sent.items():
            self.send_header(name, value.replace("\n", " ").encode().decode("latin-1"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _exchange

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)


def lead_clients_to(hub: LoopbackHub, patch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let the clients in this process talk to a hub, as "me", with caches in a folder of their own and without Xet.

    They read the environment once, at import, into the variables that are set here; later they ask these.
    """
    import datasets
    import huggingface_hub
    from huggingface_hub import constants, hf_api

    for name, value in hub.environment().items():
        patch.setenv(name, value)
    patch.setenv("HF_HUB_CACHE", str(cache / "hub"))
    patch.setenv("HF_DATASETS_CACHE", str(cache / "datasets"))
    patch.setenv("HF_HUB_DISABLE_XET", "1")
    patch.setattr(constants, "ENDPOINT", hub.url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    patch.setattr(hf_api.api, "endpoint", hub.url)  # behind `huggingface_hub.create_repo` and its like
    patch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    patch.setattr(datasets.config, "HUB_DATASETS_URL", hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}")
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    patch.setattr(datasets.config, "HF_DATASETS_OFFLINE", False)
    patch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)  # else it asks a host elsewhere
    patch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)  # likewise
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    patch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache / "datasets" / "downloads")
    patch.setattr(datasets.config, "EXTRACTED_DATASETS_PATH", cache / "datasets" / "downloads" / "extracted")
    forget_clients()
    huggingface_hub.close_session()  # a proxy of the environment is read when it opens


def forget_clients() -> None:
    """Drop what the clients keep of a hub between calls, but for files in their caches."""
    import huggingface_hub
    from huggingface_hub.utils import _xet

    huggingface_hub.HfFileSystem.clear_instance_cache()
    huggingface_hub.close_session()
    _xet.XET_CONNECTION_INFO_CACHE.clear()


@pytest.fixture(name="hub")
def hub_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """A hub that all clients talk to; HF_TOKEN is a write token of "me", large files go by LFS."""
    with LoopbackHub() as hub, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # the client uploads to LFS in a way that httpx2 calls old
        warnings.filterwarnings("ignore", "Use 'content=<...>'", DeprecationWarning)
        lead_clients_to(hub, patch, tmp_path_factory.mktemp("hub"))
        yield hub
        forget_clients()
    assert not hub.errors, "\n".join(hub.errors)


@pytest.fixture(name="xet")
def xet_fixture(hub: LoopbackHub) -> Iterator[XetFolder]:
    """Let large files go by Xet, which gives up after two attempts."""
    from huggingface_hub.utils import _xet

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
        patch.setenv("HF_HUB_DISABLE_XET", "0")
        patch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
        patch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "20ms")
        _xet.abort_xet_session()  # the next one reads the environment
        yield hub.xet
    _xet.abort_xet_session()


@pytest.fixture(name="quick_retries")
def quick_retries_fixture(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Let the client wait a hundredth of the time before it tries again."""
    from huggingface_hub.utils import _http

    slept: Counter[str] = Counter()

    def sleep(seconds: float) -> None:
        slept["times"] += 1
        slept["seconds"] += int(seconds)
        time.sleep(seconds / 100)

    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=sleep))
    return slept
