"""Decides which *delivered* and *read* watermarks this device may send for each session. Pure.

Both watermarks are cumulative: `read` 6 also covers 1–5. A device that starts in the middle of a session (with `live`,
or above expired messages) has not received the messages before. So the device sends a watermark only if its messages
connect to the stored *delivered* watermark or to the seq of joining (PROTOCOL, *Watermarks*). Every message up to the
stored watermark was received by some device of the user.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tidings_client.acks import Acks
from tidings_client.effects import Effect, FetchOwnMarks
from tidings_client.frames import Message
from tidings_client.ids import direct_session
from tidings_client.membership import joins, leaves

SESSIONS_REMEMBERED = 10_000  # for an evicted session the stored watermark is fetched again
MAX_PARTS = 32  # disjoint ranges per session; a dropped range counts only after it was fetched again
LINGER_MS = 80  # the stored watermarks of several sessions are fetched together


@dataclass(slots=True)
class _Session:
    """`upto`: some device has received every message up to this seq. None: not fetched from the server yet.
    `parts`: ranges above `upto` that this device has received."""

    upto: int | None = None
    parts: list[tuple[int, int]] = field(default_factory=list)
    is_requested: bool = False
    is_read_mode: bool = False
    delivered: int = 0
    read: int = 0

    def have(self, first: int, last: int) -> None:
        """This device has received the messages from `first` to `last`."""
        self.parts = _joined([*self.parts, (first, last)])[-MAX_PARTS:]
        self._absorb()

    def have_before(self, seq: int) -> None:
        """Every message below `seq` was received by some device, or was sent before the user joined."""
        self.upto = max(self.upto or 0, seq - 1)
        self._absorb()

    def _absorb(self) -> None:
        if self.upto is None and self.parts[:1] and self.parts[0][0] == 1:
            self.upto = 0
        while self.upto is not None and self.parts and self.parts[0][0] <= self.upto + 1:
            self.upto = max(self.upto, self.parts.pop(0)[1])

    @property
    def is_waiting(self) -> bool:
        """A watermark cannot be sent yet, because messages below it are missing."""
        # In read mode the server stores *read* only.
        wanted = self.read if self.is_read_mode else max(self.delivered, self.read)
        return wanted > (self.upto or 0)


@dataclass(slots=True)
class Claims:
    acks: Acks
    _sessions: OrderedDict[str, _Session] = field(default_factory=OrderedDict)
    _to_fetch: dict[str, None] = field(default_factory=dict)
    _fetch_at_ms: int | None = None

    def shown(self, now_ms: int, message: Message, user_id: str, *, is_read_mode: bool) -> Iterator[Effect]:
        """A message was passed to the application."""
        session_id, seq = message.session_id, message.seq
        if leaves(message, user_id):
            self.forget(session_id)
            return
        session = self._session(session_id)
        if joins(message, user_id):
            session.have_before(seq)
        had_no_gap, session.is_read_mode = not session.parts, is_read_mode
        session.have(seq, seq)
        if message.sender_id != user_id or session_id == direct_session(user_id, user_id):
            session.delivered = max(session.delivered, seq)
        if had_no_gap and session.parts:
            session.is_requested = False  # another device may have received the messages of the gap
        yield from self._send(now_ms, session_id)

    def had_before(self, session_id: str, seq: int) -> None:
        """This device has had everything below `seq` that the user may have, perhaps in an earlier process."""
        self._session(session_id).have_before(seq)

    def had(self, now_ms: int, session_id: str, first: int, last: int) -> Iterator[Effect]:
        """The application has fetched the messages from `first` to `last`."""
        self._session(session_id).have(first, last)
        yield from self._send(now_ms, session_id)

    def read(self, now_ms: int, session_id: str, seq: int, *, even_unseen: bool) -> Iterator[Effect]:
        """The user has read up to `seq`. `even_unseen`: also messages that no device has received."""
        if even_unseen:
            yield from self.acks.read(session_id, seq)
            return
        session = self._session(session_id)
        session.read = max(session.read, seq)
        yield from self._send(now_ms, session_id)

    def stored(self, now_ms: int, session_id: str, delivered_seq: int, first_seq: int) -> Iterator[Effect]:
        """The answer to `FetchOwnMarks`: the stored watermark of all devices, and the lowest seq that the user may
        have: that of joining, or the first one that is left."""
        session = self._session(session_id)
        session.have_before(max(delivered_seq + 1, first_seq, 1))
        yield from self._send(now_ms, session_id)

    def not_stored(self, session_id: str) -> None:
        """The fetch failed. It is repeated with the next message, or after the next `live`."""
        if (session := self._sessions.get(session_id)) is not None:
            session.is_requested = False

    def live(self, now_ms: int) -> None:
        """Fetch the stored watermarks of waiting sessions, because another device may have raised them."""
        for session_id, session in self._sessions.items():
            if session.is_waiting:
                self._fetch(now_ms, session_id)

    def forget(self, session_id: str) -> None:
        """The user is no longer a member of the session, so the server would refuse its watermarks."""
        self.acks.forget(session_id)
        self._sessions.pop(session_id, None)
        self._to_fetch.pop(session_id, None)

    def forget_all(self) -> None:
        """Drop everything, because seqs of one life of the deployment are meaningless in the next."""
        self.acks.forget_all()
        self._sessions.clear()
        self._to_fetch.clear()

    def tick(self, now_ms: int) -> Iterator[Effect]:
        if self._fetch_at_ms is None or self._fetch_at_ms > now_ms:
            return
        session_ids, self._to_fetch, self._fetch_at_ms = self._to_fetch, {}, None
        if session_ids:
            yield FetchOwnMarks(tuple(session_ids))

    def next_tick_ms(self) -> int | None:
        return self._fetch_at_ms

    def _send(self, now_ms: int, session_id: str) -> Iterator[Effect]:
        session = self._session(session_id)
        if session.is_waiting and not session.is_requested:
            session.is_requested = True
            self._fetch(now_ms, session_id)
        if session.upto is None:
            return
        if delivered := min(session.delivered, session.upto):
            yield from self.acks.delivered(now_ms, session_id, delivered)
        if read := min(session.read, session.upto):
            yield from self.acks.read(session_id, read)

    def _fetch(self, now_ms: int, session_id: str) -> None:
        self._to_fetch[session_id] = None
        if self._fetch_at_ms is None:
            self._fetch_at_ms = now_ms + LINGER_MS

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.setdefault(session_id, _Session())
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > SESSIONS_REMEMBERED:
            self._sessions.popitem(last=False)
        return session


def _joined(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same seqs as ascending ranges that neither overlap nor touch."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(parts):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
