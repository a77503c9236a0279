"""A Hub on loopback: what tests ask of it, and how it answers requests."""

import re
import tempfile
import threading
import traceback
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from tests.support.loopback_hub import accounts, commits, discussions, large_files, reading, refs
from tests.support.loopback_hub.access import not_found
from tests.support.loopback_hub.faults import DEFAULT_MESSAGES, CutError, Fault
from tests.support.loopback_hub.request import Request, Token
from tests.support.loopback_hub.server import Server
from tests.support.loopback_hub.storage import Answer, Commit, Discussion, HubError, Repo, XetFolder, is_lfs

ROUTES = [
    *accounts.routes,
    *commits.routes,
    *large_files.routes,
    *reading.routes,
    *refs.routes,
    *discussions.routes,
]


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
        self.repos: dict[str, Repo] = {}
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._port = 0
        self._server: Server | None = None
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
        self._server = Server(self, self._port)
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
            for fault in self._faults:
                fault.is_over.set()
            self._server.shutdown()
            self._thread.join()
            self._server.close_connections()
            self._server.server_close()
            self._server = self._thread = None

    # What tests ask for

    def create_repo(self, repo_id: str, private: bool = False) -> None:
        self.repos[repo_id] = Repo(repo_id, private, repo_id.split("/")[0])

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
            repo = self.repos[repo_id]
            ref = repo.find_ref(branch)
            tree = {path: file for path, file in repo.find_commit(ref).files.items() if path not in delete}
            for path, data in files.items():
                tree[path] = repo.store_lfs(data) if is_lfs(path, len(data), data[:512]) else repo.store(data)
            return repo.commit(ref, tree, summary, "", "other").oid

    def repo_ids(self) -> list[str]:
        return sorted(self.repos)

    def refs(self, repo_id: str) -> dict[str, str]:
        """Return the oids that branches, tags and pull requests point to, as in {"refs/heads/main": "5d0e..."}."""
        return dict(self.repos[repo_id].refs)

    def commits(self, repo_id: str, revision: str = "main") -> list[Commit]:
        """Return the commits of a branch, newest first."""
        repo = self.repos[repo_id]
        return repo.history(repo.find_commit(revision))

    def files(self, repo_id: str, revision: str = "main") -> list[str]:
        return sorted(self.commits(repo_id, revision)[0].files)

    def read(self, repo_id: str, path: str, revision: str = "main") -> bytes:
        repo = self.repos[repo_id]
        return repo.read(repo.find_commit(revision).files[path])

    def discussions(self, repo_id: str) -> list[Discussion]:
        return self.repos[repo_id].discussions

    def received(self, match: str = "") -> list[Request]:
        """Return the requests whose "METHOD /path" matches a regular expression."""
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
        body: bytes | None = None,
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
            body: is answered with status 200, as by a proxy, and the request is not handled; with `cut="after"` it is.
        """
        if cut not in (None, "before", "after"):
            raise ValueError(f"`cut` is {cut!r}, expected 'before' or 'after'.")
        message = DEFAULT_MESSAGES.get(status or 0, "Something went wrong.") if message is None else message
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        files = {"race.txt": uuid.uuid4().hex.encode()} if race is True else race or None
        match = match or ("POST .*/commit/" if files else "")
        fault = Fault(re.compile(match), nth, times, status, message, headers, cut, delay, files, body)
        self._faults.append(fault)
        return fault

    def environment(self, token: str | None = None) -> dict[str, str]:
        """Return the environment variables that lead clients in another process here."""
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
        is_handled = not any(fault.body is not None and fault.cut is None for fault in faults)
        try:
            self._fail(request, faults)
            answer = self._handle(request) if is_handled else Answer()
        except HubError as error:
            answer = error.answer
        except CutError:
            return None
        except Exception:
            self.errors.append(f"{request.method} {request.path}\n{traceback.format_exc()}")
            answer = HubError(500, "The loopback hub has an error: see `hub.errors`.").answer
        bodies = [fault.body for fault in faults if fault.body is not None]
        if any(fault.cut == "after" for fault in faults) and not bodies:
            return None
        if bodies:
            answer = Answer(bodies[0])
        request.status = answer.status
        return answer

    def _fail(self, request: Request, faults: Sequence[Fault]) -> None:
        for fault in faults:
            fault.is_over.wait(fault.delay)
            if fault.race is not None:
                self._race(request, fault.race)
            if fault.cut == "before":
                raise CutError
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
            raise not_found(request)
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
