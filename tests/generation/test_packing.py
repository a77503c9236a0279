"""Which rows go together."""

from hypothesis import given
from hypothesis import strategies as st

from hf_rare.generation.packing import BatchPacker, sort_longest_first


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 100), st.integers(1, 2000))
def test_every_prompt_is_in_one_micro_batch_that_keeps_to_its_budget(lengths, max_new_tokens, max_batch_tokens):
    packer, pending, batches = BatchPacker(max_new_tokens, max_batch_tokens), sort_longest_first(lengths), []
    while pending:
        batches.append(packer.take(pending, lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or packer.size([lengths[i] for i in batch]) <= max_batch_tokens
    ordered = [lengths[i] for batch in batches for i in batch]
    assert ordered == sorted(lengths, reverse=True)


def test_the_packer_halves_when_memory_runs_out_and_grows_again_with_care():
    packer = BatchPacker(10, 1000)
    packer.shrink(900)
    assert packer.max_tokens == 450
    sizes = []
    for _ in range(200):
        packer.grow()
        sizes.append(packer.max_tokens)
    assert sizes[:7] == [450] * 7
    assert sizes[7] == 506
    assert sizes == sorted(sizes)
    assert sizes[-1] == 899  # below what did not fit, for good
    packer.shrink(899)
    assert packer.max_tokens == 449
