"""A made-up world to measure students in: rules, tariffs and schedules of places that do not exist.

No model knows the places, so that an answer must come from a document. A question needs one document and one step of
reasoning; the other documents say the same sort of thing about other places. The splits share no place and no wording
of a question. `ScriptedTeacher` writes the ideal trace of a row, as the upper end of what a teacher can give.
"""

import random
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from datasets import Dataset

from benchmarks.student_rules import KINDS, Rule, Split
from hf_rare import Completion, EncodedPrompt, Encoder, Generator, Job, JobSource, Observer

NEGATIVES = 3
ABSTENTION = "The documents do not say."

TEMPLATE = """{% for document in documents %}
[{{ document.number }}] {{ document.text }}
{% endfor %}

Name the document about the place in question by its number, quote it, and reason to the answer. Write the answer \
between {{ answer_tags[0] }} and {{ answer_tags[1] }}. If no document says it, write there that they do not say.

{% if scenario %}{{ scenario }} {% endif %}{{ question }}"""

STARTS = ["".join(letters) for letters in product("bdfghjklmnprstvz", "aeiou")]
MIDDLES = ("ba", "di", "ko", "lu", "me", "no")
ENDS = ["".join(letters) for letters in product("dfglmnpr", ("ast", "en", "ik", "olm"))]
"""What the names of places are made of: with these there are 15,360."""


@dataclass(frozen=True)
class Problem:
    """A question with its documents.

    Args:
        rule (`Rule`): what the positive says.
        changed (`Rule`): the same with another key fact.
        negatives (`tuple[Rule, ...]`): what the hard negatives say.
        scenario (`str`): the situation.
        question (`str`): the question.
        given (`int`): the number in the scenario; 0 where there is none.
    """

    rule: Rule
    changed: Rule
    negatives: tuple[Rule, ...]
    scenario: str
    question: str
    given: int


def make_problems(split: Split, count: int, seed: int = 0, negatives: int = NEGATIVES) -> list[Problem]:
    """Make problems that are always the same, the first of many like the first of few; no place occurs twice.

    Args:
        split (`"train"` or `"test"`): which places and wordings they have.
        count (`int`): how many; about 1,900 with 3 negatives.
        seed (`int`, *optional*, defaults to 0): draws others.
        negatives (`int`, *optional*, defaults to 3): hard negatives of each.

    Raises:
        ValueError: There are not so many places.
    """
    draw = random.Random(f"{split} {seed}")
    places = list_places(split)
    if count * (1 + negatives) > len(places):
        raise ValueError(f"{count} rows need {count * (1 + negatives)} places, and a split has {len(places)}.")
    draw.shuffle(places)
    names = iter(places)
    return [_make_problem(split, draw, [next(names) for _ in range(1 + negatives)]) for _ in range(count)]


def list_places(split: Split) -> list[str]:
    """List the places of a split."""
    names = ["".join(parts).capitalize() for parts in product(STARTS, MIDDLES, ENDS)]
    return [name for name in names if zlib.crc32(name.encode()) % 2 == (split == "test")]


def _make_problem(split: Split, draw: random.Random, places: Sequence[str]) -> Problem:
    """Draw rules of one kind, all with another answer to the same question."""
    name = draw.choice(list(KINDS))
    kind = KINDS[name]
    given = draw.choice(kind.given)
    rules: list[Rule] = []
    while len(rules) <= len(places):
        value = draw.choice(kind.values)
        if len(rules) < len(places):
            aside, wording = draw.choice(kind.asides), draw.randrange(len(kind.documents))
            rule = Rule(name, places[len(rules)], value, aside, wording)
        else:
            rule = replace(rules[0], value=value)
        if rule.solve(given) not in {other.solve(given) for other in rules}:
            rules.append(rule)
    positive, *others, changed = rules
    scenario, question = draw.choice(kind.questions[split])
    return Problem(
        positive,
        changed,
        tuple(others),
        scenario.format(given=kind.show(given)),
        question.format(place=positive.place),
        given,
    )


def make_rows(split: Split, count: int, seed: int = 0, negatives: int = NEGATIVES) -> Dataset:
    """Make rows: text, question, scenario, hard_negatives, answer, and both text and answer with a changed fact."""
    return Dataset.from_list(
        [
            {
                "text": problem.rule.text,
                "question": problem.question,
                "scenario": problem.scenario,
                "hard_negatives": [rule.text for rule in problem.negatives],
                "answer": problem.rule.solve(problem.given),
                "changed_text": problem.changed.text,
                "changed_answer": problem.changed.solve(problem.given),
            }
            for problem in make_problems(split, count, seed, negatives)
        ]
    )


def leave_out_positives(rows: Dataset) -> Dataset:
    """Return rows without what answers them: a hard negative stands in the place of the positive."""

    def change(row: Mapping[str, Sequence[str]]) -> dict[str, object]:
        first, *others = row["hard_negatives"]
        return {"text": first, "hard_negatives": others, "answer": ABSTENTION}

    return rows.map(change).remove_columns(["changed_text", "changed_answer"])


class LastMessage(Encoder):
    """A prompt is its last message, without tokens."""

    def encode(self, conversations: Sequence[Sequence[Mapping[str, str]]]) -> list[EncodedPrompt]:
        """Turn conversations into prompts."""
        return [EncodedPrompt(messages, messages[-1]["content"], []) for messages in conversations]


class ScriptedTeacher(Generator):
    """Writes the ideal trace for the prompts of some rows, whichever of their documents these hold.

    It cites the document that helps by its number, quotes it, and computes; where none helps it says so. It is told of
    all rows beforehand, so that it says nothing about what a model can do.

    Args:
        split, count, seed, negatives: what the rows were made with.
    """

    encoder = LastMessage()
    is_sampling = False

    def __init__(self, split: Split, count: int, seed: int = 0, negatives: int = NEGATIVES) -> None:
        self.made_with = (split, count, seed, negatives)
        problems = make_problems(*self.made_with)
        self._problems = {problem.rule.place: problem for problem in problems}
        rules = [rule for one in problems for rule in (one.rule, one.changed, *one.negatives)]
        self._rules = {rule.text: rule for rule in rules}

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.made_with

    def identity(self) -> dict[str, object]:
        """Return what its traces depend on."""
        return {"model_id": "scripted-teacher", "made_with": list(self.made_with)}

    def generate(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a trace for each job."""
        while jobs := source.take(64):
            if observer is not None:
                observer.begin(jobs)
            yield [(job, Completion(self.write(job.prompt.text), "stop", 0, 0)) for job in jobs]

    def write(self, prompt: str) -> str:
        """Write the ideal completion of a prompt.

        Args:
            prompt (`str`): the text of a prompt, with its documents as `[number] text`, each in a line.

        Returns:
            `str`: the trace in thought tags, then the answer in answer tags.

        Raises:
            ValueError: No row is about a place in the question.
        """
        documents = re.findall(r"^\[(\d+)\] (.+)$", prompt, re.MULTILINE)
        asked = re.sub(r"^\[\d+\] .+$", "", prompt, flags=re.MULTILINE)
        place = next((word for word in re.findall(r"\w+", asked) if word in self._problems), None)
        if place is None:
            raise ValueError("No row is about a place in this question: was the teacher made for these rows?")
        lines = [f"The question is about {place}."]
        number, rule = next(
            ((number, self._rules[text]) for number, text in documents if self._rules[text].place == place),
            (None, None),
        )
        if rule is None:
            answer = ABSTENTION
            lines.append(f"None of the documents is about {place}." if documents else "There are no documents.")
        else:
            given = self._problems[place].given
            fact, answer = KINDS[rule.kind].fact.format(**vars(rule)), rule.solve(given)
            lines += [f"[{number}] says: {rule.statement}", f"So {fact}.", rule.explain(given)]
        thought = "\n".join(lines)
        return f"<think>\n{thought}\n</think>\n\n<answer>{answer}</answer>"
