"""The `ack` and `read` frames of this device: its inbox position and its watermarks.

Watermarks are maxima, so it is safe to repeat them. `ack` frames are joined for LINGER_MS. The client sends
its latest watermarks again on each new connection (PROTOCOL, *Watermarks*).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tidings_client.effects import Effect, SendFrame
from tidings_client.frames import Ack, Position, Read

LINGER_MS = 80  # one ack for many messages; far below the 5 s after which the server repeats a push
MAX_UNSENT = 50  # messages; after a burst of this size the ack is sent at once
MAX_SESSIONS_PER_ACK = 50
SESSIONS_REPEATED = 200  # on a new connection, the last changed ones; 200 frames take 16 of the allowed 64 KiB


@dataclass(slots=True)
class Acks:
    _connected: bool = False
    _inbox_seq: int | None = None
    _sent_inbox_seq: int = 0
    _delivered: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _read: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _changed: dict[str, int] = field(default_factory=dict)
    _unsent_reads: dict[str, int] = field(default_factory=dict)  # made without a connection; no bound on their number
    _flush_at_ms: int | None = None

    def held(self, now_ms: int, inbox_seq: int) -> Iterator[Effect]:
        """The device holds its inbox up to `inbox_seq`, so the server need not repeat those pushes."""
        if inbox_seq > (self._inbox_seq or 0):
            self._inbox_seq = inbox_seq
            yield from self._linger(now_ms)

    def delivered(self, now_ms: int, session_id: str, seq: int) -> Iterator[Effect]:
        if _raise(self._delivered, session_id, seq):
            self._changed[session_id] = seq
            yield from self._linger(now_ms)

    def read(self, session_id: str, seq: int) -> Iterator[Effect]:
        """The user has read up to `seq`. Sent at once, and again on later connections."""
        if not _raise(self._read, session_id, seq):
            return
        if self._connected:
            yield SendFrame(Read(session_id=session_id, seq=seq))
        else:
            self._unsent_reads[session_id] = seq

    def forget(self, session_id: str) -> None:
        """The user is no longer a member of the session, so the server would refuse its watermarks."""
        for watermarks in (self._delivered, self._read, self._changed, self._unsent_reads):
            watermarks.pop(session_id, None)

    def forget_all(self) -> None:
        """Drop everything, because watermarks of one life of the deployment are meaningless in the next."""
        for watermarks in (self._delivered, self._read, self._changed, self._unsent_reads):
            watermarks.clear()
        self._inbox_seq, self._sent_inbox_seq, self._flush_at_ms = None, 0, None

    def held_again(self, now_ms: int) -> Iterator[Effect]:
        """The server repeated a push that this device holds, so its ack was lost. Send the ack again."""
        if self._inbox_seq is not None:
            yield from self._linger(now_ms)

    def ready(self) -> Iterator[Effect]:
        """A new connection is signed in."""
        self._connected = True
        self._changed = dict(self._delivered)
        yield from self.flush()
        reads, self._unsent_reads = {**self._unsent_reads, **self._read}, {}
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
        unsent = max(len(self._changed), (self._inbox_seq or 0) - self._sent_inbox_seq)
        if self._connected and unsent >= MAX_UNSENT:
            yield from self.flush()

    def flush(self) -> Iterator[Effect]:
        """Send the pending acks now."""
        self._flush_at_ms, self._sent_inbox_seq = None, self._inbox_seq or 0
        positions = [Position(session_id, seq) for session_id, seq in self._changed.items()]
        self._changed = {}
        for start in range(0, max(1, len(positions)), MAX_SESSIONS_PER_ACK):
            part = tuple(positions[start : start + MAX_SESSIONS_PER_ACK])
            if part or self._inbox_seq is not None:
                yield SendFrame(Ack(inbox_seq=self._inbox_seq, delivered=part))


def _raise(watermarks: OrderedDict[str, int], session_id: str, seq: int) -> bool:
    if seq <= watermarks.get(session_id, 0):
        return False
    watermarks[session_id] = seq
    watermarks.move_to_end(session_id)
    if len(watermarks) > SESSIONS_REPEATED:
        watermarks.popitem(last=False)
    return True
