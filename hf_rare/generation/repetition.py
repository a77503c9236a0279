"""Texts that go round in a circle: whether the tokens of a row end with the same ones over and over, exactly.

A row that repeats itself would go on to `max_new_tokens` and come to nothing. Here it is found out, at the token that
completes the loop, whatever engine writes: each feeds a [`RepetitionDetector`] the tokens of a row, one by one or many
at a time, and ends the row. Settings and meaning are those of `repetition_detection` of vLLM. Nothing here knows of
models, and repetition that is not exact, such as a list that counts on, is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

LOOP = "repeats itself"
"""How the error begins of a completion that went round in a circle, whoever has ended it."""


@dataclass(frozen=True)
class Repetition:
    """A loop that a row has ended with.

    Args:
        end (`int`): tokens that the row had written when the loop was complete.
        pattern_size (`int`): tokens that are repeated.
        count (`int`): how often they stand at the end, one after the other.
    """

    end: int
    pattern_size: int
    count: int

    def __str__(self) -> str:
        pattern = "token stands" if self.pattern_size == 1 else f"{self.pattern_size} tokens stand"
        return f"{LOOP}: the same {pattern} {self.count} times at its end"


class RepetitionDetector:
    """Looks out for a loop in the tokens of one row.

    It is complete when a pattern of `min_pattern_size` to `max_pattern_size` tokens stands `min_count` times at the
    end. A shorter pattern counts as one of several in a row, so that no loop has fewer than `min_pattern_size` times
    `min_count` tokens.

    What does not repeat itself is looked at once in half as many tokens as the shortest loop repeats, and in one that
    may become a loop, the next look is when it can have become one.

    Args:
        max_pattern_size (`int`): most tokens of a pattern.
        min_pattern_size (`int`): fewest tokens of a pattern.
        min_count (`int`): how often it must stand there.

    Attributes:
        found ([`Repetition`], *optional*): the loop, once it is complete. What is fed then is not looked at.
    """

    def __init__(self, max_pattern_size: int, min_pattern_size: int, min_count: int) -> None:
        self.found: Repetition | None = None
        self._max_pattern_size = max_pattern_size
        self._min_pattern_size = min_pattern_size
        self._min_count = min_count
        # whatever has so many tokens in common with what stands before it can have become a loop after `_pause` more
        repeated = min_pattern_size * (min_count - 1)
        self._pause = repeated // 2
        self._needed = repeated - self._pause
        self._text = ""  # a token is a character: texts are searched and compared fast
        self._fed: list[int] = []
        self._seen = 0
        self._look_at = min_pattern_size * min_count

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> Self | None:
        """Make one of `repetition_detection`; none where it is `None`."""
        return cls(**settings) if settings is not None else None

    def feed(self, tokens: Sequence[int]) -> bool:
        """Take in the next tokens of the row, and tell whether it repeats itself."""
        while self.found is None and self._seen + len(tokens) >= self._look_at:
            until = self._look_at - self._seen
            self._take(tokens[:until])
            tokens = tokens[until:]
            self._look()
        if self.found is None:
            self._take(tokens)
        return self.found is not None

    def _take(self, tokens: Sequence[int]) -> None:
        self._fed += tokens
        self._seen += len(tokens)

    def _look(self) -> None:
        """Look at the end of the text, and say when to look again."""
        kept = self._max_pattern_size * self._min_count
        text = self._text = (self._text + "".join(map(chr, self._fed)))[-kept:]
        self._fed = []
        self._look_at = self._seen + self._pause + 1
        ending, size = text[-self._needed :], len(text)
        first = max(0, size - self._needed - self._max_pattern_size)
        before, is_nearest = size - 1, True
        while (place := text.rfind(ending, first, before)) >= 0:
            shift = size - self._needed - place
            repeated = _count_repeated(text, shift)
            pattern_size = shift * -(-self._min_pattern_size // shift)
            missing = pattern_size * self._min_count - shift - repeated
            if pattern_size <= self._max_pattern_size:
                if missing <= 0:
                    self.found = self._describe(pattern_size, shift)
                    return
                self._look_at = min(self._look_at, self._seen + missing)
            before = size - shift - 1
            if is_nearest and shift <= self._needed:  # further ones in the same loop are multiples, and complete later
                before = size - shift - repeated + self._needed - 1
            is_nearest = False

    def _describe(self, pattern_size: int, shift: int) -> Repetition:
        whole = pattern_size * self._min_count
        is_shorter = _count_repeated(self._text, shift) >= whole - shift
        pattern_size = shift if is_shorter else pattern_size
        return Repetition(self._seen, pattern_size, whole // pattern_size)


def find_repetition(tokens: Sequence[int], settings: Mapping[str, Any] | None) -> Repetition | None:
    """Find the loop that a row would have been ended for.

    Args:
        tokens (`Sequence[int]`): what it has written, perhaps beyond the loop.
        settings (`Mapping[str, Any]`, *optional*): `repetition_detection`; `None` finds none.

    Returns:
        [`Repetition`]: the first loop that is complete; `None` where there is none.
    """
    detector = RepetitionDetector.of(settings)
    if detector is None:
        return None
    detector.feed(tokens)
    return detector.found


def _count_repeated(text: str, shift: int) -> int:
    """Count the tokens at the end that are the same as those that stand `shift` tokens before them."""
    size = len(text) - shift
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        if text.endswith(text[size - middle : size]):
            low = middle
        else:
            high = middle - 1
    return low
