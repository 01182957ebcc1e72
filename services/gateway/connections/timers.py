"""One ticker for all connections, instead of a task or a timer per connection."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from services.gateway.connections.link import Link
from services.gateway.connections.live import LiveAnswers
from services.gateway.connections.registry import SLICES, ConnectionRegistry
from services.gateway.protocol.effects import Announce, HeartbeatDue
from services.gateway.reads.inbox import InboxReads
from services.gateway.submit.latency import AckLatency
from tidings import metrics
from tidings.clock import Clock
from tidings.errors import StoreUnavailable

# The metrics of what waits are measured once in so many ticks.
MEASURE_TICKS = 20
# Each connection is checked every SLICES × 100 ms, so its timers are at most half a second late.
TICK_S = 0.1

V = TypeVar("V")


class Timers:
    """Passes the time to the connections, and reads tails and heads for heartbeats in batches."""

    def __init__(
        self,
        registry: ConnectionRegistry,
        inbox: InboxReads,
        lives: LiveAnswers,
        latency: AckLatency,
        clock: Clock,
    ) -> None:
        """`run` starts the ticks."""
        self._latency = latency
        self._registry = registry
        self._inbox = inbox
        self._lives = lives
        self._clock = clock
        self._due: dict[Link, None] = {}
        self._beating: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Tick until cancelled."""
        number = 0
        while True:
            await asyncio.sleep(TICK_S)
            self.tick(number % SLICES)
            self._latency.look(self._clock.monotonic_ms())
            if number % MEASURE_TICKS == 0:
                metrics.OUTBOX_BYTES.set(sum(link.connection.buffered_bytes for link in self._registry))
                metrics.RESUMES_WAITING.set(self._inbox.waiting)
            number += 1
            if self._due and (self._beating is None or self._beating.done()):
                self._beating = asyncio.create_task(self.beat())

    def tick(self, number: int) -> None:
        """Pass the time to one slice of the connections."""
        now_ms = self._clock.monotonic_ms()
        for link in self._registry.slice(number):
            if link.connection.due_ms <= now_ms:
                self._feed(link, now_ms)

    async def beat(self) -> None:
        """Send the heartbeats that are due, with tails and heads read in batches, or the last known ones."""
        links, self._due = self._due, {}
        users = {link.connection.user_id for link in links}
        tails, heads = await asyncio.gather(_if_read(self._inbox.tails(users)), _if_read(self._lives.heads(users)))
        for link in links:
            user_id = link.connection.user_id
            link.connection.beat(tails.get(user_id, 0), heads.get(user_id, {}))
            self._registry.settle(link)

    def _feed(self, link: Link, now_ms: int) -> None:
        for effect in link.connection.ticked(now_ms):
            match effect:
                case Announce():
                    self._registry.announce(link)
                case HeartbeatDue():
                    self._due[link] = None
        self._registry.settle(link)


async def _if_read(answer: Awaitable[Mapping[str, V]]) -> Mapping[str, V]:
    """The result, or nothing if the tables are unavailable."""
    try:
        return await answer
    except StoreUnavailable:
        return {}
