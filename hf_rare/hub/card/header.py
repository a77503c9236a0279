"""The YAML header of a dataset card: made for one config, and merged into the header of a card that is there already.

A person's words win: only what describes the data of the config is replaced, and lines of keys that do not change stay
as they were written. So keys are replaced by their lines: to write a header anew loses indents, spaces and line ends.
"""

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import datasets
import yaml
from datasets.data_files import sanitize_patterns
from fsspec.utils import glob_translate

from hf_rare.compat.datasets import describe_info
from hf_rare.errors import ConfigError, HfRareError
from hf_rare.settings.yaml import check_size
from hf_rare.text import in_one_line

HEADER = re.compile(r"\A\ufeff?\s*---(\r\n|\r|\n)(?:(.*?)(?:\r\n|\r|\n))??---[ \t]*(?:\r\n|\n|\Z)", re.DOTALL)
UNITED = ("tags", "base_model", "source_datasets")
"""Keys whose values are lists to which both cards add."""
SIZE_CATEGORIES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)

MAX_HEADER_CHARACTERS = 1_000_000
"""More than a header of thousands of configs has: what is larger would take minutes to read."""

Header = dict[str, Any]


@contextlib.contextmanager
def explaining_header() -> Iterator[None]:
    """Turn what a header makes other code raise, since its values are of other kinds, into `ConfigError`."""
    try:
        yield
    except HfRareError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as err:
        raise ConfigError(
            f"The YAML header of the card cannot be used: {type(err).__name__}: {err}. `configs` and `dataset_info` "
            "are what `datasets` writes, other keys are texts or lists of texts. Mend it, then try again."
        ) from err


def size_category(rows: int) -> str:
    """Return the Hub's name for a number of rows."""
    return next((name for limit, name in SIZE_CATEGORIES if rows < limit), "n>1B")


def describe_config(
    config_name: str,
    features: datasets.Features,
    splits: Mapping[str, Any],
    data_files: Mapping[str, str | Sequence[str]] | None = None,
) -> Header:
    """Return the keys `configs` (where files are known) and `dataset_info` for one config.

    Args:
        config_name (`str`): the config.
        features ([`~datasets.Features`]): its columns.
        splits (`Mapping[str, Any]`): by name of the split, something with `num_rows` (or `num_examples`) and, where it
            is known, `num_bytes`.
        data_files (`Mapping[str, str | Sequence[str]]`, *optional*): paths or patterns in the repository, by split.
    """
    sizes = []
    for name, split in splits.items():
        rows = split.num_examples if hasattr(split, "num_examples") else split.num_rows
        size = getattr(split, "num_bytes", None) or 0
        sizes.append({"name": str(name), "num_bytes": size, "num_examples": rows})
    info = datasets.DatasetInfo(
        features=features,
        splits=datasets.SplitDict.from_split_dict(sizes) if sizes else None,
        dataset_size=sum(split["num_bytes"] for split in sizes) or None,
    )
    # through YAML and back: plain values, none shared between two places
    described = yaml.safe_load(yaml.safe_dump(describe_info(info), sort_keys=False))
    described = {name: value for name, value in described.items() if value is not None}
    header: Header = {"dataset_info": {"config_name": config_name, **described}}
    return {**describe_files(config_name, data_files), **header} if data_files else header


def describe_files(config_name: str, data_files: Mapping[str, str | Sequence[str]]) -> Header:
    """Return the key `configs` for one config.

    Args:
        config_name (`str`): the config.
        data_files (`Mapping[str, str | Sequence[str]]`): paths or patterns in the repository, by split.
    """
    files = [{"split": name, "path": _plain_path(path)} for name, path in data_files.items()]
    return {"configs": [{"config_name": config_name, "data_files": files}]}


def dump_header(header: Header) -> str:
    """Return a header as YAML, with a line feed at its end."""
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=10_000) if header else ""


def line_end_of(text: str) -> str:
    """Return what ends most lines of a text."""
    return "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"


def split_header(card: str) -> tuple[str, str]:
    """Split a card into the text of its YAML header and all that follows it.

    Raises:
        ConfigError: A header begins and does not end.
    """
    match = HEADER.match(card)
    if match:
        return match[2] or "", card[match.end() :]
    if re.match(r"\A\ufeff?\s*---[ \t]*(\r|\n|\Z)", card):
        raise ConfigError("The card begins with '---' and its YAML header never ends. Close it with a line '---'.")
    return "", card


def read_header(text: str) -> Header:
    """Read the YAML header of a card.

    Raises:
        ConfigError: It is not YAML, or not names with values.
    """
    if len(text) > MAX_HEADER_CHARACTERS:
        raise ConfigError(
            f"The YAML header of the card has {len(text):,} characters; expected at most {MAX_HEADER_CHARACTERS:,}. "
            "Shorten it, then try again."
        )
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None:
            check_size(root)
        header = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as err:
        raise ConfigError(f"The YAML header of the card cannot be read. Mend it, then try again: {err}") from err
    if header is not None and not isinstance(header, dict):
        raise ConfigError(f"The YAML header of the card is a {type(header).__name__}; expected lines `name: value`.")
    counts = Counter(str(key.value) for key, _ in root.value) if root is not None else Counter()
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ConfigError(f"The YAML header of the card has {twice[0]!r} twice. Keep one of them.")
    return header or {}


def merge_headers(existing: str, new: str) -> str:
    """Merge the header of a card into the one that is there already.

    Args:
        existing (`str`): YAML of the card that is there.
        new (`str`): YAML of the new card.

    Returns:
        `str`: the YAML of both; lines of keys that do not change are as in `existing`.

    Raises:
        ConfigError: One of them cannot be read.
    """
    old, added = read_header(existing), read_header(new)
    merged = old | {name: value for name, value in added.items() if old.get(name) is None}
    for name in UNITED:
        if old.get(name) and added.get(name):
            merged[name] = _unite(old[name], added[name])
    merged |= _merge_data(old, added)
    changed = {name: value for name, value in merged.items() if name not in old or old[name] != value}
    united = {name: changed.pop(name) for name in UNITED if old.get(name) and name in changed}
    try:
        text = _replace_keys(existing, changed)
        for name, values in united.items():
            text = _extend_list(text, name, values)
        is_right = (yaml.safe_load(text) or {}) == merged
    except yaml.YAMLError:  # keys that share a line, or an anchor that is gone
        is_right = False
    return text if is_right else dump_header(merged)


def _merge_data(old: Header, new: Header) -> Header:
    """Merge what describes the data, config by config."""
    configs = configs_by_name(old.get("configs"), "configs")
    for name, config in configs_by_name(new.get("configs"), "configs").items():
        before = configs.get(name, {})
        files = _merge_named(_list_splits(before.get("data_files")), config.get("data_files"), "split")
        configs[name] = {**before, **config, **({"data_files": files} if files else {})}
    infos = configs_by_name(old.get("dataset_info"), "dataset_info")
    for name, info in configs_by_name(new.get("dataset_info"), "dataset_info").items():
        before = infos.get(name, {})
        splits = _merge_named(before.get("splits"), info.get("splits"), "name")
        infos[name] = {**info, **({"splits": splits} if splits else {})}
        if splits != info.get("splits"):  # files of other splits count too, and how large they are is not known here
            infos[name].pop("download_size", None)
            infos[name]["dataset_size"] = sum(split.get("num_bytes") or 0 for split in splits)
    if len(infos) > 1:  # a dict alone need not say that it is the default one
        infos = {name: {"config_name": name, **info} for name, info in infos.items()}
    merged: Header = {}
    if configs:
        merged["configs"] = list(configs.values())
    if infos:
        merged["dataset_info"] = list(infos.values()) if len(infos) > 1 else next(iter(infos.values()))
    rows = [split.get("num_examples") for info in infos.values() for split in info.get("splits") or []]
    if rows and None not in rows and set(configs) <= set(infos):
        merged["size_categories"] = [size_category(sum(rows))]
        if old.get("size_categories") in merged["size_categories"]:  # one word means the same as a list of one
            merged["size_categories"] = old["size_categories"]
    elif "size_categories" in old:
        merged["size_categories"] = old["size_categories"]
    return merged


def configs_by_name(entries: Any, key: str) -> dict[str, Header]:
    """Return entries of configs by name, from a list or, where there is one alone, from a dict.

    Args:
        entries: what the header has under `key`.
        key (`str`): `configs` or `dataset_info`.

    Raises:
        ConfigError: They are neither.
    """
    if entries is None:
        return {}
    listed = [entries] if isinstance(entries, dict) else entries
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ConfigError(f"{key!r} in the YAML header of the card is neither a dict nor a list of dicts. Mend it.")
    return {str(entry.get("config_name", "default")): dict(entry) for entry in listed}


def patterns_by_split(data_files: Any) -> dict[str, list[str]]:
    """Return the patterns of a config's files by split, in whatever way a header names them.

    Raises:
        ConfigError: No way that `datasets` knows.
    """
    try:
        patterns = {split: list(paths) for split, paths in sanitize_patterns(data_files or {}).items()}
    except (ValueError, TypeError) as err:
        reason = in_one_line(err)
        raise ConfigError(f"'data_files' in the YAML header of the card cannot be read: {reason}. Mend it.") from err
    for path in itertools.chain.from_iterable(patterns.values()):
        try:
            glob_translate(path)
        except (ValueError, TypeError) as err:
            raise ConfigError(f"'data_files' in the YAML header of the card names {path!r} ({err}). Mend it.") from err
    return patterns


def _list_splits(data_files: Any) -> Any:
    """Return files as a list by split; as they are where they are such a list."""
    if isinstance(data_files, list) and all(isinstance(entry, dict) for entry in data_files):
        return data_files
    return [{"split": split, "path": paths} for split, paths in patterns_by_split(data_files).items()]


def _merge_named(old: Any, new: Any, key: str) -> Any:
    """Merge two lists of dicts by the value of `key`: the new ones win, in the place of the old ones."""
    if not new:
        return old
    is_mergeable = isinstance(old, list) and all(isinstance(entry, dict) and key in entry for entry in old)
    entries = {entry[key]: entry for entry in (old if is_mergeable else [])}
    return list((entries | {entry[key]: entry for entry in new}).values())


def _unite(old: Any, new: Any) -> Any:
    first, second = (list(value) if isinstance(value, list) else [value] if value else [] for value in (old, new))
    more = [value for value in second if value not in first]
    return [*first, *more] if more else old


def _extend_list(text: str, name: str, values: Sequence[Any]) -> str:
    """Write further values at the end of a list, or behind the one value that is there; these stay as written."""
    root = yaml.compose(text)
    node = next((value for key, value in root.value if key.value == name), None) if root is not None else None
    if node is None:
        return text
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    new = [dump_header({"": [value]}).split("- ", 1)[1].rstrip("\n") for value in values[len(items) :]]
    end, line_end = items[-1].end_mark.index, line_end_of(text)
    if isinstance(node, yaml.SequenceNode) and node.flow_style:
        return text[:end] + "".join(f", {value}" for value in new) + text[end:]
    if isinstance(node, yaml.SequenceNode):
        line = text[: items[0].start_mark.index].rpartition("\n")[2]
        begin = line if line.strip() == "-" else "- "
    else:
        before, rest = f"{text[: node.start_mark.index].rstrip()}{line_end}- ", text[node.start_mark.index :]
        end, text, begin = end + len(before) - node.start_mark.index, before + rest, "- "
    end = text.find("\n", end - 1)
    lines = "".join(f"{begin}{value}{line_end}" for value in new)
    return text[: end + 1] + lines + text[end + 1 :] if end >= 0 else f"{text}{line_end}{lines}"


def _plain_path(path: str | Sequence[str]) -> str | list[str]:
    return path if isinstance(path, str) else list(path)


def _replace_keys(text: str, changed: Header) -> str:
    """Write changed keys in the place of the old ones, or at the end; all other lines stay as they are."""
    root = yaml.compose(text)
    line_end = line_end_of(text)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith(("\r", "\n")):
        lines[-1] += line_end
    dumped = {name: dump_header({name: value}).replace("\n", line_end) for name, value in changed.items()}
    if root is not None and root.value:
        starts = [key.start_mark.line for key, _ in root.value]
        ends = [*starts[1:], len(lines)]
        for (key, _), start, end in reversed(list(zip(root.value, starts, ends, strict=True))):
            while end > start + 1 and re.match(r"\s*(#.*)?$", lines[end - 1]):
                end -= 1  # comments and empty lines in front of the next key
            if key.value in dumped:
                lines[start:end] = [dumped.pop(key.value)]
    return "".join([*lines, *dumped.values()])
