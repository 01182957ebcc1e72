"""Statuses of own stored messages: *sent*, *delivered*, *read*.

Watermarks are maxima (PROTOCOL, *Watermarks*). They may come in any order, repeatedly, and before the ack of the
message that they cover.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tidings_client.effects import Effect, Status, StatusChanged

SESSIONS_REMEMBERED = 1_000  # the least recently used are evicted; `live` refreshes the others
WATCHED_PER_SESSION = 1_000  # the newest messages that are not read yet


@dataclass(slots=True)
class _Watched:
    client_msg_id: str
    seq: int
    message_id: str
    status: Status = Status.SENT


@dataclass(slots=True)
class _Session:
    delivered_seq: int = 0
    read_seq: int = 0
    watched: list[_Watched] = field(default_factory=list)


@dataclass(slots=True)
class Receipts:
    _sessions: OrderedDict[str, _Session] = field(default_factory=OrderedDict)

    def newest_unread(self) -> dict[str, int]:
        """The newest own message that is not read yet, by session."""
        return {
            session_id: max(message.seq for message in session.watched)
            for session_id, session in self._sessions.items()
            if session.watched
        }

    def watch(self, client_msg_id: str, session_id: str, seq: int, message_id: str) -> Iterator[Effect]:
        """An own message is stored. Apply the stored watermarks to it, and watch it from now on."""
        session = self._session(session_id)
        message = _Watched(client_msg_id, seq, message_id)
        yield from self._advance(session_id, message, seq <= session.delivered_seq, seq <= session.read_seq)
        if message.status is not Status.READ:
            session.watched.append(message)
            del session.watched[:-WATCHED_PER_SESSION]

    def watermarks(self, session_id: str, delivered_seq: int, read_seq: int) -> Iterator[Effect]:
        """The peer of a direct session, or another member of a group, has received and read up to these seqs."""
        session = self._session(session_id)
        session.read_seq = max(session.read_seq, read_seq)
        session.delivered_seq = max(session.delivered_seq, delivered_seq, read_seq)
        for message in session.watched:
            delivered, read = message.seq <= session.delivered_seq, message.seq <= session.read_seq
            yield from self._advance(session_id, message, delivered, read)
        self._drop_read(session)

    def count(self, session_id: str, seq: int, delivered: int, read: int) -> Iterator[Effect]:
        """`delivered` and `read` members of a group have received and read this message. Watermarks are cumulative, so
        earlier messages change too."""
        yield from self.watermarks(session_id, seq if delivered else 0, seq if read else 0)

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.setdefault(session_id, _Session())
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > SESSIONS_REMEMBERED:
            self._sessions.popitem(last=False)
        return session

    @staticmethod
    def _drop_read(session: _Session) -> None:
        session.watched = [message for message in session.watched if message.status is not Status.READ]

    @staticmethod
    def _advance(session_id: str, message: _Watched, delivered: bool, read: bool) -> Iterator[Effect]:
        """Emit each status in order, also if a watermark skips one, because *read* implies *delivered*."""
        if delivered and message.status is Status.SENT:
            message.status = Status.DELIVERED
            yield _moved(session_id, message)
        if read and message.status is Status.DELIVERED:
            message.status = Status.READ
            yield _moved(session_id, message)


def _moved(session_id: str, message: _Watched) -> StatusChanged:
    return StatusChanged(message.client_msg_id, message.status, session_id, message.seq, message.message_id)
