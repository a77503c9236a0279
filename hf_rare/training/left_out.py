"""What an export leaves out, and what its rows lack: said in the log, and to whoever asks what became of the rows."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import datasets

from hf_rare.rows.column_types import is_list
from hf_rare.rows.columns import STATUS, WITHOUT_TRACE, list_values
from hf_rare.training.examples import HAS_POSITIVE, LACKS_CITED, TrainingFormat

logger = logging.getLogger(__name__)

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def say_left_out(logger: logging.Logger, message: str, *arguments: object) -> None:
    """Log as a warning what is left out.

    Args:
        logger (`logging.Logger`): the log of the export.
        message (`str`): a whole sentence, with places for the arguments.
        *arguments: what stands there.
    """
    logger.warning(message, *arguments)
    heard = _heard.get()
    if heard is not None:
        heard.append(message % arguments if arguments else message)


@contextmanager
def hear_left_out() -> Iterator[list[str]]:
    """Collect what the exports inside say that they leave out, for an error where nothing is left."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


def say_unused(dataset: datasets.Dataset, form: TrainingFormat, used: int, verdict: str) -> None:
    """Log how many traces are not used, and why; nothing where the dataset does not have their statuses.

    Args:
        dataset ([`~datasets.Dataset`]): the distilled rows.
        form ([`TrainingFormat`]): which traces were asked for.
        used (`int`): how many of them are in the export.
        verdict (`str`): what a trace is that `correct_column` kept out: "not right", "not graded".
    """
    column = form.config.output_column + STATUS
    if column not in dataset.column_names:
        return
    has_lists = is_list(dataset.features[column])
    counts = Counter[str](
        status for own in dataset.with_format(None)[column] for status in list_values(own, has_lists)
    )
    unwanted = WITHOUT_TRACE if form.statuses is None else set(counts) - set(form.statuses)
    reasons = {status: count for status, count in counts.most_common() if status in unwanted}
    left_out = counts.total() - used
    if (others := left_out - sum(reasons.values())) > 0:
        of_rows = "of a row that cannot be used"
        reasons[f"{verdict}, or {of_rows}" if form.correct_column else of_rows] = others
    if left_out > 0:
        words = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        say_left_out(logger, "%d of %d traces are left out: %s.", left_out, counts.total(), words)


def say_lacking(made: datasets.Dataset, form: TrainingFormat) -> None:
    """Log how many examples lack the positive, and how many cite a document that their prompt lacks.

    Args:
        made ([`~datasets.Dataset`]): the export, with the columns that say so.
        form ([`TrainingFormat`]): the share that was asked for.
    """
    without = len(made) - sum(made[HAS_POSITIVE])
    logger.info("%d of %d prompts lack the positive (positive_share=%s).", without, len(made), form.positive_share)
    if lost := sum(made[LACKS_CITED]):
        logger.warning(
            "%d of %d examples cite a document that their prompt lacks. They are used: the trace stays as it is, and "
            "no other document has the number that it cites.",
            lost,
            len(made),
        )


def say_bare(count: int, examples: int) -> None:
    """Log how many examples are written without a thought, since all that the teacher said is one text.

    Args:
        count (`int`): how many, above 0.
        examples (`int`): among how many.
    """
    logger.warning(
        "%d of %d examples (%.1f%%) have no answer apart from the reasoning, as the teacher gave none. Their text "
        "stands without a thought around it: in one it would teach a student to think and then say nothing. Where all "
        "should have an answer, distill with require_answer=True.",
        count,
        examples,
        100 * count / examples,
    )


def say_one_sided(made: datasets.Dataset) -> None:
    """Log where all labels are the same: KTO weighs right traces against wrong ones.

    Args:
        made ([`~datasets.Dataset`]): the export, with a column `label`.
    """
    labels = set(made["label"])
    if len(labels) == 1:
        logger.warning(
            "All %d labels say %s. KTO learns from right and wrong traces: sample more of them, or use to_sft.",
            len(made),
            "right" if labels == {True} else "wrong",
        )
    elif not labels:
        say_left_out(logger, "There are no examples: no trace is known to be right or wrong.")
