"""All connections of this gateway, by name, user and device."""

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterator

from services.gateway.connections.link import Link, Send
from services.gateway.large_groups.tracker import GroupTracker
from services.gateway.protocol.connection import Connection
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.reads.known_heads import KnownHeads
from services.gateway.submit.publisher import Publisher
from tidings import metrics
from tidings.clock import Clock
from tidings.close_codes import NOT_OURS, CloseCode
from tidings.logging import logger

# Each connection is checked once in SLICES ticks.
SLICES = 5
# As fanout does between gateways: a late `hello` is followed by the end of its connection within this time (ADR 44).
REPLACES_AFTER_S = 1.0
_ENDS_READ_S = 0.2
# Expected closes are not logged, because many tokens may expire at the same time.
_ORDINARY = (CloseCode.GOING_AWAY, CloseCode.NOT_AUTHORISED, CloseCode.REPLACED)

_log = logger("tidings.gateway.registry")


class ConnectionRegistry:
    """Registers connections and announces them. One connection per (user, device): the newest."""

    def __init__(
        self,
        rules: ConnectionRules,
        publisher: Publisher,
        clock: Clock,
        gateway_name: str,
        known_heads: KnownHeads | None = None,
    ) -> None:
        """`gateway_name` makes connection ids unique among all gateways and their starts."""
        self._rules = rules
        self._publisher = publisher
        self._clock = clock
        self._gateway_name = gateway_name
        self._numbers = itertools.count(1)
        self._links: dict[str, Link] = {}
        self._of_user: dict[str, tuple[Link, ...]] = {}
        # The read-diffusion groups of connected users.
        self.group_tracker = GroupTracker()
        # The lower bounds of the heads of sessions that were pushed or read here.
        self.known_heads = known_heads or KnownHeads()
        self._slices: tuple[dict[Link, None], ...] = tuple({} for _ in range(SLICES))
        # Set while this gateway drains. It gives each new connection its time to leave.
        self.on_sign_in: Callable[[Link], None] | None = None
        # Reads these groups of a user; LiveAnswers sets it.
        self.on_missed_groups: Callable[[str, Collection[str]], None] | None = None

    def __len__(self) -> int:
        """The number of connections, signed in or not."""
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        """A snapshot of all connections."""
        return iter(tuple(self._links.values()))

    def open(self, send: Send) -> Link:
        """Add a connection. Must be called in the task that serves it."""
        number = next(self._numbers)
        connection = Connection(f"{self._gateway_name}-{number:x}", self._rules, self._clock.monotonic_ms())
        link = Link(connection, send)
        self._links[connection.connection_id] = link
        self._slice_of(link)[link] = None
        metrics.CONNECTIONS.set(len(self._links))
        return link

    def sign_in(self, link: Link) -> None:
        """Register a signed-in connection, announce presence, and close older ones of the same device.

        Does nothing if the message of the hello also had a fatal error, because the connection is removed then.
        """
        connection = link.connection
        if connection.connection_id not in self._links:
            return
        others = self._of_user.get(connection.user_id, ())
        self._of_user[connection.user_id] = (*others, link)
        # Before the groups are read for `live`, so that no push in between is lost (H35).
        self.group_tracker.add_user(connection.user_id)
        older = [other for other in others if other.connection.device_id == connection.device_id]
        # The newest older connection stays for REPLACES_AFTER_S, because the new connection may end before that. The
        # others are closed now, so that a device never has more than two.
        for other in older[:-1]:
            self._close_replaced(other)
        if older:
            asyncio.get_running_loop().call_later(REPLACES_AFTER_S, self._replace_soon, older[-1], link)
        self.announce(link)
        if self.on_sign_in is not None:
            self.on_sign_in(link)

    def expect_groups(self, user_id: str, session_ids: Collection[str]) -> None:
        """Large groups that the user's inbox names. A push that was lost without a resync is noticed here."""
        missed = [name for name in session_ids if self.group_tracker.expect(user_id, name)]
        if missed and self.on_missed_groups is not None:
            self.on_missed_groups(user_id, missed)

    def _replace_soon(self, older: Link, newer: Link) -> None:
        """After a stall of this process the end of the newer connection may be read only now, after this timer."""
        asyncio.get_running_loop().call_later(_ENDS_READ_S, self._replace, older, newer)

    def _replace(self, older: Link, newer: Link) -> None:
        """Close the older connection of a device, if the newer one still exists: ADR 44."""
        if newer.connection.connection_id in self._links:
            self._close_replaced(older)

    def _close_replaced(self, link: Link) -> None:
        link.connection.replaced()
        self.settle(link)

    def announce(self, link: Link) -> None:
        """Publish presence `here`."""
        connection = link.connection
        names = (connection.user_id, connection.device_id, connection.connection_id)
        self._publisher.presence(*names, connection.signed_in_at_ms)

    def of_user(self, user_id: str) -> Collection[Link]:
        """The signed-in connections of a user."""
        return self._of_user.get(user_id, ())

    def get(self, connection_id: str) -> Link | None:
        """A connection by its name."""
        return self._links.get(connection_id)

    def slice(self, number: int) -> Collection[Link]:
        """A snapshot of slice 0 to SLICES - 1 of all connections."""
        return tuple(self._slices[number])

    def settle(self, link: Link) -> None:
        """Called after any input: write the queued frames. A closing connection is removed."""
        link.flush()
        if link.connection.closing:
            self._remove(link)

    def close(self, link: Link) -> None:
        """The socket has ended."""
        link.gone()
        self._remove(link)

    def _remove(self, link: Link) -> None:
        connection = link.connection
        if self._links.pop(connection.connection_id, None) is None:
            return
        self._slice_of(link).pop(link, None)
        metrics.CONNECTIONS.set(len(self._links))
        metrics.CLOSES.labels(str(int(connection.closing[0] if connection.closing else NOT_OURS))).inc()
        if connection.user_id:
            self._log_close(connection)
            self._remove_user(link)

    def _log_close(self, connection: Connection) -> None:
        """Log closes of signed-in connections only. Others are counted, because a flood of them would flood the log."""
        if connection.closing and connection.closing[0] not in _ORDINARY:
            code, reason = connection.closing
            _log.info(
                "connection closed",
                user_id=connection.user_id,
                connection=connection.connection_id,
                code=int(code),
                reason=reason,
            )

    def _remove_user(self, link: Link) -> None:
        connection = link.connection
        signed_in = self._of_user.get(connection.user_id, ())
        of_device = [other for other in signed_in if other.connection.device_id == connection.device_id]
        others = tuple(other for other in signed_in if other is not link)
        if others:
            self._of_user[connection.user_id] = others
        else:
            self._of_user.pop(connection.user_id, None)
            self.group_tracker.remove_user(connection.user_id)
        # Presence has one key per device and gateway. A `gone` after the `here` of a newer connection would be the
        # only record that compaction keeps. Where the older connection stays, its `here` has to be the last one.
        if of_device[-1:] == [link] and len(of_device) > 1:
            self.announce(of_device[-2])
        elif of_device in ([], [link]):
            self._publisher.presence(connection.user_id, connection.device_id, connection.connection_id, None)

    def _slice_of(self, link: Link) -> dict[Link, None]:
        return self._slices[hash(link.connection.connection_id) % SLICES]
