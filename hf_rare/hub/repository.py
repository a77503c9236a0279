"""One commit to a dataset repository on the Hub: on a parent that is pinned, and once even when its answer is lost."""

import hashlib
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

from hf_rare.errors import ConfigError, HubError
from hf_rare.hub_errors import NETWORK_ERRORS, UNREADABLE, status_of

MAX_TRIES = 5
RETRY_SECONDS = 1.0


@dataclass
class Head:
    """A repository at a commit.

    Args:
        oid (`str`): sha of the commit.
        files (`dict[str, str]`): content hash of each file by path: sha256 of large ones, git's blob id of others.
    """

    oid: str
    files: dict[str, str]

    def has(self, path: str, content: bytes) -> bool:
        """Tell whether a file is there with this content."""
        blob_id = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return self.files.get(path) in (blob_id, hashlib.sha256(content).hexdigest())


class Repository:
    """A dataset repository on the Hub, at a branch.

    Args:
        api ([`~huggingface_hub.HfApi`]): the client.
        repo_id (`str`): its name.
        revision (`str`, *optional*): the branch; by default `main`.
    """

    def __init__(self, api: huggingface_hub.HfApi, repo_id: str, revision: str | None = None) -> None:
        self.api = api
        self.repo_id = repo_id
        self.revision = revision
        self.is_in_doubt = False
        """Whether a commit was sent and it is not known whether it arrived."""

    def open(self, private: bool | None) -> None:
        """Make the repository and the branch where they do not exist."""
        made = self.api.create_repo(self.repo_id, repo_type="dataset", private=private, exist_ok=True)
        self.repo_id = made.repo_id
        if self.revision is not None and not self.revision.startswith("refs/pr/"):
            self.api.create_branch(self.repo_id, branch=self.revision, repo_type="dataset", exist_ok=True)

    def read_head(self) -> Head:
        """Find out what the repository holds now."""
        info = self.api.dataset_info(self.repo_id, revision=self.revision)
        if not isinstance(info.sha, str) or not re.fullmatch(r"[0-9a-f]{40}", info.sha):
            raise HubError(
                f"{self.repo_id}: the Hub has said {info.sha!r:.60} where the sha of a commit was expected. Try again "
                "later; nothing was committed."
            )
        files = self._list_files(info.sha)
        # a list that lacks files would let the card of the repository be written anew
        if missing := [item.rfilename for item in info.siblings or () if item.rfilename not in files]:
            raise HubError(
                f"{self.repo_id}: the Hub has listed {len(files)} files at the commit {info.sha[:8]}, and not "
                f"{missing[0]}, of which it speaks elsewhere. Try again later; nothing was committed."
            )
        return Head(info.sha, files)

    def _list_files(self, oid: str) -> dict[str, str]:
        tree = self.api.list_repo_tree(self.repo_id, repo_type="dataset", revision=oid, recursive=True)
        return {
            item.path: item.lfs.sha256 if item.lfs else item.blob_id
            for item in tree
            if isinstance(item, huggingface_hub.hf_api.RepoFile)
        }

    def read_text(self, head: Head, path: str) -> str:
        """Read a text file as it is at a commit.

        Raises:
            ConfigError: It is not in UTF-8.
        """
        local = self.api.hf_hub_download(self.repo_id, path, repo_type="dataset", revision=head.oid)
        try:
            return Path(local).read_bytes().decode()  # line ends stay as they are
        except UnicodeDecodeError as err:
            raise ConfigError(
                f"{path} of {self.repo_id} is not in UTF-8 ({err.reason} at byte {err.start}), which the Hub shows it "
                "in, so that nothing can be merged into it. Save it as UTF-8, and push again."
            ) from err

    def check_taken(self, oid: str, operations: Sequence[Any], head: Head) -> None:
        """Check that a commit has brought what was handed in: the Hub leaves out what a `.gitignore` names.

        Args:
            oid (`str`): the commit.
            operations (`Sequence[CommitOperation]`): what was to be done.
            head ([`Head`]): its parent.

        Raises:
            HubError: A file is not there.
        """
        there = self._list_files(oid)
        added = [operation.path_in_repo for operation in operations if isinstance(operation, CommitOperationAdd)]
        if missing := [path for path in added if path not in there or there[path] == head.files.get(path)]:
            others = f" and {len(missing) - 1} other files" if missing[1:] else ""
            raise HubError(
                f"{self.repo_id}: the Hub has made the commit {oid} without {missing[0]}{others}. A `.gitignore` "
                "in the repository may name it: remove that line there, and push again."
            )

    @staticmethod
    def wait(attempt: int) -> None:
        """Let some time pass after an attempt that came too late: longer after later ones."""
        time.sleep(RETRY_SECONDS * attempt)

    def commit(
        self, operations: Sequence[Any], head: Head, message: str, create_pr: bool
    ) -> huggingface_hub.CommitInfo | None:
        """Commit on `head`.

        Args:
            operations (`Sequence[CommitOperation]`): what to do.
            head ([`Head`]): the parent.
            message (`str`): first line of the commit.
            create_pr (`bool`): whether to open a pull request.

        Returns:
            [`~huggingface_hub.CommitInfo`]: the commit; `None` when `head` is not the head any more.
        """
        mark = f"hf_rare push {uuid.uuid4()}"
        for attempt in range(MAX_TRIES):
            try:
                return self.api.create_commit(
                    self.repo_id,
                    operations,
                    commit_message=message,
                    commit_description=mark,
                    repo_type="dataset",
                    revision=self.revision,
                    parent_commit=head.oid,
                    create_pr=create_pr,
                )
            except (HfHubHTTPError, *NETWORK_ERRORS, *UNREADABLE) as err:
                if isinstance(err, ValueError) and isinstance(err.__cause__, HfHubHTTPError):
                    raise HubError(
                        f"{self.repo_id}: the Hub refuses the card: {err}\nMend the header of the card there, or the "
                        "settings license=, language=, ... of this push, and push again: no shard is uploaded twice."
                    ) from err
                status = status_of(err)
                self.is_in_doubt = status is None or status >= 500
                if status in (409, 412):
                    return None
                if status is not None and status < 500 and status != 429:
                    raise
                time.sleep(_retry_after(err) or RETRY_SECONDS * 2**attempt)
                landed = self._find_commit(mark, create_pr)
                self.is_in_doubt = False
                if landed is not None:
                    return landed
                if attempt == MAX_TRIES - 1:
                    raise
        return None

    def commit_url(self, oid: str) -> str:
        """Return the page of a commit."""
        return f"{self._url}/commit/{oid}"

    @property
    def _url(self) -> str:
        return f"{self.api.endpoint}/datasets/{self.repo_id}"

    def _find_commit(self, mark: str, create_pr: bool) -> huggingface_hub.CommitInfo | None:
        """Look for a commit whose answer was lost."""
        heads: Iterator[tuple[str | None, int | None]] = iter([(self.revision, None)])
        if create_pr:
            discussions = self.api.get_repo_discussions(self.repo_id, repo_type="dataset")
            heads = ((item.git_reference, item.num) for item in discussions if item.is_pull_request)
        for revision, number in heads:
            for commit in self.api.list_repo_commits(self.repo_id, repo_type="dataset", revision=revision)[:MAX_TRIES]:
                if mark in commit.message:
                    return huggingface_hub.CommitInfo(
                        commit_url=self.commit_url(commit.commit_id),
                        commit_message=commit.title,
                        commit_description=commit.message,
                        oid=commit.commit_id,
                        pr_url=f"{self._url}/discussions/{number}" if number is not None else None,
                    )
        return None


def _retry_after(err: BaseException) -> float:
    response = getattr(err, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return min(60.0, float(text)) if text.isdecimal() else 0.0
