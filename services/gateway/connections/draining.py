"""Drains a gateway: each connection gets a `goaway` with its own time, is served until then, and is closed.

OPERATIONS, Stopping and draining, states the rule and its arithmetic.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable

from services.gateway.connections.link import Link
from services.gateway.connections.registry import ConnectionRegistry
from tidings.clock import Clock

# A client leaves by itself at its time. The gateway closes remaining connections so much later.
GRACE_MS = 500
# In the last second a new connection would have to leave at once, so it is refused and connects elsewhere.
REFUSING_MS = 1_000
# Clients that have left may reconnect, also to this gateway if it is the only one.
QUIET_MS = 1_000
# A balancer that probes every second has seen by then that the gateway is not ready. Until then it sends calls.
SERVED_MS = 2_000
_LOOK_S = 0.05
_GOAWAYS_AT_ONCE = 200


def leaving_times(count: int, span_ms: int) -> list[int]:
    """When each of `count` connections leaves, in ms from the start: spread evenly, the last one at the end."""
    return [span_ms * number // count for number in range(1, count + 1)]


class Drain:
    """Closes the connections of a gateway within `drain_ms`. Used once."""

    def __init__(
        self,
        registry: ConnectionRegistry,
        clock: Clock,
        drain_ms: int,
        chance: Callable[[], float],
        calls: Callable[[], int],
    ) -> None:
        """`chance`: a random number in 0 … 1, for connections that come during the drain. `calls`: REST calls begun."""
        self._registry = registry
        self._calls = calls
        self._clock = clock
        self._grace_ms = min(GRACE_MS, drain_ms // 4)
        self._drain_ms = drain_ms
        self._chance = chance
        self._began_ms = 0
        self._closings: list[tuple[int, int, Link]] = []
        self._numbers = itertools.count()

    async def run(self, refuse_more: Callable[[], None]) -> None:
        """Returns when every connection is closed and no call comes, at the latest after `drain_ms`.

        Calls `refuse_more` before it returns.
        """
        self._began_ms = self._clock.monotonic_ms()
        self._registry.on_sign_in = self._send_away_late
        calls = self._calls()
        await self._send_all_away()
        # Without any client, calls are still served for SERVED_MS.
        last_seen_ms, is_refusing = self._began_ms + SERVED_MS - QUIET_MS, False
        while (now_ms := self._clock.monotonic_ms()) < self._began_ms + self._drain_ms:
            if not is_refusing and now_ms >= self._began_ms + self._drain_ms - min(REFUSING_MS, self._drain_ms // 4):
                is_refusing = True
                refuse_more()
            self._close_due(now_ms)
            if len(self._registry) or calls != self._calls():
                calls = self._calls()
                last_seen_ms = max(last_seen_ms, now_ms)
            elif now_ms - last_seen_ms >= QUIET_MS:
                break
            await asyncio.sleep(_LOOK_S)
        refuse_more()

    def close_all(self) -> None:
        """Close all remaining connections at once."""
        for link in self._registry:
            self._close(link)

    async def _send_all_away(self) -> None:
        """Send `goaway` to all connections, the oldest first. Its time counts from the moment of sending."""
        links = [link for link in self._registry if link.connection.user_id]
        for number, (link, after_ms) in enumerate(zip(links, leaving_times(len(links), self._span_ms()), strict=True)):
            self._send_away(link, self._began_ms + after_ms)
            if number % _GOAWAYS_AT_ONCE == _GOAWAYS_AT_ONCE - 1:
                await asyncio.sleep(0)

    def _send_away_late(self, link: Link) -> None:
        """Let a new connection stay for at least half of the remaining time, because it may have just left here."""
        now_ms = self._clock.monotonic_ms()
        left_ms = max(0, self._began_ms + self._span_ms() - now_ms)
        self._send_away(link, now_ms + round(left_ms * (1 + self._chance()) / 2))

    def _send_away(self, link: Link, at_ms: int) -> None:
        link.connection.go_away("restart", max(0, at_ms - self._clock.monotonic_ms()))
        heapq.heappush(self._closings, (at_ms + self._grace_ms, next(self._numbers), link))
        self._registry.settle(link)

    def _close_due(self, now_ms: int) -> None:
        while self._closings and self._closings[0][0] <= now_ms:
            self._close(heapq.heappop(self._closings)[2])

    def _close(self, link: Link) -> None:
        link.connection.shut_down()
        self._registry.settle(link)

    def _span_ms(self) -> int:
        return self._drain_ms - self._grace_ms
