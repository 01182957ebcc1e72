"""The end of a gateway: each connection is told its time and closed at it, and everything is served until then.

OPERATIONS, Stopping and draining, states the rule and its arithmetic.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable

from services.gateway.connections.link import Link
from services.gateway.connections.registry import ConnectionRegistry
from tidings.clock import Clock

# A client leaves by itself at its time; the gateway closes what is still there so much later.
GRACE_MS = 500
# In the last second a new connection would have to go at once: it is refused and tries elsewhere.
REFUSING_MS = 1_000
# Gone clients may be on their way back, also to this gateway, where it is the only one.
QUIET_MS = 1_000
# A balancer that asks every second has seen by then that the gateway is not ready; until then it sends calls.
SERVED_MS = 2_000
_LOOK_S = 0.05
_TOLD_AT_ONCE = 200


def leaving_times(count: int, span_ms: int) -> list[int]:
    """Milliseconds from the start at which each of `count` connections is to leave: evenly, the last one at the end."""
    return [span_ms * number // count for number in range(1, count + 1)]


class Drain:
    """Sends the connections of a gateway away within `drain_ms`. Used once."""

    def __init__(
        self,
        registry: ConnectionRegistry,
        clock: Clock,
        drain_ms: int,
        chance: Callable[[], float],
        calls: Callable[[], int],
    ) -> None:
        """`chance`: 0 … 1, for connections that come while the drain is under way. `calls`: of REST, ever begun."""
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
        """Return when every connection was closed and no call comes, at the latest after `drain_ms`.

        `refuse_more` is called before.
        """
        self._began_ms = self._clock.monotonic_ms()
        self._registry.on_sign_in = self._tell_newcomer
        calls = self._calls()
        await self._tell_all()
        # Without clients from the start: as if the last had gone so late that SERVED_MS are served.
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
        """Close all that are left, at once."""
        for link in self._registry:
            self._close(link)

    async def _tell_all(self) -> None:
        """Oldest connections first. What a client is told counts from the moment when it is told."""
        links = [link for link in self._registry if link.connection.user_id]
        for number, (link, after_ms) in enumerate(zip(links, leaving_times(len(links), self._span_ms()), strict=True)):
            self._tell(link, self._began_ms + after_ms)
            if number % _TOLD_AT_ONCE == _TOLD_AT_ONCE - 1:
                await asyncio.sleep(0)

    def _tell_newcomer(self, link: Link) -> None:
        """It may have been sent away here a moment ago: it stays for at least half of what is left."""
        now_ms = self._clock.monotonic_ms()
        left_ms = max(0, self._began_ms + self._span_ms() - now_ms)
        self._tell(link, now_ms + round(left_ms * (1 + self._chance()) / 2))

    def _tell(self, link: Link, at_ms: int) -> None:
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
