"""What this device says of a session: *delivered* and *read* up to a place, and never past what no device has had.

Pure. Both are cumulative: to say 6 says 1–5 as well. A device that begins in the middle of a session (with `live`, or
above what has expired) has not had what is before. So it says a place only where it joins on to what is stored as
delivered, which an earlier device of the user has had, or to the seq of joining (PROTOCOL, *Watermarks*).
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

SESSIONS_REMEMBERED = 10_000  # of the others the server is asked again
MAX_PARTS = 32  # apart from each other, per session; what does not fit is fetched again before it counts
LINGER_MS = 80  # sessions of one moment are asked about together


@dataclass(slots=True)
class _Session:
    """`upto`: everything up to there was had by some device; None: only the server knows. `parts`: had above it."""

    upto: int | None = None
    parts: list[tuple[int, int]] = field(default_factory=list)
    is_asked: bool = False
    is_read_mode: bool = False
    delivered: int = 0
    read: int = 0

    def have(self, first: int, last: int) -> None:
        """Everything from `first` to `last`."""
        self.parts = _joined([*self.parts, (first, last)])[-MAX_PARTS:]
        self._absorb()

    def have_before(self, seq: int) -> None:
        """Everything below `seq` was had, or is not the user's to have."""
        self.upto = max(self.upto or 0, seq - 1)
        self._absorb()

    def _absorb(self) -> None:
        if self.upto is None and self.parts[:1] and self.parts[0][0] == 1:
            self.upto = 0
        while self.upto is not None and self.parts and self.parts[0][0] <= self.upto + 1:
            self.upto = max(self.upto, self.parts.pop(0)[1])

    @property
    def is_waiting(self) -> bool:
        """Something is to be said that does not join on yet."""
        said = self.read if self.is_read_mode else max(self.delivered, self.read)  # only *read* is kept of the others
        return said > (self.upto or 0)


@dataclass(slots=True)
class Claims:
    acks: Acks
    _sessions: OrderedDict[str, _Session] = field(default_factory=OrderedDict)
    _to_ask: dict[str, None] = field(default_factory=dict)
    _ask_at_ms: int | None = None

    def shown(self, now_ms: int, message: Message, user_id: str, *, is_read_mode: bool) -> Iterator[Effect]:
        """A message went to the application."""
        session_id, seq = message.session_id, message.seq
        if leaves(message, user_id):
            self.forget(session_id)
            return
        session = self._session(session_id)
        if joins(message, user_id):
            session.have_before(seq)
        was_level, session.is_read_mode = not session.parts, is_read_mode
        session.have(seq, seq)
        if message.sender_id != user_id or session_id == direct_session(user_id, user_id):
            session.delivered = max(session.delivered, seq)
        if was_level and session.parts:
            session.is_asked = False  # a gap: perhaps another device has had what is missing
        yield from self._say(now_ms, session_id)

    def had(self, now_ms: int, session_id: str, first: int, last: int) -> Iterator[Effect]:
        """The application has fetched this part of the history."""
        self._session(session_id).have(first, last)
        yield from self._say(now_ms, session_id)

    def read(self, now_ms: int, session_id: str, seq: int, *, even_unseen: bool) -> Iterator[Effect]:
        """The user has read up to `seq`; `even_unseen`: also what no device has had."""
        if even_unseen:
            yield from self.acks.read(session_id, seq)
            return
        session = self._session(session_id)
        session.read = max(session.read, seq)
        yield from self._say(now_ms, session_id)

    def stored(self, now_ms: int, session_id: str, delivered_seq: int, joined_seq: int) -> Iterator[Effect]:
        """The answer to `FetchOwnMarks`: up to where other devices have had it, and where the user joined."""
        session = self._session(session_id)
        session.have_before(max(delivered_seq + 1, joined_seq, 1))
        yield from self._say(now_ms, session_id)

    def not_stored(self, session_id: str) -> None:
        """No answer: asked again with the next message, or after the next `live`."""
        if (session := self._sessions.get(session_id)) is not None:
            session.is_asked = False

    def live(self, now_ms: int) -> None:
        """Ask about what still waits: another device may have come further meanwhile."""
        for session_id, session in self._sessions.items():
            if session.is_waiting:
                self._ask(now_ms, session_id)

    def forget(self, session_id: str) -> None:
        """The user is a stranger to the session, and what is said of it would be refused."""
        self.acks.forget(session_id)
        self._sessions.pop(session_id, None)
        self._to_ask.pop(session_id, None)

    def forget_all(self) -> None:
        """Another life of the deployment: its seqs are others."""
        self.acks.forget_all()
        self._sessions.clear()
        self._to_ask.clear()

    def tick(self, now_ms: int) -> Iterator[Effect]:
        if self._ask_at_ms is None or self._ask_at_ms > now_ms:
            return
        asked, self._to_ask, self._ask_at_ms = self._to_ask, {}, None
        if asked:
            yield FetchOwnMarks(tuple(asked))

    def next_tick_ms(self) -> int | None:
        return self._ask_at_ms

    def _say(self, now_ms: int, session_id: str) -> Iterator[Effect]:
        session = self._session(session_id)
        if session.is_waiting and not session.is_asked:
            session.is_asked = True
            self._ask(now_ms, session_id)
        if session.upto is None:
            return
        if delivered := min(session.delivered, session.upto):
            yield from self.acks.delivered(now_ms, session_id, delivered)
        if read := min(session.read, session.upto):
            yield from self.acks.read(session_id, read)

    def _ask(self, now_ms: int, session_id: str) -> None:
        self._to_ask[session_id] = None
        if self._ask_at_ms is None:
            self._ask_at_ms = now_ms + LINGER_MS

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.setdefault(session_id, _Session())
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > SESSIONS_REMEMBERED:
            self._sessions.popitem(last=False)
        return session


def _joined(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same places in ascending parts that do not touch."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(parts):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
