"""Where runs keep their journal."""

from pathlib import Path

import pytest


@pytest.fixture
def journal_dir(tmp_path) -> Path:
    return tmp_path / "journal"
