"""Where the thought of a model ends whose completions are held to a JSON schema: behind it the schema holds.

Whether a model thinks is read from its chat template, as it is with the arguments that it is given. One that leaves a
thought open has a model that thinks. One that has closed the thought itself has a model that does not, and neither has
one that names no markers of a thought. One that names them, for the thoughts of earlier turns, has a model that may
think: it begins with what opens a thought, or with the JSON. Markers are those of `prompts.thought_markers`.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from hf_rare.prompts.thought_markers import DEFAULT_TAGS, KNOWN, ThoughtMarkers, find_marks, is_open, make_markers

FAMILIES = (make_markers(DEFAULT_TAGS), *KNOWN)


@dataclass(frozen=True)
class ThoughtEnd:
    """What a completion writes before its JSON.

    Args:
        pattern (`str`): what ends the thought, as a regular expression; empty for models that do not think.
        opening (`str`): what opens a thought, where the model may write that; empty where it is open from the first
            token on.
    """

    pattern: str = ""
    opening: str = ""

    @classmethod
    def of_template(cls, template: str, written: str, added_tokens: Collection[str] = ()) -> Self:
        """Read it from a chat template.

        Args:
            template (`str`): its source.
            written (`str`): what it writes behind the last message.
            added_tokens (`Collection[str]`, *optional*): the tokens that the tokenizer has besides its vocabulary.

        Returns:
            [`ThoughtEnd`]: what it says.
        """
        if opened := next((family for family in FAMILIES if is_open(written, family)), None):
            return cls(_pattern_of(opened))
        if any(_names_thought(written, family) for family in FAMILIES):  # and so has closed it
            return cls()
        for family in FAMILIES:
            if not re.search(family.closing, template, re.IGNORECASE):
                continue
            opening = _find_opening(family, template, added_tokens)
            if opening:  # where there are channels, what is said aloud begins with a marker too
                return cls(_pattern_of(family), "" if family.has_channels else opening)
        return cls()

    def describe(self) -> str:
        """Say where the schema begins to hold; empty for the first token."""
        if not self.pattern:
            return ""
        return "behind a thought that the model may open" if self.opening else "behind the thought"

    def find(self, text: str, is_whole: bool) -> int | None:
        """Find where the thought has ended.

        Args:
            text (`str`): what the model has written, or the end of that.
            is_whole (`bool`): whether it is all of it.

        Returns:
            `int`: the place behind the marker; `None` where there is none.
        """
        begin = "" if is_whole else "\0"
        found = re.search(self.pattern, begin + text, re.IGNORECASE | re.DOTALL)
        return found.end() - len(begin) if found else None


def _names_thought(written: str, family: ThoughtMarkers) -> bool:
    """Tell whether there is a marker of a thought, and not one that ends every turn."""
    return any(family.closes_alone or not mark.is_closing for mark in find_marks(written, family))


def _pattern_of(family: ThoughtMarkers) -> str:
    if family.has_channels and family.answer is not None:
        return rf"(?:^|{family.closing})\s*(?:{family.answer[0]})"
    return family.closing


def _find_opening(family: ThoughtMarkers, template: str, added_tokens: Collection[str]) -> str:
    """Find what the model writes to open a thought, word by word."""
    if found := re.search(family.opening, template, re.IGNORECASE):
        return found[0].strip()
    return next((token for token in added_tokens if re.fullmatch(family.opening, token, re.IGNORECASE)), "")
