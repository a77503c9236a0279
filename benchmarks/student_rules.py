"""The rules of a made-up world: what documents say, how they are asked about, and the step from them to an answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Kind:
    """A sort of rule, with the questions about it.

    Args:
        documents (`tuple[str, ...]`): how it is said: of a `place`, with its `value`, and with `aside` beside it.
        further (`str`): a sentence behind it that settles nothing.
        questions (`dict`): for each split how it is asked: the scenario, with what is `given`, and the question.
        fact (`str`): what a trace says of the document.
        step (`str`): the step from there to the `answer`.
        values (`Sequence[int]`): what `value` can be.
        asides (`Sequence[int]`): what `aside` can be.
        given (`Sequence[int]`): what `given` can be.
        solve (`Callable[[int, int, int], int]`): gives the answer from value, aside and what is given.
        is_time (`bool`): whether answer and given are minutes after midnight.
    """

    documents: tuple[str, ...]
    further: str
    questions: Mapping[Split, tuple[tuple[str, str], ...]]
    fact: str
    step: str
    values: Sequence[int]
    asides: Sequence[int]
    given: Sequence[int]
    solve: Callable[[int, int, int], int]
    is_time: bool = False

    def show(self, number: int) -> str:
        """Write an answer, or what is given."""
        return show_time(number) if self.is_time else str(number)


def show_time(minutes: int) -> str:
    """Write minutes after midnight as a time of day."""
    return f"{minutes // 60}:{minutes % 60:02}"


def find_next(interval: int, first: int, arrival: int) -> int:
    """Return the first departure at or after an arrival, all in minutes."""
    return first + -(-(arrival - first) // interval) * interval


EIGHT = 8 * 60

KINDS = {
    "fare": Kind(
        (
            "Ferry of {place}: a crossing costs {value} coins for an adult and {aside} for a child.",
            "The ferry of {place} takes {value} coins from an adult. Children pay {aside}.",
        ),
        "Bicycles ride free.",
        {
            "train": (
                ("{given} adults want to cross together.", "What do they pay in all for the ferry of {place}?"),
                ("We are a group of {given} adults.", "How many coins does the ferry of {place} cost us?"),
                ("I need tickets for {given} adults.", "What is the sum for the ferry of {place}?"),
            ),
            "test": (
                ("The family has {given} grown-up members and no children.", "What is their total fare in {place}?"),
                (
                    "Nobody among the {given} passengers is a child.",
                    "How much money do they need to cross at {place}?",
                ),
            ),
        },
        "an adult pays {value} coins",
        "{given} adults pay {given} x {value} = {answer} coins.",
        range(4, 13),
        (1, 2, 3),
        (2, 3, 4, 5),
        lambda value, aside, given: value * given,
    ),
    "fine": Kind(
        (
            "Library of {place}: books are lent for {aside} weeks. Each day after that costs {value} coins.",
            "The library of {place} lends books for {aside} weeks and takes {value} coins for each day of delay.",
        ),
        "Maps stay in the house.",
        {
            "train": (
                ("My book is {given} days late.", "What must I pay to the library of {place}?"),
                ("She returns a book {given} days after the date.", "How high is her fine in {place}?"),
                ("He forgot his book for {given} days.", "How many coins does the library of {place} ask for?"),
            ),
            "test": (
                ("A reader is {given} days overdue.", "What does this cost at {place}?"),
                ("The loan ended {given} days ago.", "Which amount is due to the book house of {place} today?"),
            ),
        },
        "a day of delay costs {value} coins",
        "{given} days cost {given} x {value} = {answer} coins.",
        range(2, 12),
        (2, 3, 4, 5),
        (3, 4, 5, 6),
        lambda value, aside, given: value * given,
    ),
    "boat": Kind(
        (
            "Boats leave {place} every {value} minutes. The first one goes at 8:{aside:02}.",
            "From {place} the first boat goes at 8:{aside:02}, and then there is one every {value} minutes.",
        ),
        "Dogs stay on deck.",
        {
            "train": (
                ("I reach the pier at {given}.", "When does the next boat leave {place}?"),
                ("It is {given} now.", "At what time can I take the next boat from {place}?"),
                ("She comes to the water at {given}.", "Which departure from {place} is the next for her?"),
            ),
            "test": (
                (
                    "The clock on the quay shows {given}.",
                    "At which hour and minute does the following sailing from {place} start?",
                ),
                ("His train arrives at {given}.", "What is the earliest sailing out of {place} that he can catch?"),
            ),
        },
        "the first boat goes at 8:{aside:02}, then one every {value} minutes",
        "The boats go at {times}, so the next one after {given} goes at {answer}.",
        (12, 15, 18, 20, 25, 30, 35, 40),
        (0, 5, 10),
        range(EIGHT + 14, EIGHT + 44),
        lambda value, aside, given: find_next(value, EIGHT + aside, given),
        is_time=True,
    ),
    "entry": Kind(
        (
            "Museum of {place}: a ticket costs {aside} coins. Students pay {value} coins less.",
            "A ticket for the museum of {place} is {aside} coins, with {value} coins off for students.",
        ),
        "Bags go into a locker.",
        {
            "train": (
                ("I am a student.", "What do I pay in the museum of {place}?"),
                ("She shows her student card.", "How many coins is her ticket for the museum of {place}?"),
                ("He studies law.", "What does the museum of {place} take from him?"),
            ),
            "test": (
                ("My sister is enrolled at a university.", "What does she spend to see the collection of {place}?"),
                ("A student stands at the counter.", "Which price does {place} charge at the door?"),
            ),
        },
        "a ticket costs {aside} coins, and students pay {value} less",
        "A student pays {aside} - {value} = {answer} coins.",
        range(2, 9),
        range(11, 20),
        (0,),
        lambda value, aside, given: aside - value,
    ),
    "permit": Kind(
        (
            "Fishing permit of {place}: it ends {value} days after the purchase. It costs {aside} coins.",
            "Whoever fishes in {place} buys a permit for {aside} coins, which ends {value} days later.",
        ),
        "Nets are forbidden.",
        {
            "train": (
                ("I buy a permit on 1{given} May.", "On which day of May does the permit of {place} end?"),
                ("Her permit is from 1{given} May.", "Until which day of May may she fish in {place}?"),
                ("He paid on 1{given} May.", "Which day of May ends his permit of {place}?"),
            ),
            "test": (
                ("A guest got the paper on 1{given} May.", "What is the last date in May for angling at {place}?"),
                ("We started on 1{given} May with a new licence.", "When in May is it over at {place}? Give the day."),
            ),
        },
        "a permit ends {value} days after the purchase",
        "1{given} + {value} = {answer}, so it ends on {answer} May.",
        range(3, 12),
        (6, 7, 8, 9),
        range(0, 9),
        lambda value, aside, given: 10 + given + value,
    ),
    "hours": Kind(
        (
            "Market hall of {place}: open each day from {value} to {aside} o'clock.",
            "The market hall of {place} opens at {value} o'clock and closes at {aside} o'clock.",
        ),
        "Fish is sold in the cellar.",
        {
            "train": (
                ("I want to sell there all day.", "How many hours a day is the market hall of {place} open?"),
                ("A guard stays from opening to closing.", "How many hours is this in the market hall of {place}?"),
                ("The light burns while the hall is open.", "For how many hours does it burn in {place}?"),
            ),
            "test": (
                ("A trader never leaves the stand early.", "What is the length of a working day at {place} in hours?"),
                ("Buyers come from the first to the last minute.", "Over how many hours does {place} let them in?"),
            ),
        },
        "it is open from {value} to {aside} o'clock",
        "From {value} to {aside} o'clock there are {aside} - {value} = {answer} hours.",
        range(5, 12),
        range(15, 22),
        (0,),
        lambda value, aside, given: aside - value,
    ),
}


@dataclass(frozen=True)
class Rule:
    """What a document says.

    Args:
        kind (`str`): the sort of rule.
        place (`str`): the place.
        value (`int`): the key fact.
        aside (`int`): the other number.
        wording (`int`): which of the kind's documents it is.
    """

    kind: str
    place: str
    value: int
    aside: int
    wording: int

    @property
    def text(self) -> str:
        """The document."""
        return f"{self.statement} {KINDS[self.kind].further}"

    @property
    def statement(self) -> str:
        """What settles the question, without the sentence behind it."""
        return KINDS[self.kind].documents[self.wording].format(**vars(self))

    def solve(self, given: int) -> str:
        """Return the answer to the question about it."""
        kind = KINDS[self.kind]
        return kind.show(kind.solve(self.value, self.aside, given))

    def explain(self, given: int) -> str:
        """Write the step from the document to the answer."""
        kind, answer = KINDS[self.kind], self.solve(given)
        departures = range(EIGHT + self.aside, kind.solve(self.value, self.aside, given) + 1, self.value)
        times = ", ".join(map(show_time, departures)) if kind.is_time else ""
        return kind.step.format(**vars(self), given=kind.show(given), answer=answer, times=times)
