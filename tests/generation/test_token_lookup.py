"""Guesses at the next tokens of a row: what stood behind its last tokens before."""

from hypothesis import given
from hypothesis import strategies as st

from hf_rare.generation.token_lookup import SHORTEST_MATCH, TokenLookup

TEXTS = st.lists(st.integers(0, 2), min_size=2, max_size=30)


def look_back(text, at_most):
    """Find by reading backwards where the last three tokens stood last; what followed is as long as what is equal."""
    for place in range(len(text) - 1, SHORTEST_MATCH - 1, -1):
        if text[place - SHORTEST_MATCH : place] == text[-SHORTEST_MATCH:]:
            equal = max(n for n in range(SHORTEST_MATCH, place + 1) if text[place - n : place] == text[-n:])
            return (text[place:] * at_most)[: min(equal - 1, at_most)]
    return []


@given(TEXTS, TEXTS, st.integers(0, 12))
def test_a_guess_is_what_followed_the_last_tokens(prompt, written, at_most):
    lookup = TokenLookup(prompt)
    for length in range(1, len(written) + 1):
        assert lookup.guess(written[:length], at_most) == look_back(prompt + written[:length], at_most)
    assert TokenLookup(prompt).guess(written, at_most) == look_back(prompt + written, at_most)  # some tokens at once


def test_the_longer_the_text_that_stood_before_the_longer_the_guess():
    lookup = TokenLookup(list(range(40)))
    assert lookup.guess([3, 4], 9) == []
    assert lookup.guess([3, 4, 5], 9) == [6, 7]
    assert lookup.guess([3, 4, 5, 6, 7], 9) == [8, 9, 10, 11]
    assert lookup.guess([3, 4, 5, 6, 7], 3) == [8, 9, 10]


def test_prompts_of_one_token_can_be_looked_up():
    lookup = TokenLookup([7])
    assert lookup.guess([1], 3) == []
    assert lookup.guess([1, 7, 1, 7], 3) == [1, 7]
    assert lookup.guess([1, 7, 1, 7, 7, 7, 7], 3) == [7, 7]
