"""A model that judges answers: whether they say the same as the gold answer."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import datasets

from hf_rare.generation.protocol import Completion
from hf_rare.prompts.item_prompt import ItemPrompts
from hf_rare.prompts.json_text import find_json
from hf_rare.rows.columns import (
    ITEM_COLUMNS,
    REASON,
    TRACE,
    Outcome,
    Status,
    name_features,
)
from hf_rare.rows.row import JudgedAnswer, read_judged
from hf_rare.settings.writers import JudgeConfig
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.result import Layout, Result, Sample
from hf_rare.writers.thoughts import split_thoughts

_WORDS: dict[str, Outcome] = {
    **dict.fromkeys(("right", "correct", "true", "yes", "equivalent"), "right"),
    **dict.fromkeys(("wrong", "incorrect", "false", "no"), "wrong"),
}
_PLACEHOLDER = re.compile(r"right\W+(?:or\W+)?wrong", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!\n]|(?<=\?)")
_SAID = re.compile(
    r"(?:(?:[^?]{1,300},\s+)?(?:so|therefore|thus|hence|overall|which means that)\b,?\s+)?"
    r"(?:(?:(?:the|my)\s+)?(?:final\s+)?(?:verdict|judge?ment)(?:\s+is\b|\s*[:=\u2013\u2014-])\s*)?"
    r"(?:(?:it|this|the student|(?:the|this)\s+(?:student(?:'s)?(?:\s+(?:final\s+)?(?:answer|response))?"
    r"|(?:final\s+)?answer))\s+is(?=\s|n't)\s*(?:therefore\s+|thus\s+|clearly\s+|indeed\s+)?)?"
    r"(?P<denial>(?:not|n't)\s+)?(?P<word>right|correct|wrong|incorrect)"
    r"(?:,?\s+(?:since|because|as)\b.*)?",
    re.IGNORECASE,
)
"""A sentence that is a verdict and its reason, and nothing else: not one about the right answer."""


@dataclass(frozen=True, kw_only=True)
class Judgement(Sample):
    """What a judge says in one completion."""

    verdict: Outcome = "unchecked"
    reason: str = ""


class AnswerJudge(ColumnWriter[JudgeConfig, Judgement]):
    """Judges whether an answer says the same as the gold answer.

    Give it to [`ReasonDistiller`] or [`verify`] as
    `judge=`, for answers that no rule can compare; or pass it to `map` over columns `question`, `gold`, `answer`. New
    columns:

    - `verdict` (`str`): `right`, `wrong`, or `unchecked` where the judge gives no verdict.
    - `verdict_reason` (`str`): what it says of it.
    - `verdict_status`, `verdict_error`, `verdict_completion_tokens`, `verdict_prompt_tokens`, `verdict_attempts`.

    Args:
        generator ([`Generator`]):
            The judge.
        **settings:
            The settings of [`JudgeConfig`] and
            [`RunConfig`].

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        TemplateError: The template cannot be used.

    Example:
        >>> judge = AnswerJudge.from_pretrained("Qwen/Qwen3-32B", max_new_tokens=1024)
        >>> distill_fn = ReasonDistiller.from_pretrained("Qwen/Qwen3-8B", gold_column="answer", judge=judge)
    """

    config_type = JudgeConfig
    kind = "judge"
    doing = "Judging"

    def compare(self, answers: Sequence[tuple[str, str, str]]) -> list[Outcome]:
        """Judge answers that are in no dataset.

        Args:
            answers (`Sequence[tuple[str, str, str]]`): question, gold answer and answer of each.

        Returns:
            `list[str]`: `right`, `wrong` or `unchecked`, in order.
        """
        if not answers:
            return []
        config = self.config
        names = (config.question_column, config.gold_column, config.answer_column)
        batch = dict(zip(names, map(list, zip(*answers, strict=True)), strict=True))
        return list(self(batch)[config.output_column])

    @property
    def output_prefix(self) -> str:
        """How the names of the new columns begin."""
        return self.config.output_column

    @property
    def output_features(self) -> datasets.Features:
        """The new columns and their types, in order."""
        endings = [TRACE, REASON, *ITEM_COLUMNS] if self.config.columns == "full" else [TRACE]
        return datasets.Features(name_features(self.config.output_column, endings))

    def _make_prompts(self) -> ItemPrompts[JudgedAnswer]:
        config = self.config
        columns = (config.question_column, config.gold_column, config.answer_column)
        return ItemPrompts(config, columns, lambda values: read_judged(values, *columns, config.template_columns))

    def _read_completions(
        self, results: Sequence[Result[Judgement]], completions: Sequence[Sequence[Completion]]
    ) -> None:
        for result, written in zip(results, completions, strict=True):
            result.samples += [self._read(result, completion) for completion in written]
            result.is_complete = result.samples[-1].status == "ok"

    def _read(self, result: Result[Judgement], completion: Completion) -> Judgement:
        if completion.failure:
            return Judgement(status=completion.failure, error=completion.error)
        tokens, split = completion.completion_tokens, split_thoughts(result, completion, self.config.thought_tags)
        is_cut = completion.is_cut
        verdict, reason = parse_verdict(split.visible, is_cut)
        if verdict != "unchecked" and split.is_closed:
            return Judgement(status="ok", verdict=verdict, reason=reason, completion_tokens=tokens)
        status: Status = "truncated" if is_cut else "unparsed"
        error = completion.error or "the judge gives no verdict"
        return Judgement(status=status, error=error, completion_tokens=tokens)

    def _lay_out(self, results: Sequence[Result[Judgement]]) -> Layout:
        counted: list[Judgement] = []
        columns: dict[str, list[Any]] = {name: [] for name in self.output_features}
        for result in results:
            prepared, tokens = result.prepared, sum(sample.completion_tokens for sample in result.samples)
            last = result.samples[-1] if result.samples else Judgement(status=prepared.status, error=prepared.error)
            counted.append(dataclasses.replace(last, completion_tokens=tokens))
            values = {TRACE: last.verdict, REASON: last.reason, **result.describe(counted[-1])}
            for name, column in columns.items():
                column.append(values[name.removeprefix(self.config.output_column)])
        return Layout(columns, counted)


def parse_verdict(text: str, is_cut: bool = False) -> tuple[Outcome, str]:
    """Find the verdict in what a judge wrote.

    Args:
        text (`str`):
            The text, without the thought.
        is_cut (`bool`, *optional*, defaults to `False`):
            Whether the token limit ended it.

    Returns:
        `tuple[str, str]`: the verdict, `right`, `wrong` or `unchecked`, and the reason where there is one. JSON with a
        `verdict` counts; without it, the last sentence of a text that is not cut must be the verdict, perhaps with its
        reason, and nothing else: "Correct.", "Verdict: wrong", "The answer is not correct, since it says 8."
    """
    for values in reversed([found for value in find_json(text, is_cut) for found in _find_verdicts(value)]):
        verdict, reason = _read_verdict(values["verdict"]), values.get("reason")
        if verdict:
            return verdict, reason.encode("utf-8", "replace").decode() if isinstance(reason, str) else ""
        if not _PLACEHOLDER.search(str(values["verdict"])):
            return "unchecked", ""
    last = next(filter(None, map(str.strip, reversed(_SENTENCE_END.split(_without_marks(text))))), "")
    said = _read_statement(last) if not is_cut else None
    return (said, text.strip()) if said else ("unchecked", "")


def _find_verdicts(value: Any) -> Iterator[dict[str, Any]]:
    """Find the dicts with a verdict in a JSON value, their names in lower case."""
    if isinstance(value, dict):
        values = {str(name).strip().lower(): part for name, part in value.items()}
        if "verdict" in values and not isinstance(values["verdict"], dict | list):
            yield values
            return
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _find_verdicts(part)


def _read_verdict(value: Any) -> Outcome | None:
    """Read the verdict of a JSON value: a word for it, a statement, true or false."""
    said = _without_marks(str(value)).strip(" .!\n\t'").lower()
    return _WORDS.get(said) or _read_statement(said)


def _read_statement(sentence: str) -> Outcome | None:
    said = _SAID.fullmatch(sentence)
    if said is None:
        return None
    verdict = _WORDS[said["word"].lower()]
    if said["denial"]:
        return "wrong" if verdict == "right" else None
    return verdict


def _without_marks(text: str) -> str:
    return re.sub(r"[*_`\"]", "", text).replace("\u2019", "'")
