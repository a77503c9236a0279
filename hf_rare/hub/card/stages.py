"""What a recipe says of the stages of a pipeline, for a card, and what was checked of its rows, as Markdown.

As all of a recipe, it may be a stranger's: stages that are not known, and parts of another type, are passed over.
"""

from collections.abc import Collection, Mapping
from typing import Any

from hf_rare.hub.card.markdown import as_text, code, join
from hf_rare.hub.card.provenance import AnyRecipe, describe_settings, describe_writer, kind_of, own_settings, part
from hf_rare.rows.columns import GROUNDED_ON_POSITIVE, VERDICT
from hf_rare.rows.statistics import Statistics

MEANINGS = {
    "near_duplicates": "Rows that say nearly what an earlier row says were dropped.",
    "decontamination": "Rows that share wording with evaluation sets were dropped, or marked.",
    "retrieval": "Documents were searched for each question: the best is its positive, the others its hard negatives.",
    "negatives": "Hard negatives were mined: documents that rank high for a question, without its positive and copies "
    "of that.",
    "verify": "The answers of traces were compared with gold answers.",
    "grounding": "Traces were audited for the documents that they cite and quote.",
    "evidence": "A model has measured how much each document carries of a trace: what the trace loses without it.",
    "selection": "Of the traces of each row, those that suit a student best were kept.",
}
"""What the stages did that let no model write."""

SEARCHING = ("retrieval", "negatives")
MOST_STAGES = 20
Stages = list[Mapping[str, Any]]


def read_stages(recipe: AnyRecipe | None, given: Any = None) -> Stages:
    """Return the stages that are told of, in order: those that are given, or else those of a recipe."""
    told = given if given is not None else (recipe or {}).get("stages")
    stages = [stage for stage in told if isinstance(stage, Mapping)] if isinstance(told, list | tuple) else []
    return [stage for stage in stages if _name(stage) in MEANINGS or kind_of(stage)][:MOST_STAGES]


def describe_stages(recipe: AnyRecipe | None, stages: Stages) -> str:
    """Return a list of the stages: what each did, and with which settings; empty where none is known.

    Args:
        recipe (`Mapping`, *optional*): the recipe, whose own settings stand above the list.
        stages (`list`): the stages.
    """
    return "\n".join(f"- {code(_name(stage))}: {_describe(stage, recipe)}" for stage in stages)


def describe_checks(
    recipe: AnyRecipe | None, stages: Stages, counted: Statistics, columns: Collection[str], output: str
) -> str:
    """Say in words what was checked of what a model wrote, and what was not.

    Args:
        recipe (`Mapping`, *optional*): the recipe.
        stages (`list`): the stages of its pipeline.
        counted ([`Statistics`]): counts over the rows.
        columns (`Collection[str]`): the columns of the rows.
        output (`str`): prefix of the columns of the row contract.
    """
    sentences = []
    if output + VERDICT in columns and counted.verdicts:
        sentences.append(f"{_say_how_compared(recipe, stages)}, and {code(output + VERDICT)} says which are right.")
        if not counted.verdicts["right"] + counted.verdicts["wrong"]:
            sentences = [f"{code(output + VERDICT)} says that no answer was compared with a gold one."]
    if output + GROUNDED_ON_POSITIVE in columns:
        sentences.append("An audit has seen which documents traces cite and quote, not whether they do so rightly.")
    rest = "Nothing else" if sentences else "Nothing"
    return " ".join([*sentences, f"{rest} of what a model wrote was checked for truth."])


def _say_how_compared(recipe: AnyRecipe | None, stages: Stages) -> str:
    """Say with what answers were compared, and by what, as far as it is known."""
    checks = [part(stage, "settings") for stage in stages if stage.get("stage") == "verify"]
    own = own_settings(recipe) if kind_of(recipe) == "distill" else {}
    settings = next(iter(checks), own if own.get("gold_column") else {})
    words = "The answers of traces were compared with gold ones"
    if settings.get("gold_column"):
        words += f" in {code(as_text(settings['gold_column']))}"
    if not checks and settings and (judge := part(recipe, "judge")):
        return f"{words} by a model, {code(as_text(part(judge, 'identity').get('model_id') or 'a judge'))}"
    return f"{words} by rules ({code(as_text(settings['check']))})" if settings.get("check") else words


def _name(stage: Mapping[str, Any]) -> str:
    name = stage.get("stage")
    return name if isinstance(name, str) else str(kind_of(stage))


def _describe(stage: Mapping[str, Any], recipe: AnyRecipe | None) -> str:
    if kind_of(stage):
        if kind_of(stage) == kind_of(recipe) and own_settings(stage) == own_settings(recipe):
            return f"{describe_writer(stage)} Its settings stand above."
        cells = [f"{name} {value}" for name, value in describe_settings(stage)]
        return f"{describe_writer(stage)} {_list(cells)}".rstrip()
    settings = part(stage, "settings")
    place = f" Searched: {_describe_corpus(settings)}." if stage["stage"] in SEARCHING else ""
    cells = [f"{code(name)} {code(as_text(value))}" for name, value in settings.items() if name != "corpus"]
    return f"{MEANINGS[stage['stage']]}{place} {_list(cells)}".rstrip()


def _list(settings: list[str]) -> str:
    return f"Settings: {', '.join(settings)}." if settings else ""


def _describe_corpus(settings: Mapping[str, Any]) -> str:
    """Say what was searched, and how much of it there is."""
    corpus = part(settings, "corpus")
    if not corpus:
        return "the documents of the rows themselves" if "corpus" in settings else "documents that are not known here"
    rows = corpus.pop("rows", None)
    size = f" of {rows:,} documents" if isinstance(rows, int) else ""
    name = code(as_text(corpus.pop("name", "")))
    others = [f"{code(key)} {code(as_text(value))}" for key, value in corpus.items() if value is not None]
    return f"{name}{size}{f' ({join(others)})' if others else ''}"
