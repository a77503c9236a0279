"""A small world in which every measure of a student is known: fares, and students that read, guess or abstain."""

import re

from datasets import Dataset

from tests.support.scripted import ScriptedGenerator

PLACES = ("Orla", "Brim", "Cask", "Dunt", "Evel", "Fosk")


def make_fares() -> Dataset:
    """Six rows: the fare of a place, which is 4 to 9, among fares of other places, and another fare in its place."""
    rows = []
    for number, place in enumerate(PLACES):
        fare = number + 4
        rows.append(
            {
                "id": place.lower(),
                "question": f"What does a ticket to {place} cost?",
                "scenario": "",
                "text": f"A ticket to {place} costs {fare} coins.",
                "hard_negatives": [
                    f"A ticket to {place}ham costs 55 coins.",
                    f"A ticket to New{place} costs 66 coins.",
                ],
                "answer": str(fare),
                "changed_text": f"A ticket to {place} costs {fare + 20} coins.",
                "changed_answer": str(fare + 20),
            }
        )
    return Dataset.from_list(rows)


def find_fare(prompt: str) -> tuple[str, str] | None:
    """Find the number of the document with the fare that is asked for, and the fare."""
    place = re.search(r"ticket to (\w+) cost\?", prompt)[1]
    found = re.search(rf"\[(\d+)\] A ticket to {place} costs (\d+)", prompt)
    return (found[1], found[2]) if found else None


def read(prompt: str, seed: int) -> str:
    """Say what the document says, and cite it; abstain where none does."""
    found = find_fare(prompt)
    if found is None:
        return "<think>None of them is about it.</think>The documents do not say what it costs."
    return f"<think>Document [{found[0]}] says so.</think>The answer is {found[1]}."


def read_first(prompt: str, seed: int) -> str:
    """Say what the first document says."""
    found = re.search(r"\[1\] .* costs (\d+)", prompt)
    return f"<think>As the first says.</think>The answer is {found[1] if found else 0}."


def seven(prompt: str, seed: int) -> str:
    """Say seven."""
    return "<think>It is always seven.</think>The answer is 7."


def abstain(prompt: str, seed: int) -> str:
    """Say that nothing can be said."""
    return "<think>Hard to say.</think>This cannot be determined from the documents."


def student(write, name: str = "") -> ScriptedGenerator:
    """Make a student of a function that writes."""
    return ScriptedGenerator(write, name or write.__name__, is_sampling=False)
