"""Starts the parts of a process in order, and waits for servers that are not up yet."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Protocol, TypeVar

from tidings import topics
from tidings.broker.base import Broker
from tidings.errors import ConfigurationError, Retryable, TidingsError
from tidings.logging import logger
from tidings.runtime.backoff import Backoff
from tidings.runtime.marks import fits_metadata
from tidings.topics import TopicSizes

_BACKOFF = Backoff(first_ms=200, most_ms=2_000)
# A stop must not wait longer for a server that does not answer.
STOP_S = 5.0
# A process that waits for a server logs it at once and then twice a minute.
_LOG_AGAIN_S = 30.0

Answer = TypeVar("Answer")
# Makes an attempt until it succeeds, or until it gives up with an error. The text names the server.
Patience = Callable[[Callable[[], Awaitable[None]], str], Awaitable[None]]


class StoppedEarly(TidingsError):
    """SIGTERM or SIGINT came while the process was starting, so it ends without having served."""


class ServerAway(TidingsError):
    """A server has not answered within the bound of a process that must end."""


class Part(Protocol):
    """A part with a start and a stop: a producer, a reader, the store."""

    async def start(self) -> None:
        """Connect. Raises Retryable while the server is not reachable."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...


@contextlib.asynccontextmanager
async def unless(stopping: asyncio.Event | None) -> AsyncIterator[None]:
    """Run the block. If `stopping` is set before it ends, cancel it and raise StoppedEarly."""
    if stopping is None:
        yield
        return
    try:
        async with asyncio.timeout(None) as cut:
            watching = asyncio.create_task(_cut_off(cut, stopping))
            try:
                yield
            finally:
                watching.cancel()
    except TimeoutError:
        if cut.expired():
            raise StoppedEarly("stopped while starting") from None
        raise


async def _cut_off(block: asyncio.Timeout, stopping: asyncio.Event) -> None:
    await stopping.wait()
    block.reschedule(asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def started(
    *parts: Part, stopping: asyncio.Event | None = None, patience: Patience | None = None, server: str = ""
) -> AsyncIterator[None]:
    """Start the parts one after the other, and retry until each is up. Stop them in reverse order.

    `patience`: `patiently` without it, which waits without end. `server`: for its lines; empty: the part's class.
    Raises StoppedEarly if `stopping` is set before all are up, and ConfigurationError if a part can never start.
    """
    up: list[Part] = []
    try:
        for part in parts:
            up.append(part)
            async with unless(stopping):
                await (patience or patiently)(part.start, server or type(part).__name__)
        yield
    finally:
        for part in reversed(up):
            with contextlib.suppress(TimeoutError, Retryable):
                await asyncio.wait_for(part.stop(), STOP_S)


async def patiently(attempt: Callable[[], Awaitable[Answer]], what: str) -> Answer:
    """The result of the first attempt that does not raise Retryable. Waits without end, and logs it twice a minute."""
    failures, logged_at_s = 0, -_LOG_AGAIN_S
    while True:
        try:
            return await attempt()
        except Retryable as error:
            failures += 1
            if time.monotonic() - logged_at_s >= _LOG_AGAIN_S:
                logged_at_s = time.monotonic()
                reason = " ".join(str(error).split())
                logger("tidings.start").warning("waiting for a server", part=what, reason=reason, failures=failures)
            await asyncio.sleep(_BACKOFF.wait_ms(failures) / 1000)


def patiently_for(within_s: float) -> Patience:
    """As `patiently`, but it raises ServerAway after `within_s`. For jobs, which are seen only when they end."""

    async def attempt_for(attempt: Callable[[], Awaitable[None]], what: str) -> None:
        try:
            async with asyncio.timeout(within_s) as bound:
                await patiently(attempt, what)
        except TimeoutError:
            if not bound.expired():
                raise
            raise ServerAway(f"{what} did not answer within {within_s:g} s") from None

    return attempt_for


async def check_topics(broker: Broker, sizes: TopicSizes, stopping: asyncio.Event | None = None) -> None:
    """Wait for the broker and compare its partition counts with the configured ones.

    Raises ConfigurationError if they differ, and StoppedEarly if `stopping` is set first.
    """
    if not fits_metadata(sizes.session_partitions):
        raise ConfigurationError(
            f"TIDINGS_KAFKA_SESSION_PARTITIONS={sizes.session_partitions}: the marks of so many do not fit into a"
            " commit's metadata"
        )
    declared = {topic.name: topic.partitions for topic in topics.declared(sizes)}
    async with unless(stopping):
        counts = await patiently(lambda: _partition_counts(broker, list(declared)), "topics")
    wrong = [
        f"{name} has {counts.get(name, 'no')} partitions, configured are {partitions}"
        for name, partitions in declared.items()
        if counts.get(name) != partitions
    ]
    if wrong:
        raise ConfigurationError(
            "; ".join(wrong) + ". Run `tidings init`; a count cannot be changed in place (TIDINGS_KAFKA_*_PARTITIONS)"
        )


async def _partition_counts(broker: Broker, names: Collection[str]) -> Mapping[str, int]:
    """Read the counts with a new connection each time, because a connection that failed is not used again."""
    admin = broker.admin()
    try:
        await admin.start()
        return await admin.partition_counts(names)
    finally:
        with contextlib.suppress(TimeoutError, Retryable):
            await asyncio.wait_for(admin.stop(), STOP_S)
