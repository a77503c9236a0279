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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import huggingface_hub
from datasets.utils.py_utils import convert_file_size_to_int
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from hf_rare.compat.datasets import read_info
from hf_rare.errors import ColumnError, ConfigError, HubError, MissingPackageError
from hf_rare.hub.card import provenance
from hf_rare.hub.card.build import build_card
from hf_rare.hub.card.header import (
    Header,
    configs_by_name,
    describe_files,
    dump_header,
    line_end_of,
    merge_headers,
    read_header,
    split_header,
)
from hf_rare.hub.card.merge import merge_cards
from hf_rare.hub.layout import Layout, check_owner, find_splits, read_layout, select_files
from hf_rare.hub.repository import MAX_TRIES, Head, Repository
from hf_rare.hub.shards import count_bytes, iterate_shards
from hf_rare.hub_errors import explain
from hf_rare.text import hide_tokens
from hf_rare.views.plots import plot_statistics
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.recipe import Recipe, make_recipe, recipe_path

logger = logging.getLogger(__name__)

MAX_FILES_PER_COMMIT = 1000
"""Shards of one commit; more are committed before the card.

They are uploaded already, so that a commit only names them. huggingface_hub itself commits up to 1,000 files at once
(`COMMIT_SIZE_SCALE`), and the Hub refuses more than 25,000 (docstring of `HfApi.create_commit`). Its documentation
advises fewer than 100, which would split pushes that can be one commit.
"""


SPLIT = r"[A-Za-z0-9][\w.]*"
"""Names of splits."""


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
    The card describes the whole config: where that has further rows, they are downloaded to be counted. Shards whose
    content the repository has already are not uploaded again, and where nothing has changed there is no commit. More
    than 1,000 new shards take several commits, of which the last brings the card: until then, readers of a split that
    was there before see new shards beside the old ones. Larger shards, another `config_name` or `create_pr` avoid
    that.

    Under a launcher the process of rank 0 pushes.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            The dataset.
        repo_id (`str`):
            Name of the repository, `me/name`; made when it does not exist.
        recipe ([`ReasonDistiller`], another [`ColumnWriter`], or `dict`, *optional*):
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
            Whether the rows are added to those that the split has. Their columns must be equal. A shard that the split
            has already is not added again, so that a push that failed can be tried again.
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
        self._check_columns(self._read_card(head)[1])
        for name, dataset in self.splits.items():
            split = self.shards[name] = _Split()
            there = self._own_files(head, name) if self.append else []
            if len(dataset) == 0 and there:
                continue
            by_content = {head.files[path]: path for path in there}
            for number, shard in enumerate(iterate_shards(dataset, max_bytes, embed_external_files), len(there)):
                path = f"{self._folder}/{name}-{number:05}-{shard.sha256[:8]}.parquet"
                path = by_content.get(shard.sha256, path)
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
            repository.wait(attempt)
        raise HubError(
            f"{repository.repo_id}: it was committed to by others {MAX_TRIES} times while this push was under way. "
            f"{self.describe_state()} Push again: no shard is uploaded twice."
        )

    def _documents(self, head: Head) -> list[CommitOperationAdd | CommitOperationDelete]:
        """Make card, recipe and plot as they must be on `head`; what is there already in these words is left out."""
        existing, header = self._read_card(head)
        self._check_columns(header)
        layout = read_layout(header)
        self._check_files(head, layout)
        kept = self._kept_files(head, layout.get(self.config_name, {}))
        whole = {name: self._whole_split(head, name, files) for name, files in kept.items()}
        is_new = not any(kept.values())
        recipe, is_of_all = (self.recipe, True) if is_new else self._choose_recipe(head, existing)
        card, documents = self._describe(whole, recipe, is_of_all)
        documents = documents | {"README.md": merge_cards(existing, card).encode()}
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(*document) for document in documents.items() if not head.has(*document)
        ]
        path = recipe_path(self.config_name)
        if self.recipe is None and is_new and path in head.files:  # it is not the recipe of these rows
            operations.append(CommitOperationDelete(path))
        return operations

    def _read_card(self, head: Head) -> tuple[str, Header]:
        """Read the card, with the splits in its header that it does not name and that are there all the same."""
        card = self.repository.read_text(head, "README.md") if "README.md" in head.files else ""
        text, body = split_header(card)
        header = read_header(text)
        if not header.get("configs"):
            splits = find_splits(self.repository.repo_id, head.oid, head.files, self.repository.api.token)
            if splits:
                found = describe_files("default", splits)
                line_end = line_end_of(card)
                text = merge_headers(text, dump_header(found))
                card, header = f"---{line_end}{text}---{line_end}{body}", {**header, **found}
        return card, header

    def _check_columns(self, header: Header) -> None:
        """Raise `ConfigError` where the config would have splits with different columns afterwards."""
        info = configs_by_name(header.get("dataset_info"), "dataset_info").get(self.config_name, {})
        others = [str(split.get("name")) for split in info.get("splits") or [] if split.get("name") not in self.splits]
        if not others or not info.get("features"):
            return
        self._check_equal(others[0], read_info(info).features)

    def _check_equal(self, name: str, there: datasets.Features | None) -> None:
        here = next(iter(self.splits.values())).features
        if there != here:
            raise ConfigError(
                f"Split {name!r} of config {self.config_name!r} has other columns: {there} there, {here} here. Push "
                "all splits of the config together as a DatasetDict, or pass another config_name."
            )

    def _check_files(self, head: Head, layout: Layout) -> None:
        """Raise `ConfigError` where files of this push do not go with those that are there."""
        changed = [path for split in self.shards.values() for path in split.paths]
        changed += [operation.path_in_repo for operation in self._deletions(head)]
        check_owner(layout, self.config_name, self.splits, changed)
        for name, patterns in layout.get(self.config_name, {}).items():
            if not name:
                raise ConfigError(
                    f"The card's config {self.config_name!r} names a folder and no splits. Write `data_files` with "
                    "the files of each split into the YAML header of the card, or pass another config_name."
                )
            files = select_files(patterns, head.files)
            others = [path for path in files if path not in self._own_files(head, name)]
            if self.append and name in self.splits and others:
                raise ConfigError(
                    f"Rows cannot be appended to split {name!r}, which has files that hf_rare did not write: "
                    f"{others[0]}. Load the split, concatenate the rows and push the whole."
                )
            if name not in self.splits and (others := [path for path in files if not path.endswith(".parquet")]):
                raise ConfigError(
                    f"Config {self.config_name!r} has split {name!r} in {others[0]}, and `datasets` reads files of "
                    "one kind only. Push all its splits together as a DatasetDict, or pass another config_name."
                )

    def _describe(
        self, whole: Mapping[str, datasets.Dataset], recipe: Recipe | None, is_of_all: bool
    ) -> tuple[str, dict[str, bytes]]:
        """Give the card of the whole config with its recipe, and recipe and plot by path."""
        documents: dict[str, bytes] = {}
        plot_path = f"assets/{self.config_name}.png"
        with contextlib.suppress(ColumnError, MissingPackageError):  # nothing to plot, or nothing to plot with
            documents[plot_path] = plot_statistics(datasets.DatasetDict(whole), self._output_column)
        if self.recipe is not None:
            hidden = self.recipe | {"command": hide_tokens(str(self.recipe.get("command") or "")) or None}
            text = json.dumps(hidden, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
            documents[recipe_path(self.config_name)] = text.encode()
        card = build_card(
            datasets.DatasetDict(whole),
            recipe,
            repo_id=self.repository.repo_id,
            config_name=self.config_name,
            splits={
                name: datasets.SplitInfo(name, num_bytes=count_bytes(split), num_examples=len(split))
                for name, split in whole.items()
            },
            data_files={name: f"{self._folder}/{name}-*" for name in self.splits},
            plot_path=plot_path if plot_path in documents else None,
            recipe_path=recipe_path(self.config_name) if recipe is not None else None,
            recipe_is_of_all_rows=is_of_all,
            **self.card_settings,
        )
        return card, documents

    def _choose_recipe(self, head: Head, existing_card: str) -> tuple[Recipe | None, bool]:
        """Give the recipe that a card with rows from other pushes speaks of, and whether all rows were made by it."""
        path, existing = recipe_path(self.config_name), None
        if path in head.files:
            with contextlib.suppress(ValueError):
                existing = json.loads(self.repository.read_text(head, path))
        if self.recipe is None:
            return existing, existing is None
        is_same = isinstance(existing, dict) and _settings_of(existing) == _settings_of(self.recipe)
        return self.recipe, is_same and provenance.OTHER_ROWS not in existing_card

    def _whole_split(self, head: Head, name: str, kept: Sequence[str]) -> datasets.Dataset:
        """Give the rows of a split as it will be, with those in files that stay, which are downloaded."""
        new = self.splits.get(name)
        if not kept and new is not None:
            return new
        files = [f"hf://datasets/{self.repository.repo_id}@{head.oid}/{path}" for path in kept]
        existing = datasets.load_dataset("parquet", data_files=files, split="train", token=self.repository.api.token)
        self._check_equal(name, existing.features)
        return existing if new is None else datasets.concatenate_datasets([existing, new])

    def _kept_files(self, head: Head, splits: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """List the files of this config that stay as they are: for each split, in order; none where all are new."""
        kept: dict[str, list[str]] = {name: select_files(patterns, head.files) for name, patterns in splits.items()}
        pushed = {name: self._other_files(head, name) if self.append else [] for name in self.splits}
        return {name: files for name, files in (kept | pushed).items() if files or name in pushed}

    @property
    def _output_column(self) -> str:
        return str(provenance.part(self.recipe, "distill").get("output_column", "reasoning"))

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


def _settings_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Give what of a recipe changes the rows."""
    return {name: value for name, value in recipe.items() if name not in ("command", "versions")}


def _check_names(config_name: str, splits: Mapping[str, datasets.Dataset]) -> None:
    for kind, name in (("config_name", config_name), *(("split", split) for split in splits)):
        if not re.fullmatch(SPLIT if kind == "split" else r"[A-Za-z0-9][\w.-]*", name):
            raise ConfigError(f"{kind}={name!r} cannot be used: expected letters, digits and underscores.")
    if config_name == "data":
        raise ConfigError("config_name='data' cannot be used: the folder data/ is that of config 'default'.")
    first, *others = splits.values()
    if any(other.features != first.features for other in others):
        raise ConfigError("The splits of a config must have equal columns.")
