"""A dataset to the Hub in one commit: parquet shards, card, recipe and plot, on a parent that is pinned.

Shards are uploaded first and belong to nothing; then one commit makes them, the card and the recipe visible together.
When someone else has committed meanwhile, the commit is made again on what they have left. When its answer is lost, it
is looked for before it is tried again. So a repository is either as it was or complete.
"""

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import datasets
import huggingface_hub
from datasets.utils.py_utils import convert_file_size_to_int
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from hf_rare import commits
from hf_rare.card import build_card
from hf_rare.card_merging import merge_cards
from hf_rare.commits import MAX_TRIES, Head, Repository
from hf_rare.errors import ColumnError, ConfigError, HubError, MissingPackageError
from hf_rare.explaining import explain, hide_tokens
from hf_rare.plots import plot_statistics
from hf_rare.recipe import Recipe, make_recipe, recipe_path
from hf_rare.shards import count_bytes, iterate_shards
from hf_rare.writer import ColumnWriter

logger = logging.getLogger(__name__)

MAX_FILES_PER_COMMIT = 1000
"""Shards of one commit; more are committed before the card.

They are uploaded already, so that a commit only names them. huggingface_hub itself commits up to 1,000 files at once
(`COMMIT_SIZE_SCALE`), and the Hub refuses more than 25,000 (docstring of `HfApi.create_commit`). Its documentation
advises fewer than 100, which would split pushes that can be one commit.
"""


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


def push_to_hub(
    dataset: datasets.Dataset | datasets.DatasetDict,
    repo_id: str,
    *,
    recipe: ColumnWriter[Any, Any] | Recipe | None = None,
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
    commit. More than 1,000 new shards take several commits, of which the last brings the card: until then, readers of
    a split that was there before see new shards beside the old ones. Larger shards, another `config_name` or
    `create_pr` avoid that.

    Under a launcher the process of rank 0 pushes.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            The dataset.
        repo_id (`str`):
            Name of the repository, `me/name`; made when it does not exist.
        recipe ([`ReasonDistiller`], another [`ColumnWriter`](hf_rare.writer.ColumnWriter), or `dict`, *optional*):
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
    api = huggingface_hub.HfApi(token=token, library_name="hf_rare")
    push = _Push(
        repository=Repository(api, repo_id, revision),
        splits=splits,
        config_name=config_name,
        append=append,
        create_pr=create_pr,
        recipe=make_recipe(recipe) if isinstance(recipe, ColumnWriter) else recipe,
        card_settings=card_settings,
    )
    with explain(repo_id, push.describe_state):
        push.repository.open(private)
        push.upload(convert_file_size_to_int(max_shard_size), embed_external_files)
        return push.commit(
            commit_message or f"{'Add rows to' if append else 'Push'} {', '.join(splits)} of {config_name}"
        )


@dataclass
class _Push:
    """One push, with what does not change between its tries."""

    repository: Repository
    splits: dict[str, datasets.Dataset]
    config_name: str
    append: bool
    create_pr: bool
    recipe: Recipe | None
    card_settings: dict[str, Any]
    shards: dict[str, _Split] = field(default_factory=dict)
    committed_shards: int = 0

    def describe_state(self) -> str:
        """Say what is on the Hub when this push fails."""
        if self.repository.is_in_doubt and self.create_pr:
            return (
                "Its commit was sent, and whether it arrived is not known; look at the pull requests before you push "
                "again, which opens another one."
            )
        if self.repository.is_in_doubt:
            return (
                "Its commit was sent, and whether it arrived is not known; pushing the same again completes it, and "
                "makes no second commit."
            )
        if not self.committed_shards:
            return "Nothing of this push is visible on the Hub."
        return (
            f"{self.committed_shards} of its shards are on the Hub, its card and the others are not; "
            "another push completes it."
        )

    def upload(self, max_bytes: int, embed_external_files: bool) -> None:
        """Upload the shards that the repository does not have; they belong to nothing yet."""
        head = self.repository.read_head()
        for name, dataset in self.splits.items():
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
                self.repository.api.preupload_lfs_files(
                    self.repository.repo_id,
                    [addition],
                    repo_type="dataset",
                    revision=self.repository.revision,
                    create_pr=self.create_pr,
                )
                split.additions[path] = addition

    def commit(self, message: str) -> PushResult:
        """Commit what was uploaded, the card and the recipe on the head, and again on a new head when it has moved."""
        repository, pull_request = self.repository, None
        for attempt in range(MAX_TRIES):
            head = repository.read_head()
            uploaded = [split.additions for split in self.shards.values()]
            additions = [addition for part in uploaded for path, addition in part.items() if path not in head.files]
            while len(additions) > MAX_FILES_PER_COMMIT:
                first, additions = additions[:MAX_FILES_PER_COMMIT], additions[MAX_FILES_PER_COMMIT:]
                info = repository.commit(first, head, f"{message} (shards)", self.create_pr and pull_request is None)
                if info is None:
                    break
                self.committed_shards += len(first)
                head = Head(info.oid, head.files)
                if self.create_pr and pull_request is None:
                    pull_request, repository.revision = info.pr_url, info.pr_revision
            else:
                operations = [*additions, *self._deletions(head), *self._documents(head)]
                if not operations:
                    return PushResult(repository.commit_url(head.oid), head.oid, pull_request, has_changed=False)
                info = repository.commit(operations, head, message, self.create_pr and pull_request is None)
                if info is not None:
                    return PushResult(info.commit_url, info.oid, pull_request or info.pr_url)
            logger.info("Someone else has committed to %s; trying again on what they have left.", repository.repo_id)
            time.sleep(commits.RETRY_SECONDS * attempt)
        raise HubError(
            f"{repository.repo_id}: it was committed to by others {MAX_TRIES} times while this push was under way. "
            f"{self.describe_state()} Push again: no shard is uploaded twice."
        )

    def _documents(self, head: Head) -> list[CommitOperationAdd]:
        """Make card, recipe and plot as they must be on `head`; what is there already in these words is left out."""
        card, documents = self._describe(head) if self.append else self._description
        existing = self.repository.read_text(head, "README.md") if "README.md" in head.files else ""
        documents = documents | {"README.md": merge_cards(existing, card).encode()}
        return [CommitOperationAdd(*document) for document in documents.items() if not head.has(*document)]

    @cached_property
    def _description(self) -> tuple[str, dict[str, bytes]]:
        """What is said of rows that do not depend on those that are there."""
        return self._describe(None)

    def _describe(self, head: Head | None) -> tuple[str, dict[str, bytes]]:
        """Give the card of this config, and recipe and plot by path."""
        whole = {name: self._whole_split(head, name) for name in self.splits} if head else self.splits
        documents: dict[str, bytes] = {}
        plot_path = f"assets/{self.config_name}.png"
        with contextlib.suppress(ColumnError, MissingPackageError):  # nothing to plot, or nothing to plot with
            documents[plot_path] = plot_statistics(datasets.DatasetDict(whole), self._output_column)
        if self.recipe is not None:
            recipe = self.recipe | {"command": hide_tokens(str(self.recipe.get("command") or "")) or None}
            text = json.dumps(recipe, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
            documents[recipe_path(self.config_name)] = text.encode()
        card = build_card(
            datasets.DatasetDict(whole),
            self.recipe,
            repo_id=self.repository.repo_id,
            config_name=self.config_name,
            splits={
                name: datasets.SplitInfo(name, num_bytes=count_bytes(split), num_examples=len(split))
                for name, split in whole.items()
            },
            data_files={name: f"{self._folder}/{name}-*" for name in whole},
            plot_path=plot_path if plot_path in documents else None,
            recipe_path=recipe_path(self.config_name) if self.recipe is not None else None,
            **self.card_settings,
        )
        return card, documents

    def _whole_split(self, head: Head, name: str) -> datasets.Dataset:
        """Give the rows of a split after they were appended to those that are there, which are downloaded."""
        new = self.splits[name]
        if not (paths := self._other_files(head, name)):
            return new
        files = [f"hf://datasets/{self.repository.repo_id}@{head.oid}/{path}" for path in paths]
        existing = datasets.load_dataset("parquet", data_files=files, split="train", token=self.repository.api.token)
        if existing.features != new.features:
            raise ConfigError(
                f"The rows cannot be appended to split {name!r}, which has other columns: {existing.features} there, "
                f"{new.features} here."
            )
        return datasets.concatenate_datasets([existing, new])

    @property
    def _output_column(self) -> str:
        return str((self.recipe or {}).get("distill", {}).get("output_column", "reasoning"))

    @property
    def _folder(self) -> str:
        return "data" if self.config_name == "default" else self.config_name

    def _own_files(self, head: Head, split: str) -> list[str]:
        pattern = re.compile(rf"{re.escape(self._folder)}/{re.escape(split)}-\d+-[\w-]+\.parquet")
        return sorted(path for path in head.files if pattern.fullmatch(path))

    def _other_files(self, head: Head, split: str) -> list[str]:
        """List the shards of a split that are there and not from this push."""
        return [path for path in self._own_files(head, split) if path not in self.shards[split].paths]

    def _deletions(self, head: Head) -> list[CommitOperationDelete]:
        """Delete the shards that this push replaces."""
        if self.append:
            return []
        return [CommitOperationDelete(path) for name in self.shards for path in self._other_files(head, name)]


def _check_names(config_name: str, splits: Mapping[str, datasets.Dataset]) -> None:
    for kind, name in (("config_name", config_name), *(("split", split) for split in splits)):
        if not re.fullmatch(r"[A-Za-z0-9][\w.]*" if kind == "split" else r"[A-Za-z0-9][\w.-]*", name):
            raise ConfigError(f"{kind}={name!r} cannot be used: expected letters, digits and underscores.")
    first, *others = splits.values()
    if any(other.features != first.features for other in others):
        raise ConfigError("The splits of a config must have equal columns.")
