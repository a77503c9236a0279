"""Rows as a teacher leaves them."""

import pytest
from datasets import Dataset

from tests.support.distilled import distilled_rows


@pytest.fixture
def distilled(demo_rows) -> Dataset:
    return distilled_rows(demo_rows)
