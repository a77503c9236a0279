"""Flags of the command line that are made from the settings: the docstrings of the configs are their help."""

import argparse
import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docstring_parser

from hf_rare.cli.parser import Parser
from hf_rare.errors import ConfigError, DatasetFileError, OutputExistsError
from hf_rare.settings.base import Config
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.run import RunConfig
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.settings.vllm import VLLMConfig
from hf_rare.settings.writers import SHOWN_COLUMNS, DistillConfig
from hf_rare.settings.yaml import read_yaml

if TYPE_CHECKING:
    from hf_rare.pipeline.arrow_files import TextForm
    from hf_rare.pipeline.readers.cells import Kind

RARE = frozenset(
    (
        *("template_columns", "thought_tags", "answer_tags", "require_answer", "columns", "fallback", "keep_attempts"),
        *("options_column", "duplicate_threshold", "gguf_file", "max_memory", "offload_folder", "tp_plan"),
        *("attn_implementation", "adapter_revision", "trust_remote_code", "chat_template_kwargs"),
        *("continuous_batching", "repetition_detection", "engine_kwargs", "silence_timeout", "bill_to"),
        *("token_variable", "tokenizer", "stream", "read_timeout", "request_timeout", "max_retries", "send_seed"),
        *("extra_body", "requests_per_batch", "poll_seconds", "journal_sync", "journal_prompts", "retry_failed"),
        *("max_tries", "stall_timeout", "checkpoint_minutes", "share_rows", "rank_timeout", "max_batch_tokens"),
        *("tolerance", "document_words", "min_quote_tokens", "statuses"),
    )
)
"""Settings that most runs leave as they are: `--help-all` shows their flags."""

MODEL_GROUPS: dict[str, type[Config]] = {
    "model": ModelConfig,
    "generation": DecodingConfig,
    "vLLM, with --engine vllm": VLLMConfig,
    "endpoint, with --base-url or --provider": EndpointConfig,
    "journal, failures, limits and processes": RunConfig,
}


INPUT_FILES = (
    "a .json, .jsonl, .csv, .tsv, .xlsx or .parquet file (also packed, such as .jsonl.gz), a pattern in quotes "
    "such as 'data/*.jsonl', a folder of files, a saved dataset"
)
"""What a dataset on the disk may be."""


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add the dataset that is read."""
    parser.add_argument(
        "input",
        metavar="INPUT",
        help=f"{INPUT_FILES}, or a name on the Hub",
    )
    parser.add_argument(
        "--config-name", metavar="NAME", help="config of a dataset on the Hub, or sheet of a spreadsheet"
    )
    parser.add_argument("--split", help="split, or a part of it such as train[:100] (default: train)")
    add_text_form(parser)


def add_text_form(parser: argparse.ArgumentParser) -> None:
    """Add how a text file is written that is read."""
    parser.add_argument(
        "--delimiter", metavar="C", help="what stands between the cells of a CSV file, \\t for a tab (default: found)"
    )
    parser.add_argument("--encoding", metavar="NAME", help="encoding of a CSV or JSON file (default: utf-8)")


def read_text_form(arguments: argparse.Namespace, expected: "Mapping[str, Kind]") -> "TextForm":
    """Return how a text file is written, and which of its columns are lists.

    Raises:
        ConfigError: A flag cannot be right.
    """
    from hf_rare.pipeline.arrow_files import TextForm

    delimiter = "\t" if arguments.delimiter == "\\t" else arguments.delimiter
    return TextForm(delimiter, arguments.encoding, expected)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the dataset that is written."""
    parser.add_argument(
        "--output", "-o", required=True, type=Path, metavar="OUT", help=".parquet, .jsonl, or a folder"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")


def check_page(path: Path, overwrite: bool, inputs: Sequence[str]) -> None:
    """Find out before the work whether a file for people can be written.

    Raises:
        OutputExistsError: It exists, and is not to be replaced, or it is one of the inputs.
        DatasetFileError: It is a folder, or there is none for it.
    """
    from hf_rare.pipeline.outputs import check_apart

    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists already. Pass --overwrite, or another --output.")
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise DatasetFileError(f"{path} cannot be written: it is a folder, or there is none for it.")
    check_apart(path, inputs)


def write_page(text: str, path: Path) -> None:
    """Write a file for people.

    Raises:
        DatasetFileError: It cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise DatasetFileError(f"{path} cannot be written: {err}") from err


def add_settings(parser: Parser, groups: Mapping[str, type[Config]], leave_out: Collection[str] = ()) -> None:
    """Add a flag for every setting of some configs, in groups by title, and a file with settings."""
    parser.add_argument("--config", type=Path, metavar="YAML", help="file with settings by name")
    for title, config in groups.items():
        _add_group(parser, title, config, leave_out)
    parser.set_defaults(configs=tuple(groups.values()))


def _add_group(parser: Parser, title: str, config: type[Config], leave_out: Collection[str]) -> None:
    """Add a flag for every setting of a config but some.

    Its docstring, and those of the configs it extends, give the help: the first sentence in short, all with
    `--help-all`.
    """
    group = parser.add_argument_group(title)
    docs: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        docs |= {
            param.arg_name: param.description or "" for param in docstring_parser.parse(kind.__doc__ or "").params
        }
    kinds = typing.get_type_hints(config)
    for setting in dataclasses.fields(config):
        if setting.name in leave_out:
            continue
        names = [f"--{setting.name.replace('_', '-')}"]
        if setting.name == "model_id":
            names.insert(0, "--model")
        text = " ".join(re.sub(r"`|\[(?=`)|(?<=`)\]", "", docs[setting.name]).split())
        default = ""
        if isinstance(setting.default, str | int | float) and setting.default is not False:
            default = f" (default: {setting.default})".replace("%", "%%")
        text = text.replace("%", "%%")
        short = re.split(r"(?<=[.;]) (?=[A-Z\"])", text, maxsplit=1)[0].rstrip(".;")
        action = group.add_argument(
            *names,
            dest=setting.name,
            default=argparse.SUPPRESS,
            help=text + default,
            **_flag_kwargs(kinds[setting.name]),
        )
        parser.abridge(action, None if setting.name in RARE else short + default)


def _flag_kwargs(kind: Any) -> dict[str, Any]:
    members = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if typing.get_origin(kind) is typing.Literal:
        return {"choices": typing.get_args(kind)}
    if bool in members:
        return {"action": argparse.BooleanOptionalAction}
    if kind == tuple[str, str]:
        return {"nargs": 2, "metavar": ("OPENING", "CLOSING")}
    origins = [typing.get_origin(member) or member for member in members]
    if tuple in origins and str in origins:
        return NAMES | {"type": partial(_or_none, json_or_text)} if type(None) in members else NAMES
    if tuple in origins:
        return {"nargs": "+", "metavar": "NAME"}
    parsers: dict[type, tuple[str, Callable[[str], Any]]] = {
        dict: ("JSON", json_or_text),
        float: ("X", float),
        int: ("N", int),
        str: ("TEXT", str),
    }
    metavar, parse = next(parsers[member] for member in parsers if member in origins)
    return {"metavar": metavar, "type": partial(_or_none, parse) if type(None) in members else parse}


def add_shown_columns(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add flags for the columns of rows that are shown, which may be none where a distiller's may."""
    kinds = typing.get_type_hints(DistillConfig)
    for name in SHOWN_COLUMNS:
        settings = {"default": argparse.SUPPRESS, "help": help_text, **_flag_kwargs(kinds[name]), "metavar": "NAME"}
        parser.add_argument(f"--{name.replace('_', '-')}", **settings)


class _OneOrMore(argparse.Action):
    """Stores one name as a text, and several as a list; a JSON list is one as it is."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, values[0] if len(values) == 1 else values)


def positive_int(text: str, least: int = 1) -> int:
    """Read a number of at least 1, or of at least `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a number of at least {least}, received {text!r}")
    return int(text)


def number_of_bytes(text: str) -> int:
    """Read a number of bytes, or a text such as 500MB or 2GiB."""
    from datasets.utils.py_utils import convert_file_size_to_int

    try:
        size = int(text) if text.isdecimal() else convert_file_size_to_int(text.upper())
    except ValueError:
        size = 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"expected a number of bytes, or a text such as 500MB, received {text!r}")
    return size


def _or_none(parse: Callable[[str], Any], text: str) -> Any:
    """Read a setting that may be None, which is written `none`."""
    return None if text.lower() == "none" else parse(text)


def json_or_text(text: str) -> Any:
    """Read a dict or list of JSON; anything else is a text, for settings that take either."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as err:
        raise argparse.ArgumentTypeError(f"not JSON ({err}): {text}") from err


NAMES: dict[str, Any] = {"action": _OneOrMore, "nargs": "+", "type": json_or_text, "metavar": "NAME"}
"""What a flag is that names a column or several."""


def read_settings(arguments: argparse.Namespace, needs_model: bool = True) -> dict[str, Any]:
    """Merge the settings of `--config` and of the flags; a flag wins.

    Raises:
        ConfigError: The file cannot be read, holds no settings, or names an unknown one; or a model is needed and none
            is named.
    """
    known = [name for config in arguments.configs for name in config.names()]
    known += ["batch_size"] if ModelConfig in arguments.configs else []
    settings: dict[str, Any] = {}
    if arguments.config is not None:
        loaded = read_yaml(arguments.config, "--config")
        if not isinstance(loaded, dict):
            raise ConfigError(f"--config {arguments.config} holds no settings: expected lines like `seed: 1`.")
        settings = {("model_id" if name == "model" else str(name)): value for name, value in loaded.items()}
        reject_unknown_names(settings, known, f"--config {arguments.config}")
    settings |= {name: value for name, value in vars(arguments).items() if name in known}
    if needs_model and ModelConfig in arguments.configs and "model_id" not in settings:
        raise ConfigError("No model is given. Pass --model, the name of a model on the Hub or a local folder.")
    return settings
