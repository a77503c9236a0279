"""Guesses at the next tokens of a row: what stood behind its last two tokens before."""

from hypothesis import given
from hypothesis import strategies as st

from hf_rare.generation.token_lookup import FIRST_REACH, TokenLookup

TEXTS = st.lists(st.integers(0, 3), min_size=2, max_size=30)


def look_back(text, tokens):
    """Find by reading backwards what followed the last two tokens of a text where they stood last, again and again."""
    for place in range(len(text) - 1, 1, -1):
        if text[place - 2 : place] == text[-2:]:
            return (text[place:] * tokens)[:tokens]
    return []


@given(TEXTS, TEXTS, st.integers(0, 4))
def test_a_guess_is_what_followed_the_last_two_tokens(prompt, written, at_most):
    lookup = TokenLookup(prompt)
    for length in range(1, len(written) + 1):
        tokens = min(at_most, FIRST_REACH)
        assert lookup.guess(written[:length], at_most) == look_back(prompt + written[:length], tokens)
    assert TokenLookup(prompt).guess(written, 2) == look_back(prompt + written, 2)  # some tokens at once


def test_what_was_right_makes_guesses_longer_and_what_was_wrong_shorter():
    lookup = TokenLookup(list(range(40)))
    assert lookup.guess([3, 4], 9) == [5, 6]
    lookup.learn(2, 2)
    assert lookup.guess([3, 4], 9) == [5, 6, 7]
    assert lookup.guess([3, 4], 1) == [5]
    lookup.learn(1, 1)  # there was room for no more
    assert lookup.guess([3, 4], 9) == [5, 6, 7]
    lookup.learn(3, 1)
    assert lookup.guess([3, 4], 9) == [5]
    lookup.learn(1, 0)
    assert lookup.guess([3, 4], 9) == [5]


def test_prompts_of_one_token_can_be_looked_up():
    lookup = TokenLookup([7])
    assert lookup.guess([1], 3) == []
    assert lookup.guess([1, 7, 1], 3) == [7, 1]
    assert lookup.guess([1, 7, 1, 1, 1], 3) == [1, 1]
