"""Starting in the right order, with patience: the servers may come up after us."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from tidings import topics
from tidings.broker.base import Broker
from tidings.errors import ConfigurationError, Retryable
from tidings.logging import logger
from tidings.policy.backoff import Backoff
from tidings.policy.marks import fits_metadata
from tidings.topics import TopicSizes

_BACKOFF = Backoff(first_ms=200, most_ms=2_000)
# Stopping must not hang on a server that is gone.
_STOP_S = 5.0


class Part(Protocol):
    """Something with a start and a stop: a producer, a reader, the store."""

    async def start(self) -> None:
        """Connect; raises Retryable while the server is not there."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...


@contextlib.asynccontextmanager
async def started(*parts: Part) -> AsyncIterator[None]:
    """Start the parts one after the other, trying again until each is up; stop them in reverse."""
    up: list[Part] = []
    try:
        for part in parts:
            up.append(part)
            await _start(part)
        yield
    finally:
        for part in reversed(up):
            with contextlib.suppress(TimeoutError, Retryable):
                await asyncio.wait_for(part.stop(), _STOP_S)


async def _start(part: Part) -> None:
    failures = 0
    while True:
        try:
            return await part.start()
        except Retryable as error:
            failures += 1
            logger("tidings.start").warning("waiting for a server", part=type(part).__name__, reason=str(error))
            await asyncio.sleep(_BACKOFF.wait_ms(failures) / 1000)


async def check_topics(broker: Broker, sizes: TopicSizes) -> None:
    """Raises ConfigurationError unless the broker's partition counts are the configured ones."""
    if not fits_metadata(sizes.session_partitions):
        raise ConfigurationError(
            f"{sizes.session_partitions} session partitions: their marks do not fit into a commit's metadata"
        )
    declared = {topic.name: topic.partitions for topic in topics.declared(sizes)}
    admin = broker.admin()
    async with started(admin):
        counts = await admin.partition_counts(list(declared))
    wrong = [
        f"{name} has {counts.get(name, 'no')} partitions, configured are {partitions}"
        for name, partitions in declared.items()
        if counts.get(name) != partitions
    ]
    if wrong:
        raise ConfigurationError(
            "; ".join(wrong) + ". Run `tidings init`; a count cannot be changed in place (TIDINGS_KAFKA_*_PARTITIONS)"
        )
