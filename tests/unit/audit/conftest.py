"""Sound tables of one test."""

from pathlib import Path

import pytest

from tests.unit.audit.tables import Tables


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """Empty tables."""
    return Tables(tmp_path)
