"""A config of a dataset repository as a push leaves it: which files stay and go, its card, recipe and picture."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from hf_rare.compat.datasets import read_info
from hf_rare.errors import ColumnError, ConfigError, MissingPackageError
from hf_rare.hub.card import provenance
from hf_rare.hub.card.build import build_card
from hf_rare.hub.card.header import (
    Header,
    configs_by_name,
    describe_files,
    dump_header,
    explaining_header,
    line_end_of,
    merge_headers,
    read_header,
    split_header,
)
from hf_rare.hub.card.merge import merge_cards
from hf_rare.hub.layout import Patterns, check_owner, find_splits, read_layout, select_files
from hf_rare.hub.repository import Head, Repository
from hf_rare.hub.shards import count_bytes
from hf_rare.text import hide_tokens
from hf_rare.views.plots import plot_statistics
from hf_rare.writers.recipe import recipe_path
from hf_rare.writers.recipe_checks import Recipe

SPLIT = r"[A-Za-z0-9]\w*(\.\w+)*"
"""Names of splits that `datasets` can read back (`datasets.naming`), and that begin like a word."""

Shards = Mapping[str, Sequence[str]]
"""Paths of the shards of a push, by split."""


@dataclass(frozen=True)
class PushedConfig:
    """A config that is pushed.

    Args:
        repository ([`Repository`]): where to.
        splits (`dict[str, Dataset]`): the rows that are pushed, by split.
        name (`str`): its name.
        append (`bool`): whether the rows are added to those that the splits have.
        recipe (`dict`, *optional*): what made them.
        card_settings (`dict[str, Any]`): settings of [`build_card`].

    Raises:
        ConfigError: A name cannot be used, or the splits have different columns.
    """

    repository: Repository
    splits: dict[str, datasets.Dataset]
    name: str
    append: bool
    recipe: Recipe | None
    card_settings: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.splits:
            raise ConfigError("The dataset has no splits, so that there is nothing to push.")
        for kind, name in (("config_name", self.name), *(("split", split) for split in self.splits)):
            if not re.fullmatch(SPLIT if kind == "split" else r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
                raise ConfigError(f"{kind}={name!r} cannot be used: expected letters, digits and underscores.")
            if kind == "split" and name.lower() == "all":
                raise ConfigError(
                    f"split={name!r} cannot be used: `datasets` means all splits of a dataset by it, and would not "
                    "load the repository any more. Give it another name."
                )
        if self.name == "data":
            raise ConfigError("config_name='data' cannot be used: the folder data/ is that of config 'default'.")
        first, *others = self.splits.values()
        if any(other.features != first.features for other in others):
            raise ConfigError("The splits of a config must have equal columns.")

    @property
    def folder(self) -> str:
        """The folder of its shards."""
        return "data" if self.name == "default" else self.name

    def own_files(self, head: Head, split: str) -> list[str]:
        """List the shards of a split that are there."""
        pattern = re.compile(rf"{re.escape(self.folder)}/{re.escape(split)}-\d+-[\w-]+\.parquet")
        return sorted(path for path in head.files if pattern.fullmatch(path))

    def deletions(self, head: Head, shards: Shards) -> list[CommitOperationDelete]:
        """Delete the shards that a push replaces."""
        if self.append:
            return []
        return [CommitOperationDelete(path) for name in shards for path in self._other_files(head, name, shards)]

    def check_features(self, head: Head) -> None:
        """Raise `ConfigError` where the config would have splits with different columns afterwards."""
        self._check_features(self._read_card(head)[1])

    def documents(self, head: Head, shards: Shards) -> list[CommitOperationAdd | CommitOperationDelete]:
        """Make card, recipe and plot as they must be on `head`; what is there already in these words is left out."""
        existing, header = self._read_card(head)
        self._check_features(header)
        with explaining_header():
            layout = read_layout(header)
        self._check_files(head, layout, shards)
        kept = self._kept_files(head, layout.get(self.name, {}), shards)
        whole = {name: self._whole_split(head, name, files) for name, files in kept.items()}
        is_new = not any(kept.values())
        recipe, is_of_all = (self.recipe, True) if is_new else self._choose_recipe(head, existing)
        card, documents = self._describe(whole, recipe, is_of_all)
        documents = documents | {"README.md": merge_cards(existing, card).encode()}
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(*document) for document in documents.items() if not head.has(*document)
        ]
        path = recipe_path(self.name)
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

    def _check_features(self, header: Header) -> None:
        """Raise `ConfigError` where the config would have splits with different columns afterwards."""
        with explaining_header():
            info = configs_by_name(header.get("dataset_info"), "dataset_info").get(self.name, {})
            names = [str(split.get("name")) for split in info.get("splits") or []]
            others = [name for name in names if name not in self.splits]
            if not others or not info.get("features"):
                return
            features = read_info(info).features
        self._check_equal(others[0], features)

    def _check_equal(self, name: str, there: datasets.Features | None) -> None:
        here = next(iter(self.splits.values())).features
        if there != here:
            raise ConfigError(
                f"Split {name!r} of config {self.name!r} has other columns: {there} there, {here} here. Push "
                "all splits of the config together as a DatasetDict, or pass another config_name."
            )

    def _check_files(self, head: Head, layout: Patterns, shards: Shards) -> None:
        """Raise `ConfigError` where files of this push do not go with those that are there."""
        changed = [path for paths in shards.values() for path in paths]
        changed += [operation.path_in_repo for operation in self.deletions(head, shards)]
        check_owner(layout, self.name, self.splits, changed)
        for name, patterns in layout.get(self.name, {}).items():
            if not name:
                raise ConfigError(
                    f"The card's config {self.name!r} names a folder and no splits. Write `data_files` with "
                    "the files of each split into the YAML header of the card, or pass another config_name."
                )
            files = select_files(patterns, head.files)
            others = [path for path in files if path not in self.own_files(head, name)]
            if self.append and name in self.splits and others:
                raise ConfigError(
                    f"Rows cannot be appended to split {name!r}, which has files that hf_rare did not write: "
                    f"{others[0]}. Load the split, concatenate the rows and push the whole."
                )
            if name not in self.splits and (others := [path for path in files if not path.endswith(".parquet")]):
                raise ConfigError(
                    f"Config {self.name!r} has split {name!r} in {others[0]}, and `datasets` reads files of "
                    "one kind only. Push all its splits together as a DatasetDict, or pass another config_name."
                )

    def _describe(
        self, whole: Mapping[str, datasets.Dataset], recipe: Recipe | None, is_of_all: bool
    ) -> tuple[str, dict[str, bytes]]:
        """Return the card of the whole config with its recipe, and recipe and plot by path."""
        documents: dict[str, bytes] = {}
        plot_path = f"assets/{self.name}.png"
        with contextlib.suppress(ColumnError, MissingPackageError):  # nothing to plot, or nothing to plot with
            documents[plot_path] = plot_statistics(datasets.DatasetDict(whole), self._output_column)
        if self.recipe is not None:
            hidden = self.recipe | {"command": hide_tokens(str(self.recipe.get("command") or "")) or None}
            text = json.dumps(hidden, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
            documents[recipe_path(self.name)] = text.encode()
        card = build_card(
            datasets.DatasetDict(whole),
            recipe,
            repo_id=self.repository.repo_id,
            config_name=self.name,
            splits={
                name: datasets.SplitInfo(name, num_bytes=count_bytes(split), num_examples=len(split))
                for name, split in whole.items()
            },
            data_files={name: f"{self.folder}/{name}-*" for name in self.splits},
            plot_path=plot_path if plot_path in documents else None,
            recipe_path=recipe_path(self.name) if recipe is not None else None,
            recipe_is_of_all_rows=is_of_all,
            **self.card_settings,
        )
        return card, documents

    def _choose_recipe(self, head: Head, existing_card: str) -> tuple[Recipe | None, bool]:
        """Return the recipe that a card with rows from other pushes speaks of, and whether it made all rows."""
        path, existing = recipe_path(self.name), None
        if path in head.files:
            with contextlib.suppress(ValueError, RecursionError):
                existing = json.loads(self.repository.read_text(head, path))
        if self.recipe is None:
            return existing, existing is None
        is_same = isinstance(existing, dict) and _settings_of(existing) == _settings_of(self.recipe)
        return self.recipe, is_same and provenance.OTHER_ROWS not in existing_card

    def _whole_split(self, head: Head, name: str, kept: Sequence[str]) -> datasets.Dataset:
        """Return the rows of a split as it will be, with those in files that stay, which are downloaded."""
        new = self.splits.get(name)
        if not kept and new is not None:
            return new
        files = [f"hf://datasets/{self.repository.repo_id}@{head.oid}/{path}" for path in kept]
        existing = datasets.load_dataset("parquet", data_files=files, split="train", token=self.repository.api.token)
        self._check_equal(name, existing.features)
        return existing if new is None else datasets.concatenate_datasets([existing, new])

    def _kept_files(self, head: Head, splits: Mapping[str, Sequence[str]], shards: Shards) -> dict[str, list[str]]:
        """List the files of this config that stay as they are: for each split, in order; none where all are new."""
        kept: dict[str, list[str]] = {name: select_files(patterns, head.files) for name, patterns in splits.items()}
        pushed = {name: self._other_files(head, name, shards) if self.append else [] for name in self.splits}
        return {name: files for name, files in (kept | pushed).items() if files or name in pushed}

    @property
    def _output_column(self) -> str:
        return str(provenance.part(self.recipe, "distill").get("output_column", "reasoning"))

    def _other_files(self, head: Head, split: str, shards: Shards) -> list[str]:
        """List the shards of a split that are there and not from this push."""
        return [path for path in self.own_files(head, split) if path not in shards[split]]


def _settings_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe changes the rows."""
    return {name: value for name, value in recipe.items() if name not in ("command", "versions")}
