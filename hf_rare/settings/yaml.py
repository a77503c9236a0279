"""YAML that means one thing: a key is a text and stands once, `no` is neither text nor boolean, a date is a text.

YAML 1.1, which PyYAML reads, takes `no` for false, `012` for ten, `12:30:45` for 45,045 and `1e-3` for a text. Here
numbers and booleans are those of YAML 1.2's core schema, and words that are booleans to one of the two alone must be
written as what they are meant for.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from hf_rare.errors import ConfigError

_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class _Loader(yaml.SafeLoader):
    """Reads numbers and booleans as YAML 1.2 does, and refuses what is ambiguous."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Read a mapping, each key of which stands once and is a text."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands here a second time", key.start_mark
                    )
                seen.add(key.value)
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)

    def construct_word(self, node: yaml.ScalarNode) -> bool:
        """Read a boolean."""
        if node.value not in _BOOLEANS:
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value} is a text to some readers of YAML and true or false to others; write "
                f'"{node.value}" for the text, or true or false', node.start_mark,
            )  # fmt: skip
        return _BOOLEANS[node.value]

    def construct_number(self, node: yaml.ScalarNode) -> int:
        """Read a whole number."""
        return int(node.value, 0)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:true|True|TRUE|false|False|FALSE|[Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF)$"),
    list("tTfFyYnNoO"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:(?:\.[0-9]+|(?:0|[1-9][0-9_]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$"
        r"|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)
_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_word)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)


MAX_VALUES = 200_000
"""More than a file that people write has, those behind an alias counted each time that it stands there."""


def check_size(root: yaml.Node) -> None:
    """Check that YAML is no larger than it looks, before anything is made of it.

    Raises:
        ValueError: Its aliases multiply, or something holds itself.
    """
    if _count_nodes(root, {}) > MAX_VALUES:
        raise ValueError(f"its aliases make more than {MAX_VALUES:,} values of it")


def _count_nodes(node: yaml.Node, counts: dict[int, int]) -> int:
    """Count the values of YAML, those behind an alias each time that it stands there."""
    if counts.get(id(node)) == 0:
        raise ValueError("something in it holds itself")
    if id(node) not in counts:
        counts[id(node)] = 0
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        counts[id(node)] = 1 + sum(_count_nodes(part, counts) for part in inner)
    return counts[id(node)]


def read_yaml(path: str | Path, what: str) -> Any:
    """Read a YAML file.

    Args:
        path (`str` or `Path`):
            The file.
        what (`str`):
            What it is, for the message of an error.

    Raises:
        ConfigError: It cannot be read, or does not mean one thing.
    """
    try:
        return load_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ConfigError(f"{what} {path} cannot be read: {' '.join(str(err).split())}") from err


def load_yaml(text: str) -> Any:
    """Read YAML.

    Raises:
        ValueError: It is no YAML, or does not mean one thing; the message names the line.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        check_size(root)
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{err.problem or err.context}") from err
    except (yaml.YAMLError, ValueError, TypeError) as err:
        raise ValueError(str(err)) from err
    except RecursionError as err:
        raise ValueError("it is nested too deeply") from err
