"""A dataset to the Hub in one commit: parquet shards, card, recipe and plot, on a parent that is pinned.

Shards are uploaded first and belong to nothing; then one commit makes them, the card and the recipe visible together.
When someone else has committed meanwhile, the commit is made again on what they have left. When its answer is lost, it
is looked for before it is tried again. So a repository is either as it was or complete.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import datasets
import huggingface_hub
from datasets.utils.py_utils import convert_file_size_to_int
from huggingface_hub import CommitOperationAdd

from hf_rare.compat.huggingface_hub import is_ignored
from hf_rare.errors import ConfigError, HubError
from hf_rare.hub.pushed_config import PushedConfig
from hf_rare.hub.repository import MAX_TRIES, Head, Repository
from hf_rare.hub.shards import iterate_shards
from hf_rare.hub_errors import check_token, explain
from hf_rare.runs.team import is_first_process
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.recipe import make_recipe
from hf_rare.writers.recipe_checks import Recipe

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
        >>> result = push_to_hub(ds, "me/rare-medicine", recipe=distill_fn, license="cc-by-4.0", language="en")
    """
    if not is_first_process():
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
    check_token(token)
    api = huggingface_hub.HfApi(token=token, library_name="hf_rare")
    config = PushedConfig(
        repository=Repository(api, repo_id, revision),
        splits=splits,
        name=config_name,
        append=append,
        recipe=make_recipe(recipe) if isinstance(recipe, ColumnWriter) else recipe,
        card_settings=card_settings,
    )
    push = _Push(config, create_pr)
    with explain(repo_id, push.describe_state):
        push.repository.open(private)
        push.upload(convert_file_size_to_int(max_shard_size), embed_external_files)
        return push.commit(
            commit_message or f"{'Add rows to' if append else 'Push'} {', '.join(splits)} of {config_name}"
        )


@dataclass
class _Push:
    """One push, with what does not change between its tries."""

    config: PushedConfig
    create_pr: bool
    shards: dict[str, _Split] = field(default_factory=dict)
    committed_shards: int = 0

    @property
    def repository(self) -> Repository:
        """Where to."""
        return self.config.repository

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
        self.config.check_features(head)
        for name, dataset in self.config.splits.items():
            split = self.shards[name] = _Split()
            there = self.config.own_files(head, name) if self.config.append else []
            if len(dataset) == 0 and there:
                continue
            by_content = {head.files[path]: path for path in there}
            for number, shard in enumerate(iterate_shards(dataset, max_bytes, embed_external_files), len(there)):
                path = f"{self.config.folder}/{name}-{number:05}-{shard.sha256[:8]}.parquet"
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
                if is_ignored(addition):
                    raise HubError(
                        f"{self.repository.repo_id}: the Hub would leave out {path}, which a `.gitignore` in the "
                        f"repository names. {self.describe_state()} Remove that line there, and push again."
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
                repository.check_taken(info.oid, first, head)
                self.committed_shards += len(first)
                head = Head(info.oid, head.files)
                if self.create_pr and pull_request is None:
                    pull_request, repository.revision = info.pr_url, info.pr_revision
            else:
                paths = {name: split.paths for name, split in self.shards.items()}
                operations = [*additions, *self.config.deletions(head, paths), *self.config.documents(head, paths)]
                if not operations:
                    return PushResult(repository.commit_url(head.oid), head.oid, pull_request, has_changed=False)
                info = repository.commit(operations, head, message, self.create_pr and pull_request is None)
                if info is not None:
                    repository.check_taken(info.oid, operations, head)
                    return PushResult(info.commit_url, info.oid, pull_request or info.pr_url)
            logger.info("Someone else has committed to %s; trying again on what they have left.", repository.repo_id)
            repository.wait(attempt)
        raise HubError(
            f"{repository.repo_id}: it was committed to by others {MAX_TRIES} times while this push was under way. "
            f"{self.describe_state()} Push again: no shard is uploaded twice."
        )
