"""The devices of simulated users: the SDK's own client on each, and an application that handles what it is given."""

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass

from tests.simulation.admission import wall_ms
from tests.simulation.ports import Servers
from tests.simulation.watcher import Watcher
from tidings import ids
from tidings_client import client as sdk
from tidings_client.cursors import MemoryCursorStore
from tidings_client.effects import Link
from tidings_client.errors import Stopped
from tidings_client.outbox import MemoryOutbox

_MINUTE_MS, _DAY_MS = 60_000, 24 * 60 * 60_000
# By how much the clocks of devices are ahead: mostly not, mostly within what is taken, now and then beyond.
_CLOCKS_MS = (
    *(0,) * 6,
    *(-_MINUTE_MS, 50_000, 4 * _MINUTE_MS, 5 * _MINUTE_MS - 200, -89 * _DAY_MS),
    *(5 * _MINUTE_MS + 500, 6 * _MINUTE_MS, 400 * _DAY_MS, -91 * _DAY_MS),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as the application got it."""

    session_id: str
    seq: int
    message_id: int


class Device:
    """One device. It may be restarted; its cursor and its outbox are kept."""

    def __init__(self, servers: Servers, watcher: Watcher, user_id: str, device_id: str) -> None:
        self.user_id, self.device_id = user_id, device_id
        self.clock_ahead_ms = 0
        self._watcher = watcher
        self.shown: dict[str, list[Shown]] = defaultdict(list)
        # What was taken and not settled when the application ended: it comes again. What was settled above the cursor,
        # which waits for a group's history, may come again, too (docs/LIMITS.md).
        self.to_come_again: set[tuple[str, int]] = set()
        self._may_come_again: set[tuple[str, int]] = set()
        self.said: dict[str, int] = {}
        self._servers = servers
        self._cursors, self._outbox = MemoryCursorStore(), MemoryOutbox()
        self._application: asyncio.Task[None] | None = None
        self._taken: Shown | None = None

    async def start(self) -> None:
        """A new process of the application."""
        self.client = sdk.Client(
            f"http://{self.user_id}.{self.device_id}",
            self.user_id,
            device_id=self.device_id,
            cursors=self._cursors,
            outbox=self._outbox,
        )
        self.clock_ahead_ms = self._servers.chance.choice(_CLOCKS_MS)
        self.client._time._device_ms = self.wall_ms
        await self.client.__aenter__()
        self._application = asyncio.create_task(self._handle())

    def wall_ms(self) -> int:
        """Its own clock, which the SDK uses until a server has sent the time."""
        return wall_ms() + self.clock_ahead_ms

    async def end(self) -> None:
        """The application leaves."""
        if self._application is None:
            return
        self._application.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._application
        await self.client.close()
        self.said.clear()
        taken = self._taken
        for shown in (one for of_session in self.shown.values() for one in of_session):
            place = (shown.session_id, shown.seq)
            # Of a group all may come again: its log may be read from the joining, or be closed by then.
            if ids.is_group_session(shown.session_id) or self._is_above_cursor(*place):
                self._may_come_again.add(place)
        if taken is not None and not ids.is_group_session(taken.session_id):
            self.to_come_again.add((taken.session_id, taken.seq))

    def _is_above_cursor(self, session_id: str, seq: int) -> bool:
        cursor = self._cursors.cursor
        if cursor is None:
            return True
        inbox_seq = self._watcher.inbox_seqs.get((self.user_id, session_id, seq))
        return seq > cursor.groups.get(session_id, 0) if inbox_seq is None else inbox_seq > cursor.inbox_seq

    @property
    def is_busy(self) -> bool:
        """It is not connected, or has messages that are not stored yet."""
        return self.client.link is not Link.READY or self.client._own.under_way > 0

    def read(self, session_id: str, seq: int) -> None:
        """The user has read up to here."""
        self.said[session_id] = max(seq, self.said.get(session_id, 0))
        self.client.mark_read(session_id, seq)

    async def _handle(self) -> None:
        """Show each message; now and then take some time, or say that it is read."""
        chance = self._servers.chance
        with contextlib.suppress(Stopped):
            async for message in self.client.messages():
                self._taken = shown = Shown(message.session_id, message.seq, int(message.message_id))
                place = (shown.session_id, shown.seq)
                if place in self.to_come_again | self._may_come_again:
                    self.to_come_again.discard(place)
                    self._may_come_again.discard(place)
                else:
                    self.shown[shown.session_id].append(shown)
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.random())
                if chance.random() < 0.15:
                    self.read(shown.session_id, max(1, shown.seq - chance.choice((0, 0, 1, 3))))
                self._taken = None  # asking for the next message settles this one
