"""What an evaluation comes to: the answers, the scores, and their forms for people, programs and cards."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets

from hf_rare.evaluation.conditions import AT_PLACE
from hf_rare.evaluation.measures import ABSTAINING_IS, MEASURES, Scores, condition_of
from hf_rare.evaluation.tables import lay_out, make_tables
from hf_rare.views.plots import AMBER, BLUE, GREEN, INK, RED, draw_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, AMBER, GREEN, RED, INK)
"""Of the students, in order."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What students have answered, and how good it is.

    Args:
        rows ([`~datasets.Dataset`]):
            The answers: one row for each student, row, condition and place of the positive, with `student`, `row` (its
            number in the dataset), `condition`, the columns of its prompt, and those of [`ReasonDistiller`] (status,
            verdict, tokens, document order, ...), beside `_cited_documents`, `_abstains`, `_original_verdict` and
            `_right`, which is what `accuracy` counts (null where it counts nothing).
        scores (`dict[str, dict[str, dict[str, Score]]]`):
            By student, condition and measure: value, and the ends of its interval.
        differences (`dict[str, dict[str, dict[str, Score]]]`):
            What each further student has more than the first one, on the same resamples.
        answers (`dict[str, int]`):
            Answers of each student, by condition.
        baseline (`str`):
            The student that others are compared with: the first.
        num_rows (`int`):
            Rows that were asked about.
        num_resamples (`int`):
            How often rows were drawn.
        confidence (`float`):
            The share of resampled values in an interval.
        seed (`int`):
            Seed of the draws.
        settings (`dict[str, Any]`):
            Columns, template and tags that the questions were asked with.
        students (`dict[str, Any]`):
            What stands for each student's weights and decoding.
    """

    rows: datasets.Dataset
    scores: Scores
    differences: Scores
    answers: Mapping[str, int]
    baseline: str
    num_rows: int
    num_resamples: int
    confidence: float
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    students: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return everything but the answers as JSON: the same text for equal numbers."""
        return json.dumps(self._report(), indent=2, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """Return tables in Markdown that read as they are: all measures, places of the positive, differences."""
        return "\n\n".join(map(lay_out, make_tables(self._report())))

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path) -> Path:
        """Draw the accuracy under each condition, and by the place of the positive, as a PNG.

        Needs matplotlib (`pip install hf-rare[plots]`).

        Args:
            path (`str` or `Path`): the file that is written.

        Returns:
            `Path`: the file.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        names = [name for name in self.answers if not name.startswith(AT_PLACE)]
        draws = [lambda axes: self._draw_conditions(axes, names)]
        places = [name for name in self.answers if name.startswith(AT_PLACE)]
        if places:
            draws.append(lambda axes: self._draw_places(axes, places))
        path = Path(path)
        path.write_bytes(draw_panels(draws, 1.8 + 0.16 * len(names) * len(self.scores)))
        return path

    def _report(self) -> dict[str, Any]:
        def plain(scores: Scores) -> dict[str, Any]:
            return {
                student: {
                    condition: {measure: dataclasses.asdict(score) for measure, score in measures.items()}
                    for condition, measures in conditions.items()
                }
                for student, conditions in scores.items()
            }

        return {
            "evaluation": 1,
            "rows": self.num_rows,
            "answers": dict(self.answers),
            "scores": plain(self.scores),
            "baseline": self.baseline,
            "differences": plain(self.differences),
            "num_resamples": self.num_resamples,
            "confidence": self.confidence,
            "seed": self.seed,
            "measures": MEASURES,
            "abstaining_is": {name: ABSTAINING_IS[condition_of(name)] for name in self.answers},
            "settings": dict(self.settings),
            "students": dict(self.students),
        }

    def _draw_conditions(self, axes: "Axes", names: list[str]) -> None:
        height = 0.8 / len(self.scores)
        for number, (student, colour) in enumerate(zip(self.scores, _colours(len(self.scores)), strict=True)):
            found = [self.scores[student].get(name, {}).get("accuracy") for name in names]
            known = [(place + number * height, score) for place, score in enumerate(found) if score is not None]
            values = [score.value for _, score in known]
            errors = [
                [s.value - min(s.low, s.value) for _, s in known],
                [max(s.high, s.value) - s.value for _, s in known],
            ]
            axes.barh([place for place, _ in known], values, height=0.9 * height, color=colour, label=student)
            axes.errorbar(values, [place for place, _ in known], xerr=errors, fmt="none", ecolor=INK, elinewidth=1)
        axes.set_yticks(
            [place + 0.4 - height / 2 for place in range(len(names))], [n.replace("_", " ") for n in names]
        )
        axes.set_ylim(len(names) - 0.2, -0.4)
        axes.set_xlim(0, 1.02)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.set_title("right answers")
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)

    def _draw_places(self, axes: "Axes", names: list[str]) -> None:
        for student, colour in zip(self.scores, _colours(len(self.scores)), strict=True):
            found = {
                int(name.removeprefix(AT_PLACE)): self.scores[student].get(name, {}).get("accuracy") for name in names
            }
            known = {place: score for place, score in found.items() if score is not None}
            axes.plot(list(known), [score.value for score in known.values()], color=colour, marker=".", linewidth=1.4)
            low, high = ([getattr(score, end) for score in known.values()] for end in ("low", "high"))
            axes.fill_between(list(known), low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xticks([int(name.removeprefix(AT_PLACE)) for name in names][:: max(1, len(names) // 8)])
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.set_title("right, by the place of the positive")


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]
