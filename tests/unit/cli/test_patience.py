"""Waiting for servers: the first success, a bound, and a reason at the end."""

import asyncio

import pytest

from cli import patience
from cli.patience import GaveUp, patiently
from tidings.errors import BrokerUnavailable, ConfigurationError


async def test_patience_tries_until_the_server_is_there_and_says_once() -> None:
    failures = iter([BrokerUnavailable("refused"), BrokerUnavailable("loading")])
    said: list[str] = []

    async def attempt() -> str:
        for failure in failures:
            raise failure
        return "there"

    assert await patiently(attempt, server="Kafka", within_s=60, say=said.append) == "there"
    assert said == ["waiting for Kafka (refused)"]


async def test_patience_ends_at_the_bound_with_the_last_reason() -> None:
    async def attempt() -> None:
        raise BrokerUnavailable("connection refused")

    with pytest.raises(GaveUp, match=r"Kafka did not serve us within 0.01 s \(connection refused\)"):
        await patiently(attempt, server="Kafka", within_s=0.01, say=lambda _: None)


async def test_permanent_error_is_raised_at_once() -> None:
    async def attempt() -> None:
        raise ConfigurationError("another count")

    with pytest.raises(ConfigurationError):
        await patiently(attempt, server="Kafka", within_s=60, say=lambda _: None)


async def test_silent_server_is_named_while_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SILENT_S", 0.0)
    said: list[str] = []

    async def attempt() -> None:
        await asyncio.Event().wait()

    with pytest.raises(GaveUp, match="no answer"):
        await patiently(attempt, server="Kafka", within_s=0.05, say=said.append)
    assert said == ["waiting for Kafka (no answer yet)"]
