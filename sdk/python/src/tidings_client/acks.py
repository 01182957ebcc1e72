"""What this device tells the server: held up to here, delivered and read up to there.

Watermarks are maxima, so repeating is safe: `ack` frames are joined for a moment, and each new
connection hears the latest of everything again (PROTOCOL, *Watermarks*).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tidings_client.effects import Effect, SendFrame
from tidings_client.frames import Ack, Position, Read

LINGER_MS = 80  # one ack a moment rather than one a message; far below the 5 s after which the server repeats
MAX_UNSAID = 50  # messages; a burst need not wait
MAX_SESSIONS_PER_ACK = 50
SESSIONS_REPEATED = 200  # on a new connection: the most recently changed; 200 frames are 16 of the allowed 64 KiB


@dataclass(slots=True)
class Acks:
    _connected: bool = False
    _inbox_seq: int | None = None
    _said_inbox_seq: int = 0
    _delivered: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _read: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _changed: dict[str, int] = field(default_factory=dict)
    _unsaid_reads: dict[str, int] = field(default_factory=dict)  # of a time without a connection, however many
    _flush_at_ms: int | None = None

    def held(self, now_ms: int, inbox_seq: int) -> Iterator[Effect]:
        """Nothing up to `inbox_seq` need be repeated to this connection."""
        if inbox_seq > (self._inbox_seq or 0):
            self._inbox_seq = inbox_seq
            yield from self._linger(now_ms)

    def delivered(self, now_ms: int, session_id: str, seq: int) -> Iterator[Effect]:
        if _raise(self._delivered, session_id, seq):
            self._changed[session_id] = seq
            yield from self._linger(now_ms)

    def read(self, session_id: str, seq: int) -> Iterator[Effect]:
        """The user has read up to here. Said at once, and again on the next connections."""
        if not _raise(self._read, session_id, seq):
            return
        if self._connected:
            yield SendFrame(Read(session_id=session_id, seq=seq))
        else:
            self._unsaid_reads[session_id] = seq

    def forget(self, session_id: str) -> None:
        """The user is a stranger to the session, and what is said of it would be refused."""
        for marks in (self._delivered, self._read, self._changed, self._unsaid_reads):
            marks.pop(session_id, None)

    def forget_all(self) -> None:
        """Another life of the deployment: nothing that was said means anything in it."""
        for marks in (self._delivered, self._read, self._changed, self._unsaid_reads):
            marks.clear()
        self._inbox_seq, self._said_inbox_seq, self._flush_at_ms = None, 0, None

    def held_again(self, now_ms: int) -> Iterator[Effect]:
        """A repeat came of what is held: the server has not heard it, or did not believe it."""
        if self._inbox_seq is not None:
            yield from self._linger(now_ms)

    def ready(self) -> Iterator[Effect]:
        """A new connection is signed in."""
        self._connected = True
        self._changed = dict(self._delivered)
        yield from self.flush()
        reads, self._unsaid_reads = {**self._unsaid_reads, **self._read}, {}
        for session_id, seq in reads.items():
            yield SendFrame(Read(session_id=session_id, seq=seq))

    def lost(self) -> None:
        self._connected = False

    def tick(self, now_ms: int) -> Iterator[Effect]:
        if self._connected and self._flush_at_ms is not None and self._flush_at_ms <= now_ms:
            yield from self.flush()

    def next_tick_ms(self) -> int | None:
        return self._flush_at_ms if self._connected else None

    def _linger(self, now_ms: int) -> Iterator[Effect]:
        if self._flush_at_ms is None:
            self._flush_at_ms = now_ms + LINGER_MS
        unsaid = max(len(self._changed), (self._inbox_seq or 0) - self._said_inbox_seq)
        if self._connected and unsaid >= MAX_UNSAID:
            yield from self.flush()

    def flush(self) -> Iterator[Effect]:
        """Say now what is still to be said."""
        self._flush_at_ms, self._said_inbox_seq = None, self._inbox_seq or 0
        positions = [Position(session_id, seq) for session_id, seq in self._changed.items()]
        self._changed = {}
        for start in range(0, max(1, len(positions)), MAX_SESSIONS_PER_ACK):
            part = tuple(positions[start : start + MAX_SESSIONS_PER_ACK])
            if part or self._inbox_seq is not None:
                yield SendFrame(Ack(inbox_seq=self._inbox_seq, delivered=part))


def _raise(marks: OrderedDict[str, int], session_id: str, seq: int) -> bool:
    if seq <= marks.get(session_id, 0):
        return False
    marks[session_id] = seq
    marks.move_to_end(session_id)
    if len(marks) > SESSIONS_REPEATED:
        marks.popitem(last=False)
    return True
