"""Which files of a dataset repository are which split of which config: as its card says, or as `datasets` finds."""

import re
from collections.abc import Iterable
from typing import Any

import datasets
from datasets.data_files import EmptyDatasetError, get_data_patterns
from fsspec.utils import glob_translate

from hf_rare.errors import ConfigError
from hf_rare.hub.card.header import Header, configs_by_name, patterns_by_split

DATA_FILE = re.compile(r".*\.(parquet|arrow|jsonl?|csv|tsv|txt)(\.\w+)?")
"""Files that `datasets` takes for rows where a card does not name any."""

Patterns = dict[str, dict[str, list[str]]]
"""Patterns of files by config and split."""


def read_layout(header: Header) -> Patterns:
    """Read which files belong to which split from the header of a card.

    A config that names a folder and no splits has one split without a name.

    Raises:
        ConfigError: What the header says of its configs cannot be read.
    """
    layout: Patterns = {}
    for name, config in configs_by_name(header.get("configs"), "configs").items():
        layout[name] = patterns_by_split(config.get("data_files"))
        if config.get("data_dir"):
            folder = str(config["data_dir"]).strip("/")
            splits = layout[name] or {"": ["**"]}
            layout[name] = {split: [f"{folder}/{path}" for path in paths] for split, paths in splits.items()}
    return layout


def find_splits(repo_id: str, oid: str, files: Iterable[str], token: Any = None) -> dict[str, list[str]]:
    """Find the splits of a repository whose card names no files, as `datasets` does when it loads one.

    Args:
        repo_id (`str`): the repository.
        oid (`str`): the commit.
        files (`Iterable[str]`): its files.
        token (`str` or `bool`, *optional*): token for the Hub.

    Returns:
        `dict[str, list[str]]`: the files of each split; empty where there are no rows.
    """
    data = [path for path in files if DATA_FILE.fullmatch(path)]
    if not data:
        return {}
    try:
        patterns = get_data_patterns(f"hf://datasets/{repo_id}@{oid}", datasets.DownloadConfig(token=token))
    except EmptyDatasetError:
        return {}
    found = {str(split): select_files(paths, data) for split, paths in patterns.items()}
    return {split: paths for split, paths in found.items() if paths}


def select_files(patterns: Iterable[str], files: Iterable[str]) -> list[str]:
    """Select the files that one of some patterns stands for."""
    expressions = [re.compile(glob_translate(pattern)) for pattern in patterns]
    return sorted(path for path in files if any(expression.fullmatch(path) for expression in expressions))


def check_owner(layout: Patterns, config_name: str, splits: Iterable[str], paths: Iterable[str]) -> None:
    """Check that files are of no other split than those that are pushed.

    Args:
        layout (`dict`): the patterns of the repository, by config and split.
        config_name (`str`): the config that is pushed.
        splits (`Iterable[str]`): its splits that are pushed.
        paths (`Iterable[str]`): files that are written or deleted.

    Raises:
        ConfigError: One of them is of another split or config.
    """
    pushed, paths = {(config_name, split) for split in splits}, list(paths)
    for name, patterns in layout.items():
        for split, own in patterns.items():
            if (name, split) not in pushed and (shared := select_files(own, paths)):
                raise ConfigError(
                    f"{shared[0]} would be read as split {split!r} of config {name!r} too, whose files are "
                    f"{', '.join(own)}. Pass another config_name, or change `configs` in the header of the card."
                )
