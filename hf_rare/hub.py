"""A dataset to the Hub in one commit: parquet shards, card, recipe and plot, on a parent that is pinned.

Shards are uploaded first and belong to nothing; then one commit makes them, the card and the recipe visible together.
When someone else has committed meanwhile, the commit is made again on what they have left. When its answer is lost, it
is looked for before it is tried again. So a repository is either as it was or complete.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
from datasets.utils.py_utils import convert_file_size_to_int
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError

from hf_rare.card import build_card
from hf_rare.card_merging import merge_cards
from hf_rare.distill import ReasonDistiller
from hf_rare.errors import ColumnError, ConfigError, HubError, MissingPackageError
from hf_rare.explaining import NETWORK_ERRORS, explain, status_of
from hf_rare.plots import plot_statistics
from hf_rare.recipe import Recipe, make_recipe, recipe_path
from hf_rare.shards import count_bytes, iterate_shards

logger = logging.getLogger(__name__)

MAX_FILES_PER_COMMIT = 100
"""Shards of one commit; the Hub asks for fewer than a hundred files a commit. More are committed before the card."""

MAX_TRIES = 5
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class PushResult:
    """What a push has left on the Hub.

    Args:
        commit_url (`str`): page of the commit; of the one that was there already when nothing had changed.
        oid (`str`): its sha.
        pr_url (`str`, *optional*): page of the pull request, with `create_pr`.
        has_changed (`bool`): whether there was anything to push.
    """

    commit_url: str
    oid: str
    pr_url: str | None = None
    has_changed: bool = True


@dataclass
class _Split:
    """The shards of a split, uploaded or there already.

    Args:
        additions (`dict[str, CommitOperationAdd]`): operation by path, for those that the repository does not have.
        paths (`list[str]`): all paths, in order.
    """

    additions: dict[str, CommitOperationAdd] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)


@dataclass
class _Head:
    """A repository at a commit.

    Args:
        oid (`str`): sha of the commit.
        files (`dict[str, str]`): content hash of each file by path: sha256 of large ones, git's blob id of others.
    """

    oid: str
    files: dict[str, str]


def push_to_hub(
    dataset: datasets.Dataset | datasets.DatasetDict,
    repo_id: str,
    *,
    recipe: ReasonDistiller | Recipe | None = None,
    config_name: str = "default",
    split: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    max_shard_size: int | str = "500MB",
    embed_external_files: bool = True,
    append: bool = False,
    **card_settings: Any,
) -> PushResult | None:
    """Push a dataset with its card and recipe to the Hub, in one commit.

    Other configs and splits of the repository stay as they are, and so does what people have written into its card.
    Shards whose content the repository has already are not uploaded again, and where nothing has changed there is no
    commit. More than 100 new shards take several commits, of which the last brings the card.

    Under a launcher the process of rank 0 pushes.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            The dataset.
        repo_id (`str`):
            Name of the repository, `me/name`; made when it does not exist.
        recipe ([`ReasonDistiller`] or `dict`, *optional*):
            What made the dataset: the distiller, or its recipe.
        config_name (`str`, *optional*, defaults to `"default"`):
            Config of the repository that is written.
        split (`str`, *optional*):
            Split that is written, for a `Dataset`. By default the one it was loaded as, else `"train"`.
        private (`bool`, *optional*):
            Whether a repository that is made is private. By default what the organisation says, mostly public.
        token (`str` or `bool`, *optional*):
            Token for the Hub; by default the one of `hf auth login`.
        revision (`str`, *optional*):
            Branch to commit to; made when it does not exist. By default `main`.
        create_pr (`bool`, *optional*, defaults to `False`):
            Whether to open a pull request instead of committing to the branch.
        commit_message (`str`, *optional*):
            First line of the commit.
        max_shard_size (`int` or `str`, *optional*, defaults to `"500MB"`):
            Most bytes of a shard's rows in memory.
        embed_external_files (`bool`, *optional*, defaults to `True`):
            Whether images and sounds that are files of this machine are put into the shards.
        append (`bool`, *optional*, defaults to `False`):
            Whether the rows are added to those that the split has. Their columns must be equal.
        **card_settings:
            Passed to [`build_card`]: `pretty_name`, `license`, `language`, `source_datasets`, ...

    Returns:
        [`PushResult`]: commit, and pull request; `None` in a process of a launcher that is not of rank 0.

    Raises:
        ConfigError: A setting cannot be right.
        HubError: The push failed. The message says what is on the Hub now, and what to do.

    Example:
        >>> push_to_hub(ds, "me/rare-medicine", recipe=distill_fn, license="cc-by-4.0", language="en")
    """
    if os.environ.get("RANK", "0") != "0":
        return None
    if not isinstance(dataset, datasets.Dataset | datasets.DatasetDict):
        raise ConfigError(
            f"push_to_hub takes a Dataset or a DatasetDict, and this is a {type(dataset).__name__}. A stream becomes "
            "one with `Dataset.from_generator(lambda: (yield from stream))`."
        )
    if isinstance(dataset, datasets.DatasetDict):
        if split is not None:
            raise ConfigError(f"split={split!r} goes with a Dataset; a DatasetDict brings its own splits.")
        splits = dict(dataset)
    else:
        splits = {split or str(dataset.split or "train"): dataset}
    _check_names(config_name, splits)
    push = _Push(
        api=huggingface_hub.HfApi(token=token, library_name="hf_rare"),
        repo_id=repo_id,
        config_name=config_name,
        revision=revision,
        append=append,
        recipe=make_recipe(recipe) if isinstance(recipe, ReasonDistiller) else recipe,
        card_settings=card_settings,
    )
    message = commit_message or f"{'Add rows to' if append else 'Push'} {', '.join(splits)} of {config_name}"
    with explain(repo_id, "Nothing of this push is visible on the Hub."):
        push.open(private)
        push.upload(splits, convert_file_size_to_int(max_shard_size), embed_external_files, create_pr)
        return push.commit(splits, message, create_pr)


@dataclass
class _Push:
    """One push, with what does not change between its tries."""

    api: huggingface_hub.HfApi
    repo_id: str
    config_name: str
    revision: str | None
    append: bool
    recipe: Recipe | None
    card_settings: dict[str, Any]
    shards: dict[str, _Split] = field(default_factory=dict)

    def open(self, private: bool | None) -> None:
        """Make the repository and the branch where they do not exist."""
        self.repo_id = self.api.create_repo(self.repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id
        if self.revision is not None and not self.revision.startswith("refs/pr/"):
            self.api.create_branch(self.repo_id, branch=self.revision, repo_type="dataset", exist_ok=True)

    def read_head(self) -> _Head:
        """Find out what the repository holds now."""
        oid = self.api.repo_info(self.repo_id, repo_type="dataset", revision=self.revision).sha
        tree = self.api.list_repo_tree(self.repo_id, repo_type="dataset", revision=oid, recursive=True)
        files = {
            item.path: item.lfs.sha256 if item.lfs else item.blob_id
            for item in tree
            if isinstance(item, huggingface_hub.hf_api.RepoFile)
        }
        return _Head(str(oid), files)

    def upload(
        self, splits: Mapping[str, datasets.Dataset], max_bytes: int, embed_external_files: bool, create_pr: bool
    ) -> None:
        """Upload the shards that the repository does not have; they belong to nothing yet."""
        head = self.read_head()
        for name, dataset in splits.items():
            split = self.shards[name] = _Split()
            first = len(self._own_files(head, name)) if self.append else 0
            if len(dataset) == 0 and first:
                continue
            for number, shard in enumerate(iterate_shards(dataset, max_bytes, embed_external_files), first):
                path = f"{self._folder}/{name}-{number:05}-{shard.sha256[:8]}.parquet"
                split.paths.append(path)
                if head.files.get(path) == shard.sha256:
                    continue
                addition = CommitOperationAdd(path, str(shard.path))
                self.api.preupload_lfs_files(
                    self.repo_id, [addition], repo_type="dataset", revision=self.revision, create_pr=create_pr
                )
                split.additions[path] = addition

    def commit(self, splits: Mapping[str, datasets.Dataset], message: str, create_pr: bool) -> PushResult:
        """Commit what was uploaded, the card and the recipe on the head, and again on a new head when it has moved."""
        pull_request = None
        for attempt in range(MAX_TRIES):
            head = self.read_head()
            additions = [
                addition
                for split in self.shards.values()
                for path, addition in split.additions.items()
                if path not in head.files
            ]
            while len(additions) > MAX_FILES_PER_COMMIT:
                first, additions = additions[:MAX_FILES_PER_COMMIT], additions[MAX_FILES_PER_COMMIT:]
                info = self._create_commit(first, head, f"{message} (shards)", create_pr and pull_request is None)
                if info is None:
                    break
                head = _Head(info.oid, head.files)
                if create_pr:
                    pull_request, self.revision = pull_request or info.pr_url, info.pr_revision or self.revision
            else:
                operations = [*additions, *self._deletions(head), *self._documents(head, splits)]
                if not operations:
                    return PushResult(self._commit_url(head.oid), head.oid, pull_request, has_changed=False)
                info = self._create_commit(operations, head, message, create_pr and pull_request is None)
                if info is not None:
                    return PushResult(info.commit_url, info.oid, pull_request or info.pr_url)
            logger.info("Someone else has committed to %s; trying again on what they have left.", self.repo_id)
            time.sleep(RETRY_SECONDS * attempt)
        raise HubError(
            f"{self.repo_id} was committed to by others {MAX_TRIES} times while this push was under way. Its shards "
            "are uploaded and nothing of it is visible. Push again: nothing is uploaded twice."
        )

    def _documents(self, head: _Head, splits: Mapping[str, datasets.Dataset]) -> list[CommitOperationAdd]:
        """Make card, recipe and plot as they must be on `head`; what is there already in these words is left out."""
        whole = {name: self._whole_split(head, name, split) for name, split in splits.items()}
        documents: dict[str, bytes] = {}
        plot_path = f"assets/{self.config_name}.png"
        with contextlib.suppress(ColumnError, MissingPackageError):  # nothing to plot, or nothing to plot with
            documents[plot_path] = plot_statistics(datasets.DatasetDict(whole), self._output_column)
        if self.recipe is not None:
            text = json.dumps(self.recipe, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
            documents[recipe_path(self.config_name)] = text.encode()
        card = build_card(
            datasets.DatasetDict(whole),
            self.recipe,
            repo_id=self.repo_id,
            config_name=self.config_name,
            splits=self._infos(whole),
            data_files={name: f"{self._folder}/{name}-*" for name in splits},
            plot_path=plot_path if plot_path in documents else None,
            recipe_path=recipe_path(self.config_name) if self.recipe is not None else None,
            **self.card_settings,
        )
        existing = self._read_text(head, "README.md") if "README.md" in head.files else ""
        documents["README.md"] = merge_cards(existing, card).encode()
        return [
            CommitOperationAdd(path, content)
            for path, content in documents.items()
            if head.files.get(path) not in (_blob_id(content), hashlib.sha256(content).hexdigest())
        ]

    def _whole_split(self, head: _Head, name: str, new: datasets.Dataset) -> datasets.Dataset:
        """Give the rows of a split after the push; with `append` those that are there are downloaded."""
        if not self.append or not (paths := self._other_files(head, name)):
            return new
        files = [f"hf://datasets/{self.repo_id}@{head.oid}/{path}" for path in paths]
        token = self.api.token
        existing = datasets.load_dataset("parquet", data_files=files, split="train", token=token)
        if existing.features != new.features:
            raise ConfigError(
                f"The rows cannot be appended to split {name!r}, which has other columns: {existing.features} there, "
                f"{new.features} here."
            )
        return datasets.concatenate_datasets([existing, new])

    def _infos(self, whole: Mapping[str, datasets.Dataset]) -> dict[str, datasets.SplitInfo]:
        return {
            name: datasets.SplitInfo(name, num_bytes=count_bytes(split), num_examples=len(split))
            for name, split in whole.items()
        }

    def _read_text(self, head: _Head, path: str) -> str:
        local = self.api.hf_hub_download(self.repo_id, path, repo_type="dataset", revision=head.oid)
        return Path(local).read_text(encoding="utf-8")

    @property
    def _output_column(self) -> str:
        return str((self.recipe or {}).get("distill", {}).get("output_column", "reasoning"))

    def _other_files(self, head: _Head, split: str) -> list[str]:
        """List the shards of a split that are there and not from this push."""
        return [path for path in self._own_files(head, split) if path not in self.shards[split].paths]

    @property
    def _folder(self) -> str:
        return "data" if self.config_name == "default" else self.config_name

    def _own_files(self, head: _Head, split: str) -> list[str]:
        pattern = re.compile(rf"{re.escape(self._folder)}/{re.escape(split)}-\d+-[\w-]+\.parquet")
        return sorted(path for path in head.files if pattern.fullmatch(path))

    def _deletions(self, head: _Head) -> list[CommitOperationDelete]:
        """Delete the shards that this push replaces."""
        if self.append:
            return []
        return [CommitOperationDelete(path) for name in self.shards for path in self._other_files(head, name)]

    def _create_commit(
        self, operations: Sequence[Any], head: _Head, message: str, create_pr: bool
    ) -> huggingface_hub.CommitInfo | None:
        """Commit on `head`; give `None` when it is not the head any more."""
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
            except (HfHubHTTPError, *NETWORK_ERRORS) as err:
                status = status_of(err)
                if status in (409, 412):
                    return None
                if (status is not None and status < 500 and status != 429) or attempt == MAX_TRIES - 1:
                    raise
                time.sleep(_retry_after(err) or RETRY_SECONDS * 2**attempt)
                landed = self._find_commit(mark, create_pr)
                if landed is not None:
                    return landed
        return None

    def _find_commit(self, mark: str, create_pr: bool) -> huggingface_hub.CommitInfo | None:
        """Look for a commit whose answer was lost."""
        heads: Iterator[tuple[str | None, int | None]] = iter([(self.revision, None)])
        if create_pr:
            discussions = self.api.get_repo_discussions(self.repo_id, repo_type="dataset")
            heads = ((item.git_reference, item.num) for item in discussions if item.is_pull_request)
        for revision, number in heads:
            for commit in self.api.list_repo_commits(self.repo_id, repo_type="dataset", revision=revision)[:MAX_TRIES]:
                if mark in commit.message:
                    url = f"{self._repo_url}/discussions/{number}" if number is not None else None
                    return huggingface_hub.CommitInfo(
                        commit_url=self._commit_url(commit.commit_id),
                        commit_message=commit.title,
                        commit_description=commit.message,
                        oid=commit.commit_id,
                        pr_url=url,
                    )
        return None

    @property
    def _repo_url(self) -> str:
        return f"{self.api.endpoint}/datasets/{self.repo_id}"

    def _commit_url(self, oid: str) -> str:
        return f"{self._repo_url}/commit/{oid}"


def _retry_after(err: BaseException) -> float:
    response = getattr(err, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return min(60.0, float(text)) if text.isdecimal() else 0.0


def _blob_id(content: bytes) -> str:
    """Give the id that git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _check_names(config_name: str, splits: Mapping[str, datasets.Dataset]) -> None:
    for kind, name in (("config_name", config_name), *(("split", split) for split in splits)):
        if not re.fullmatch(r"[A-Za-z0-9][\w.]*" if kind == "split" else r"[A-Za-z0-9][\w.-]*", name):
            raise ConfigError(f"{kind}={name!r} cannot be used: expected letters, digits and underscores.")
    first, *others = splits.values()
    if any(other.features != first.features for other in others):
        raise ConfigError("The splits of a config must have equal columns.")
