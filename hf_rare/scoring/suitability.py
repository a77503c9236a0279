"""How well a trace suits a student, by what the student makes of its tokens: formulas, and what they need."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hf_rare.generation.scorer import ScoredPrompt
from hf_rare.rows.columns import LOCAL_NATURALNESS, RANK_SURPRISAL
from hf_rare.scoring.traces import TraceMeasure, TracesOfRow

MAX_RANK = 100
"""The rank above which all ranks count the same (arXiv 2601.14249, r_max)."""

STEPS_BEFORE = 4
"""Steps before a step that it is read behind: a small window, as the paper asks for; the number is ours."""

_STEP_END = re.compile(r"(?<=[.!?;:])(?=\s)|(?<=[。！？；])|(?=\n)")


def rank_surprisal(log_probs: Sequence[float], ranks: Sequence[int], max_rank: int = MAX_RANK) -> float:
    """Return the rank-surprisal ratio of a text: the sum of min(rank, max_rank) over the sum of -log p.

    "Which Reasoning Trajectories Teach Students to Reason Better?" (arXiv 2601.14249): the mean rank of the tokens,
    clipped at 100, over their mean surprisal in nats. Lower suits better: tokens that the student would not have been
    sure of, but that were among its first choices.

    Args:
        log_probs (`Sequence[float]`): the log probability of each token, in nats.
        ranks (`Sequence[int]`): the rank of each, 1 for the most likely.
        max_rank (`int`, *optional*, defaults to 100): the rank above which all count the same.

    Returns:
        `float`: the ratio; infinite for a text that is no surprise at all.
    """
    surprisal = -sum(log_probs)
    total = sum(min(rank, max_rank) for rank in ranks)
    return total / surprisal if surprisal > 0 else float("inf")


def local_naturalness(steps: Sequence[Sequence[float]]) -> float:
    """Return the local naturalness of a text: the mean over its steps of the mean log probability of a step's tokens.

    "Local Naturalness for Selecting Teacher Data" (arXiv 2510.03988): each step is read behind a few steps before it
    alone, without the prompt and without what came earlier, so that long traces of strong teachers can be compared.
    Higher suits better.

    Args:
        steps (`Sequence[Sequence[float]]`): for each step the log probabilities of its tokens, in nats.

    Returns:
        `float`: the mean, at most 0.
    """
    return sum(sum(step) / len(step) for step in steps) / len(steps)


def split_steps(text: str) -> list[str]:
    """Split a text into steps: sentences and lines. Joined, they are the text; white space begins the next step."""
    steps: list[str] = []
    for piece in _STEP_END.split(text):
        if steps and not steps[-1].strip():
            steps[-1] += piece
        elif piece:
            steps.append(piece)
    if len(steps) > 1 and not steps[-1].strip():
        steps[-2:] = ["".join(steps[-2:])]
    return steps


class RankSurprisalMeasure(TraceMeasure):
    """Measures the rank-surprisal ratio of each trace, in the column `_rank_surprisal`; see [`rank_surprisal`].

    The traces of a row are read behind the prompt as the teacher saw it, which is read once for all of them that have
    room behind it. For each of the others, documents are shortened.
    """

    new_columns = (RANK_SURPRISAL,)
    nothing: ClassVar[Mapping[str, Any]] = {RANK_SURPRISAL: None}
    has_ranks = True
    doing = "Measuring rank and surprisal"

    def make_prompts(self, traces: TracesOfRow) -> dict[tuple[int, ...], ScoredPrompt]:
        """Say what is measured of a row: each trace behind its prompt."""
        prompts: dict[tuple[int, ...], ScoredPrompt] = {}
        for documents, numbers in self.fit(traces).items():
            for context in self.encode(traces.row, [documents]):
                texts = [(context, traces.tokens[number]) for number in numbers]
                shown = "\n\n".join(traces.texts[number] for number in numbers)
                prompts[tuple(numbers)] = ScoredPrompt.of_texts(texts, shown)
        return prompts

    def weigh(self, texts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the ratio of a trace."""
        (text,) = texts
        return {RANK_SURPRISAL: rank_surprisal(text["log_probs"], text["ranks"])}


class LocalNaturalnessMeasure(TraceMeasure):
    """Measures the local naturalness of each trace, in the column `_local_naturalness`; see [`local_naturalness`].

    A step is read behind what the chat template writes after the last message, such as the opening of the assistant's
    turn, and the 4 steps before. The prompt has no part in it, nor the room that there is for it.
    """

    new_columns = (LOCAL_NATURALNESS,)
    nothing: ClassVar[Mapping[str, Any]] = {LOCAL_NATURALNESS: None}
    doing = "Measuring local naturalness"

    def make_prompts(self, traces: TracesOfRow) -> dict[tuple[int, ...], ScoredPrompt]:
        """Say what is measured of a row: each step of each trace behind the few before it."""
        tokenizer = self.scorer.encoder.text_tokenizer
        (opening,) = tokenizer([self.scorer.encoder.opening or "\n"])
        limit = self.scorer.max_tokens
        owners: list[int] = []
        texts: list[tuple[list[int], list[int]]] = []
        for number in traces.tokens:
            of_steps = tokenizer.go_on(split_steps(traces.texts[number]), split_special_tokens=True)
            steps = [ids for ids in of_steps if ids]
            befores = [steps[max(0, place - STEPS_BEFORE) : place] for place in range(len(steps))]
            contexts = [[*opening, *(token for ids in before for token in ids)] for before in befores]
            longest = max((len(one) + len(step) for one, step in zip(contexts, steps, strict=True)), default=0)
            if limit is not None and longest > limit:
                traces.left_out.append(
                    f"a step and those before it have {longest} tokens, and the model has room for {limit}"
                )
                continue
            texts += zip(contexts, steps, strict=True)
            owners += [number] * len(steps)
        shown = "\n\n".join(traces.texts[number] for number in dict.fromkeys(owners))
        return {tuple(owners): ScoredPrompt.of_texts(texts, shown)} if texts else {}

    def weigh(self, texts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the naturalness of a trace."""
        return {LOCAL_NATURALNESS: local_naturalness([text["log_probs"] for text in texts])}
