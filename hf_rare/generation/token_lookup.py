"""Guesses at what a row writes next: what has followed its last two tokens where they stood before.

A trace quotes its documents, so that much of what a model writes stands in its prompt already. Where the next tokens
are guessed, the model reads them all in one step, and as many are kept as it would have written by itself: fewer
steps, the same text. The idea is prompt lookup decoding (Saxena 2023,
https://github.com/apoorvumang/prompt-lookup-decoding). Nothing here knows of models.
"""

import itertools
from collections.abc import Sequence

FIRST_REACH = 2
"""Tokens of the first guess of a row."""


class TokenLookup:
    """Guesses the next tokens of one row.

    A guess that was right makes the next one longer by a token; a wrong one makes it as long as was right of it.

    Args:
        prompt (`Sequence[int]`): the tokens of the row's prompt.

    Attributes:
        reach (`int`): most tokens of the next guess; at least 1.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        self.reach = FIRST_REACH
        self._prompt_tokens = len(prompt)
        self._text = list(prompt)
        # where that stands which last followed a pair of tokens
        self._behind: dict[tuple[int, ...], int] = {
            pair: place for place, pair in enumerate(itertools.pairwise(prompt[:-1]), start=2)
        }

    def guess(self, written: Sequence[int], at_most: int) -> list[int]:
        """Guess what comes next.

        Args:
            written (`Sequence[int]`): all tokens that the row has written so far.
            at_most (`int`): most tokens of the guess.

        Returns:
            `list[int]`: the tokens; none where the last two have never stood before.
        """
        for token in written[len(self._text) - self._prompt_tokens :]:
            self._behind[tuple(self._text[-2:])] = len(self._text)
            self._text.append(token)
        place = self._behind.get(tuple(self._text[-2:]))
        if place is None:
            return []
        period = len(self._text) - place  # what goes round in a circle may go round again
        return [self._text[place + i % period] for i in range(min(self.reach, at_most))]

    def learn(self, guessed: int, right: int) -> None:
        """Take in how many tokens the last guess had, and how many of them the row has written."""
        if right < guessed:
            self.reach = max(1, right)
        elif guessed == self.reach:
            self.reach += 1
