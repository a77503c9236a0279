"""What models write is read as it is meant: the hit rates of the tables."""

import pytest

from tests.support.tables import READERS, find_misses, read_table

AT_LEAST = {"model_json": 0.95, "model_thoughts": 0.95, "model_citations": 0.95, "model_verdicts": 0.95}


@pytest.mark.parametrize("name", AT_LEAST)
def test_the_hit_rate_is_kept(name):
    misses = find_misses(name)
    assert 1 - len(misses) / len(read_table(name)) >= AT_LEAST[name], misses


def test_every_table_has_a_reader_and_forty_rows():
    assert all(len(read_table(name)) >= 40 for name in READERS)
