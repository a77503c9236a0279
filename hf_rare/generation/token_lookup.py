"""Guesses at what a row writes next: what has followed its last tokens where they stood before.

A trace quotes its documents, so that much of what a model writes stands in its prompt already. Where the next tokens
are guessed, the model reads them all in one step, and as many are kept as it would have written by itself: fewer
steps, the same text. The idea is prompt lookup decoding (Saxena 2023,
https://github.com/apoorvumang/prompt-lookup-decoding). Nothing here knows of models.
"""

from collections.abc import Sequence

SHORTEST_MATCH = 3
"""Tokens that must have stood before: what has followed fewer says too little of what follows."""


class TokenLookup:
    """Guesses the next tokens of one row.

    The longer the text that stood before, the longer the guess: it has one token less.

    Args:
        prompt (`Sequence[int]`): the tokens of the row's prompt.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        self._prompt_tokens = len(prompt)
        self._text = list(prompt)
        # where that stands which last followed so many tokens
        self._behind: dict[tuple[int, ...], int] = {
            tuple(prompt[place - SHORTEST_MATCH : place]): place for place in range(SHORTEST_MATCH, len(prompt))
        }

    def guess(self, written: Sequence[int], at_most: int) -> list[int]:
        """Guess what comes next.

        Args:
            written (`Sequence[int]`): all tokens that the row has written so far.
            at_most (`int`): most tokens of the guess.

        Returns:
            `list[int]`: the tokens; none where the last three have never stood before.
        """
        for token in written[len(self._text) - self._prompt_tokens :]:
            self._behind[tuple(self._text[-SHORTEST_MATCH:])] = len(self._text)
            self._text.append(token)
        place = self._behind.get(tuple(self._text[-SHORTEST_MATCH:]))
        if place is None:
            return []
        period = len(self._text) - place  # what goes round in a circle may go round again
        return [self._text[place + i % period] for i in range(min(self._matched(place, at_most) - 1, at_most))]

    def _matched(self, place: int, at_most: int) -> int:
        """Count the tokens before a place that are also the last ones of the text, one more than `at_most` or so."""
        text, matched = self._text, SHORTEST_MATCH
        while matched <= at_most and matched < place and text[place - 1 - matched] == text[-1 - matched]:
            matched += 1
        return matched
