"""The commands that look at rows before and after a run: `prompt`, `preview`, `verify` and `audit`."""

import argparse
import html
import typing
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import hf_rare
from hf_rare.checks.grounding import GroundingAudit
from hf_rare.checks.verify import AnswerCheck
from hf_rare.cli.flags import (
    add_input,
    add_output,
    add_settings,
    add_shown_columns,
    check_page,
    positive_int,
    read_settings,
    read_text_form,
    write_page,
)
from hf_rare.cli.parser import Commands, Parser
from hf_rare.cli.rows import save_with_recipe
from hf_rare.cli.terminal import Outcome, add_manner, tell
from hf_rare.errors import ConfigError, DatasetFileError
from hf_rare.rows.columns import STATUS
from hf_rare.rows.columns import Outcome as Verdict
from hf_rare.settings.base import Config
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.writers import OF_TEXT, SHOWN_COLUMNS, DistillConfig
from hf_rare.text import show_count

GROUP = "look and check"
OF_RECIPE = "default: that of the recipe beside INPUT, or the usual one"

PROMPT_HELP = """Show what a teacher would be asked about a row, without letting it write.

examples:
  hf-rare prompt questions.jsonl
  hf-rare prompt questions.jsonl --row 3 --model Qwen/Qwen3-8B --template rare-qa

With --model its tokenizer is loaded, and the prompt is shown with its control tokens, as the model reads it. A recipe
that distill left beside INPUT names columns and template; flags win over it. A file for --config may be that of
`hf-rare distill`."""

OF_TOKENIZER = (
    *("model_id", "revision", "gguf_file", "trust_remote_code"),
    *("max_new_tokens", "context_length", "chat_template_kwargs"),
)
"""Settings of a model that its prompts depend on."""

NO_PROMPT = tuple(
    name
    for config in (DistillConfig, ModelConfig, DecodingConfig)
    for name in config.names()
    if name not in (*OF_TEXT, *OF_TOKENIZER) or name == "output_column"
)
"""Settings that no prompt depends on."""

VERIFY_HELP = """Add a column that says which traces give the gold answer: right, wrong, or unchecked without one.

examples:
  hf-rare verify traces.parquet --gold-column answer --output verified.parquet

`hf-rare export --correct-column reasoning_verdict` takes the right ones alone."""

AUDIT_HELP = """Add columns that say which documents each trace cites and quotes, and whether it rests on the positive.

examples:
  hf-rare audit traces.parquet --output audited.parquet"""

PREVIEW_HELP = """Show rows: question, documents, trace, answer and what is said of them.

examples:
  hf-rare preview traces.parquet --rows 3
  hf-rare preview traces.parquet --rows 50 --output preview.html

`hf-rare report` makes a page to work with."""


def add_check_commands(commands: Commands) -> None:
    """Add `prompt`, `preview`, `verify` and `audit`."""
    prompt = commands.add(GROUP, "prompt", "show what a teacher would be asked", PROMPT_HELP)
    add_input(prompt)
    prompt.add_argument(
        "--row",
        type=partial(positive_int, least=0),
        default=0,
        metavar="N",
        help="number of the row, from 0 (default: 0)",
    )
    groups = {
        "columns and prompt": DistillConfig,
        "model": ModelConfig,
        "lengths and chat template, with --model": DecodingConfig,
    }
    add_settings(prompt, groups, leave_out=NO_PROMPT)
    add_manner(prompt)
    prompt.set_defaults(run=_run_prompt)

    preview = commands.add(GROUP, "preview", "show rows and their traces", PREVIEW_HELP)
    add_input(preview)
    preview.add_argument("--rows", type=positive_int, default=5, metavar="N", help="how many (default: 5)")
    preview.add_argument("--output", "-o", type=Path, metavar="HTML", help="file for a page, in the place of text")
    preview.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add_shown_columns(preview, OF_RECIPE)
    add_manner(preview)
    preview.set_defaults(run=_run_preview)

    verify = commands.add(GROUP, "verify", "say which traces give the gold answer", VERIFY_HELP)
    audit = commands.add(GROUP, "audit", "say what traces cite and quote", AUDIT_HELP)
    _add_row_check(verify, "columns and check", AnswerCheck, _run_verify)
    _add_row_check(audit, "columns and quotes", GroundingAudit, _run_audit)


def _add_row_check(command: Parser, title: str, config: Any, run: Any) -> None:
    add_input(command)
    add_output(command)
    command.add_argument("--num-proc", type=positive_int, metavar="N", help="processes (default: 1)")
    add_settings(command, {title: config})
    add_manner(command)
    command.set_defaults(run=run)


def _load(arguments: argparse.Namespace, expected: Any = None) -> Any:
    from hf_rare.pipeline import inputs

    form = read_text_form(arguments, expected or {})
    return inputs.load_input(arguments.input, arguments.config_name, arguments.split, form)


def _run_prompt(arguments: argparse.Namespace) -> Outcome:
    from hf_rare.pipeline import inputs

    known = {name: value for name, value in _read_known(arguments).items() if name in DistillConfig.names()}
    settings = {**known, **read_settings(arguments, needs_model=False)}
    config = DistillConfig(**{name: settings[name] for name in DistillConfig.names() if name in settings})
    dataset = _load(arguments, inputs.expect_inputs(config))
    if arguments.row >= len(dataset):
        raise DatasetFileError(
            f"--row {arguments.row} is not there: {arguments.input} has {show_count(len(dataset), 'row')}, counted "
            "from 0."
        )
    batch = dataset.with_format(None)[arguments.row : arguments.row + 1]
    if "model_id" not in settings:
        _check_no_tokenizer_settings(arguments)
        messages = _make_messages(batch, config)
        text = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
        return Outcome(text, {"messages": messages})
    (prepared,) = hf_rare.ReasonDistiller.from_pretrained(**settings).prepare(batch)
    if prepared.encoded is None or not prepared.is_ready:
        raise DatasetFileError(f"Row {arguments.row} gets no prompt: {prepared.status}: {prepared.error}")
    data = {"messages": prepared.encoded.messages, "text": prepared.encoded.text, "tokens": prepared.prompt_tokens}
    return Outcome(f"{prepared.encoded.text}\n\n{prepared.prompt_tokens} tokens", data)


def _check_no_tokenizer_settings(arguments: argparse.Namespace) -> None:
    """Refuse flags that nothing comes of without a model.

    Raises:
        ConfigError: One was given.
    """
    if given := next((name for name in OF_TOKENIZER if hasattr(arguments, name)), None):
        raise ConfigError(
            f"--{given.replace('_', '-')} says something of a prompt only with a model. Pass --model too."
        )


def _make_messages(batch: Any, config: DistillConfig) -> list[dict[str, str]]:
    """Make the messages of the one row of a batch, without a model."""
    from hf_rare.prompts.prompt import DistillPrompts
    from hf_rare.rows.batches import column_names, read_columns
    from hf_rare.rows.row import InvalidRowError

    prompts, existing = DistillPrompts(config), column_names(batch)
    optional = [name for name in prompts.optional_columns if name in existing]
    (values,) = read_columns(batch, [*prompts.columns, *optional], config)
    try:
        return prompts.build(prompts.read(values), {}).messages
    except InvalidRowError as err:
        raise DatasetFileError(f"The row gets no prompt: {err}") from err


def _run_preview(arguments: argparse.Namespace) -> Outcome:
    output = arguments.output
    if output is not None:
        check_page(output, arguments.overwrite, [arguments.input])
    columns = {**_read_known(arguments), **vars(arguments)}
    given = {name: columns[name] for name in SHOWN_COLUMNS if name in columns}
    shown = hf_rare.preview(_load(arguments), arguments.rows, **given)
    if output is None:
        return Outcome(shown, {"text": str(shown)})
    page = f'<!doctype html>\n<meta charset="utf-8">\n<title>{html.escape(arguments.input)}</title>\n'
    write_page(page + shown.to_html(), output)
    return Outcome(f"The rows are in {output}", {"output": output})


def _run_verify(arguments: argparse.Namespace) -> Outcome:
    settings, dataset = _begin_row_check(arguments, AnswerCheck)
    checked = hf_rare.verify(dataset, num_proc=arguments.num_proc, **settings)
    column = AnswerCheck(**settings).verdict_column
    verdicts = Counter(
        one for value in checked.with_format(None)[column] for one in (value if isinstance(value, list) else [value])
    )
    counts = {outcome: verdicts[outcome] for outcome in typing.get_args(Verdict)}
    words = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    return save_with_recipe(arguments, checked, f"{words}.", **counts)


def _run_audit(arguments: argparse.Namespace) -> Outcome:
    settings, dataset = _begin_row_check(arguments, GroundingAudit)
    audited = hf_rare.audit_grounding(dataset, num_proc=arguments.num_proc, **settings)
    output = GroundingAudit(**settings).output_column
    statuses = ("ok",) if output + STATUS in audited.column_names else None
    summary = hf_rare.summarize_grounding(audited, output, statuses=statuses)
    tell(arguments, summary)
    return save_with_recipe(arguments, audited, grounding=asdict(summary))


def _begin_row_check(arguments: argparse.Namespace, config: type[Config]) -> tuple[dict[str, Any], Any]:
    """Load the rows, and give the settings that are known of them: by the recipe that lies beside, and by flags."""
    from hf_rare.pipeline import inputs, outputs

    known = {name: value for name, value in _read_known(arguments).items() if name in config.names()}
    if known.get("gold_column") is None:  # its name must be known
        known.pop("gold_column", None)
    settings = {**known, **read_settings(arguments)}
    outputs.check_output(arguments.output, arguments.overwrite, [arguments.input])
    dataset = _load(arguments, inputs.expect_settings(config(**settings)))
    outputs.check_holds(arguments.output, dataset)
    return settings, dataset


def _read_known(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the recipe beside the input says of its rows, where there is one."""
    from hf_rare.writers.known_settings import known_settings
    from hf_rare.writers.recipe import read_recipe_beside

    return dict(known_settings(read_recipe_beside(Path(arguments.input), "distill")))
