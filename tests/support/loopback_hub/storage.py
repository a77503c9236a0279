"""What a Hub on loopback keeps: datasets with their commits, refs and files, in memory, and the folder of Xet."""

import datetime
import hashlib
import json
import re
import struct
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from hf_rare.settings.yaml import check_size

LFS_SUFFIXES = (".arrow", ".bin", ".gz", ".jpg", ".parquet", ".png", ".safetensors", ".zip")
REGULAR_LIMIT = 10 * 1024 * 1024  # bytes; a larger file must go to LFS
NOTHING: Mapping[str, str] = MappingProxyType({})


class HubError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str = "", headers: Mapping[str, str] = NOTHING, **body: Any):
        super().__init__(message)
        errors = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer = Answer({"error": message, **body}, status, {**errors, **headers})


@dataclass
class Answer:
    """What is sent back: bytes as they are, everything else as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file of a commit; `lfs` is the sha256 of one that is in LFS, `xet` its hash where it was uploaded to Xet."""

    oid: str
    size: int
    lfs: str | None = None
    xet: str | None = None

    @property
    def pointer_size(self) -> int:
        return len(lfs_pointer(self.lfs, self.size)) if self.lfs else 0


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    summary: str
    description: str
    author: str
    date: str
    files: Mapping[str, File] = field(repr=False)


@dataclass
class Discussion:
    num: int
    title: str
    author: str
    is_pull_request: bool
    date: str
    base: str = "main"
    base_oid: str = ""
    status: str = "open"
    merge_commit: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def add_event(self, kind: str, author: str, **data: Any) -> dict[str, Any]:
        event = {"id": uuid.uuid4().hex, "type": kind, "createdAt": now(), "author": {"name": author}, "data": data}
        self.events.append(event)
        return event

    def add_comment(self, author: str, text: str) -> dict[str, Any]:
        return self.add_event("comment", author, edited=False, hidden=False, latest={"raw": text})


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def is_lfs(path: str, size: int, sample: bytes) -> bool:
    return size > 0 and (path.endswith(LFS_SUFFIXES) or size > REGULAR_LIMIT or b"\0" in sample)


def validate_card(content: str) -> tuple[list[str], list[str]]:
    """Return what the Hub would call errors and warnings in the metadata of a README.md."""
    if not (match := re.match(r"\s*---\r?\n(.*?)\r?\n---(\r?\n|$)", content, re.DOTALL)):
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        check_size(yaml.compose(match[1], yaml.SafeLoader) or yaml.ScalarNode("", ""))
        metadata = yaml.safe_load(match[1])
        json.dumps(metadata, default=str)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return [f"YAML metadata is invalid: {error}"], []
    if not isinstance(metadata, dict):
        return ["YAML metadata must be an object"], []
    errors = [
        f'"{name}" must be a string or an array of strings'
        for name in ("license", "language", "tags", "task_categories", "size_categories", "annotations_creators")
        if name in metadata
        and not (
            isinstance(metadata[name], str)
            or (isinstance(metadata[name], list) and all(isinstance(item, str) for item in metadata[name]))
        )
    ]
    licence = metadata.get("license", [])
    if not errors and not all(re.fullmatch(r"[a-z0-9.-]+", name) for name in [licence] * isinstance(licence, str)):
        errors.append('"license" must be one of [apache-2.0, mit, openrail, cc-by-4.0, ...]')
    configs = metadata.get("configs", [])
    if not isinstance(configs, list) or not all(isinstance(config, dict) for config in configs):
        errors.append('"configs" must be an array of objects')
    elif not all(isinstance(config.get("config_name", "default"), str) for config in configs):
        errors.append('"configs[].config_name" must be a string')
    return errors, []


class XetFolder:
    """The folder in which `hf_xet` keeps what it uploads when the address of the store is `local://`."""

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.url = f"local://{folder}"

    def find(self, sha256: str) -> tuple[str, int] | None:
        """Return the Xet hash and the size of an uploaded file."""
        for shard in self.folder.glob("xet/xorbs/shards/*.mdb"):
            for found, xet_hash, size in self._read_shard(shard.read_bytes()):
                if found == sha256:
                    return xet_hash, size
        return None

    def read(self, xet_hash: str, size: int) -> bytes:
        from hf_xet import XetFileInfo
        from huggingface_hub.utils._xet import get_xet_session

        path = self.folder / uuid.uuid4().hex
        expiry = int(time.time()) + 3600
        with get_xet_session().new_file_download_group(
            endpoint=self.url, token="local", token_expiry_unix_secs=expiry
        ) as group:
            group.start_download_file(XetFileInfo(xet_hash, size), str(path))
        data = path.read_bytes()
        path.unlink()
        return data

    @staticmethod
    def _read_shard(data: bytes) -> Iterator[tuple[str, str, int]]:
        """Return sha256, Xet hash and size of each file. All is in records of 48 bytes, the first a header."""

        def read_hash(place: int) -> str:
            return "".join(f"{word:016x}" for word in struct.unpack_from("<4Q", data, place))

        place = 48
        while data[place : place + 32] != b"\xff" * 32:
            xet_hash = read_hash(place)
            flags, segments = struct.unpack_from("<2I", data, place + 32)
            has_verification, has_sha256 = flags >> 31 & 1, flags >> 30 & 1
            size = sum(struct.unpack_from("<I", data, place + 48 * i + 36)[0] for i in range(1, segments + 1))
            place += 48 * (1 + segments * (1 + has_verification))
            if has_sha256:
                yield read_hash(place), xet_hash, size
                place += 48


class Repo:
    """A dataset: commits, the refs that point to them, and the contents of its files by oid or sha256."""

    def __init__(self, repo_id: str, private: bool, author: str):
        self.id = repo_id
        self.private = private
        self.commits: dict[str, Commit] = {}
        self.refs: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.discussions: list[Discussion] = []
        self.created = now()
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
        files = {".gitattributes": self.store(attributes.encode())}
        self.commit("refs/heads/main", files, "initial commit", "", author)

    def store(self, data: bytes) -> File:
        self.objects[oid := git_hash(data)] = data
        return File(oid, len(data))

    def store_lfs(self, data: bytes, xet: str | None = None) -> File:
        self.objects[sha256 := hashlib.sha256(data).hexdigest()] = data
        return self.point_to(sha256, xet)

    def point_to(self, sha256: str, xet: str | None = None) -> File:
        size = len(self.objects[sha256])
        return File(git_hash(lfs_pointer(sha256, size)), size, sha256, xet)

    def commit(self, ref: str, files: Mapping[str, File], summary: str, description: str, author: str) -> Commit:
        parent, date = self.refs.get(ref), now()
        tree = sorted((path, file.oid) for path, file in files.items())
        oid = hashlib.sha1(json.dumps([self.id, parent, summary, date, uuid.uuid4().hex, tree]).encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, summary, description, author, date, dict(files))
        self.refs[ref] = oid
        return self.commits[oid]

    def find_ref(self, revision: str) -> str:
        """Return the ref of a branch or a pull request, which a commit can be put on."""
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        if ref not in self.refs or ref.startswith("refs/tags/"):
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return ref

    def find_commit(self, revision: str) -> Commit:
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        if re.fullmatch("[0-9a-f]{7,40}", revision):
            for oid, commit in self.commits.items():
                if oid.startswith(revision):
                    return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def find_file(self, commit: Commit, path: str) -> File:
        if path not in commit.files:
            raise HubError(404, "Entry not found", "EntryNotFound")
        return commit.files[path]

    def history(self, commit: Commit) -> list[Commit]:
        """Return a commit and those before it, newest first."""
        commits = [commit]
        while parent := commits[-1].parent:
            commits.append(self.commits[parent])
        return commits

    def read(self, file: File) -> bytes:
        return self.objects[file.lfs or file.oid]

    def find_conflicts(self, discussion: Discussion) -> list[str]:
        """Return the files that a pull request and its base have changed differently."""
        old = self.commits[discussion.base_oid].files
        ours, theirs = self.find_commit(f"refs/pr/{discussion.num}").files, self.find_commit(discussion.base).files
        paths = {*old, *ours, *theirs}
        return sorted(p for p in paths if len({old.get(p), ours.get(p), theirs.get(p)}) == 3)

    def merge(self, discussion: Discussion, author: str) -> Commit:
        if self.find_conflicts(discussion):
            raise HubError(409, "This pull request has conflicts.")
        old = self.commits[discussion.base_oid].files
        ours = self.find_commit(f"refs/pr/{discussion.num}").files
        files = dict(self.find_commit(discussion.base).files)
        for path in {*old, *ours}:
            if path not in ours:
                files.pop(path, None)
            elif ours[path] != old.get(path):
                files[path] = ours[path]
        summary = f"{discussion.title} (#{discussion.num})"
        return self.commit(f"refs/heads/{discussion.base}", files, summary, "", author)
