"""The two streams that the application reads: messages and events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tidings_client.effects import Complaint, Deliver, Event
from tidings_client.errors import Stopped
from tidings_client.frames import Message
from tidings_client.outages import Outages

MAX_EVENTS = 1_000  # per stream; a reader that is further behind loses the oldest
MAX_UNREAD = 10  # complaints that wait for the first reader


class Incoming:
    """Delivered messages that wait for the application. Bounded by the core's window."""

    def __init__(self, handled: Callable[[int], None]) -> None:
        self._handled = handled
        self._waiting: deque[Deliver] = deque()
        self._tickets: dict[tuple[str, int, int], int] = {}
        self._taken: Message | None = None
        self._wake = asyncio.Event()
        self._ended: Stopped | None = None

    def put(self, delivery: Deliver) -> None:
        self._waiting.append(delivery)
        self._tickets[_name(delivery.message)] = delivery.ticket
        self._wake.set()

    def end(self, error: Stopped) -> None:
        self._ended = error
        self._wake.set()

    def settle(self, message: Message) -> None:
        """The application has handled the message. Safe to repeat."""
        ticket = self._tickets.pop(_name(message), None)
        if ticket is not None:
            self._handled(ticket)

    def settle_taken(self) -> None:
        """The application has handled the last message that it took."""
        if self._taken is not None:
            self.settle(self._taken)
            self._taken = None

    async def take(self, *, settle: bool) -> Message:
        """Wait for the next message. With `settle`, the next `take` or `settle_taken` settles it. Raises Stopped when
        no more messages can come."""
        self.settle_taken()
        while not self._waiting:
            if self._ended is not None:
                raise self._ended
            self._wake.clear()
            await self._wake.wait()
        message = self._waiting.popleft().message
        if settle:
            self._taken = message
        return message


def _name(message: Message) -> tuple[str, int, int]:
    """The time is part of the name, because another life of the deployment uses the same session and seq again."""
    return message.session_id, message.seq, message.at


class Events:
    """Any number of readers. Each gets the events from its first `next` call on. A complaint without any reader waits
    for the first one."""

    def __init__(self, outages: Outages) -> None:
        self._outages = outages
        self._readers: list[asyncio.Queue[Event | None]] = []
        self._unread: deque[Complaint] = deque(maxlen=MAX_UNREAD)

    def put(self, event: Event | None) -> None:
        """Queue an event for every reader; None ends the stream."""
        self._outages.follow(event)
        if isinstance(event, Complaint) and not self._readers:
            self._unread.append(event)
        for reader in self._readers:
            if reader.full():
                reader.get_nowait()
            reader.put_nowait(event)

    def join(self) -> asyncio.Queue[Event | None]:
        reader: asyncio.Queue[Event | None] = asyncio.Queue(MAX_EVENTS)
        while self._unread:
            reader.put_nowait(self._unread.popleft())
        self._readers.append(reader)
        return reader

    def leave(self, reader: asyncio.Queue[Event | None]) -> None:
        self._readers.remove(reader)
