"""One trace of each row, where a row has several: the first right one, or what is to stand in for it."""

from typing import Any, Literal

import datasets

from hf_rare.checks.grounding import GROUNDING_COLUMNS
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.training.convert import check_columns, check_exportable

ENDINGS = ("", "_answer", "_status", "_error", "_completion_tokens", "_verdict")
FALLBACKS = ("first", "last", "none")


def keep_one_trace(
    dataset: datasets.Dataset,
    output_column: str = "reasoning",
    fallback: Literal["first", "last", "none"] = "first",
) -> datasets.Dataset:
    """Keep one trace of each row: the first that is `ok` and right, or else the first that is `ok` and unchecked.

    It turns rows with all attempts (`keep_attempts`, `num_samples`) into what the distiller gives without them. What
    `verify` and `audit_grounding` say of the trace stays with it.

    Args:
        dataset ([`~datasets.Dataset`]):
            Distilled rows with lists of traces.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Column with the traces, and prefix of the others.
        fallback (`"first"`, `"last"` or `"none"`, *optional*, defaults to `"first"`):
            What a row keeps that has neither: its first trace (RARE, arXiv 2503.23513), its last, or nothing, so that
            the row is left out.

    Returns:
        [`~datasets.Dataset`]: the rows with plain columns.

    Raises:
        ConfigError: `fallback` cannot be right.
        ColumnError: A column is missing, or holds no lists.
        BatchTypeError: This is no [`~datasets.Dataset`].
    """
    if fallback not in FALLBACKS:
        raise ConfigError(f"fallback={fallback!r} cannot be right: expected one of {', '.join(map(repr, FALLBACKS))}.")
    check_exportable(dataset)
    check_columns(dataset, [output_column, f"{output_column}_status"])
    possible = [output_column + ending for ending in (*ENDINGS, *GROUNDING_COLUMNS)]
    names = [name for name in possible if name in dataset.column_names]
    if plain := [name for name in names if not isinstance(dataset.features[name], datasets.List)]:
        raise ColumnError(f"The column {plain[0]!r} holds one value for each row: there is nothing to choose from.")
    features = datasets.Features({**dataset.features, **{name: dataset.features[name].feature for name in names}})
    settings = {"names": names, "output": output_column, "fallback": fallback}
    return dataset.with_format(None).map(
        _choose, batched=True, features=features, fn_kwargs=settings, desc="Choosing traces"
    )


def _choose(batch: Any, names: list[str], output: str, fallback: str) -> dict[str, list[Any]]:
    kept: dict[str, list[Any]] = {name: [] for name in batch}
    statuses = batch[f"{output}_status"]
    verdicts = (
        batch.get(f"{output}_verdict") if f"{output}_verdict" in batch else [["unchecked"] * len(s) for s in statuses]
    )
    for row, (own, said) in enumerate(zip(statuses, verdicts, strict=True)):
        whole = [place for place, status in enumerate(own) if status == "ok"]
        ranked = [place for word in ("right", "unchecked") for place in whole if said[place] == word]
        place = next(iter(ranked), {"first": 0, "last": -1}.get(fallback))
        if place is None or not own:
            continue
        for name in batch:
            kept[name].append(batch[name][row][place] if name in names else batch[name][row])
    return kept
