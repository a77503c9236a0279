from hypothesis import given
from hypothesis import strategies as st

from hf_rare.prompts.budget import MIN_DOCUMENT_TOKENS, shorten_documents

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=6)


def test_the_longest_negative_goes_first():
    assert shorten_documents([100, 300, 100, 50], 100) == [100, 200, 100, 50]


def test_negatives_are_levelled_before_any_is_shorter_than_another():
    assert shorten_documents([100, 300, 100, 50], 200) == [100, 100, 100, 50]
    assert shorten_documents([100, 300, 100, 50], 310) == [100, 46, 46, 46]


def test_the_positive_is_cut_last():
    at_minimum = [MIN_DOCUMENT_TOKENS] * 2
    assert shorten_documents([100, 116, 116], 200) == [100, *at_minimum]
    assert shorten_documents([100, 116, 116], 230) == [70, *at_minimum]


def test_what_cannot_be_met_is_none():
    assert shorten_documents([100, 116], 100 + 84) == [16, 16]
    assert shorten_documents([100, 116], 100 + 85) is None
    assert shorten_documents([10], 1) is None


@given(LENGTHS, st.integers(1, 3000))
def test_any_excess_is_met_fairly_or_not_at_all(lengths, excess):
    kept = shorten_documents(lengths, excess)
    floors = [min(length, MIN_DOCUMENT_TOKENS) for length in lengths]
    if kept is None:
        assert sum(lengths) - sum(floors) < excess
        return
    assert sum(lengths) - sum(kept) >= excess
    assert all(floor <= keep <= length for floor, keep, length in zip(floors, kept, lengths, strict=True))
    cut = [i for i in range(1, len(lengths)) if kept[i] < lengths[i]]
    assert all(kept[i] >= max(kept[1:]) for i in cut)  # nothing longer stays beside what was cut
    if kept[0] < lengths[0]:
        assert kept[1:] == floors[1:]


@given(LENGTHS, st.integers(1, 3000))
def test_no_more_is_cut_than_levelling_needs(lengths, excess):
    kept = shorten_documents(lengths, excess)
    if kept is not None:
        assert sum(lengths) - sum(kept) - excess < len(lengths)
