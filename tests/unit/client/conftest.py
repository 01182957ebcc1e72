"""Fixtures of tests that run a whole client."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.client.fake_server import Server, listening
from tidings_client import backoff


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with listening() as script:
        yield script


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats and reconnects without the waiting; their real times are the core's tests."""
    monkeypatch.setattr(backoff, "BASE_MS", 20)
