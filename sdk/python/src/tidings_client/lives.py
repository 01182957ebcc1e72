"""The life of the deployment that a cursor belongs to, and what earlier lives have shown (PROTOCOL, *Other lives*).

Pure. An inbox_seq or a seq is valid within one life of the server's tables only. After the tables are created again or
restored from a backup, the device reads from the beginning. Messages that the backup kept were shown before, up to the
old cursor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tidings_client.effects import Complaint, Cursor, Earlier
from tidings_client.frames import Deployment, Message

MAX_EARLIER = 8  # restores; older entries are dropped
# A cursor of the same life may be above the tail for a while, after a push whose write is not confirmed. Fanout
# repeats the round within seconds. This is four times the 8 s after which another fanout takes over.
PATIENCE_MS = 30_000
OTHER_LIFE = Complaint(
    "other_life",
    "the server's tables were created again or restored, and the cursor of this device is of an earlier life:"
    " reading from the beginning",
)


@dataclass(slots=True)
class Lives:
    """`is_proven`: the server has confirmed the cursor in the current life, or there was no cursor."""

    current: Deployment | None = None
    is_proven: bool = False
    earlier: tuple[Earlier, ...] = ()
    _doubted_at_ms: int | None = None
    _shown_before_ms: int = 0
    _shown: Mapping[str, int] = field(default_factory=dict)

    def restore(self, cursor: Cursor | None) -> None:
        """Called before the first connection. Without a cursor nothing can belong to another life."""
        if cursor is None:
            self.is_proven = True
            return
        self.current, self.earlier = cursor.deployment, cursor.earlier
        self.is_proven = cursor.deployment is not None

    def greeted(self, deployment: Deployment | None) -> bool:
        """`welcome` names a life. True if the cursor belongs to another one."""
        if deployment is None:
            return False
        if self.current is not None and self.current.id != deployment.id:
            return True
        self.current = deployment
        return False

    def prove(self) -> None:
        """The server's tail is at or above the cursor."""
        self.is_proven, self._doubted_at_ms = True, None

    def is_over(self, now_ms: int) -> bool:
        """The server states that the cursor is above the tail. True if only another life can explain it."""
        if not self.is_proven:
            return True
        if self._doubted_at_ms is None:
            self._doubted_at_ms = now_ms
        return now_ms - self._doubted_at_ms >= PATIENCE_MS

    def trust(self) -> None:
        """The connection is closed, so a doubt starts again on the next one."""
        self._doubted_at_ms = None

    def begin(self, deployment: Deployment | None, place: Cursor, shown: Mapping[str, int]) -> None:
        """Begin another life. `place`: the cursor at the end of the last life. `shown`: by session, the last seq."""
        before_ms = _restored_before_ms(self.current, deployment)
        if before_ms is None:
            self.earlier, self._shown_before_ms, self._shown = (), 0, {}
        else:
            mark = Earlier(before_ms, place.inbox_seq, place.groups)
            self.earlier = (*self.earlier, mark)[-MAX_EARLIER:]
            self._shown_before_ms, self._shown = before_ms, dict(shown)
        self.current = deployment or self.current
        self.is_proven, self._doubted_at_ms = True, None

    def was_shown(self, inbox_seq: int | None, message: Message) -> bool:
        """True if an earlier life has shown this message. `inbox_seq` is None if it comes from a group's log."""
        if message.at < self._shown_before_ms and message.seq <= self._shown.get(message.session_id, 0):
            return True
        return any(_covers(mark, inbox_seq, message) for mark in self.earlier)

    def stamped(self, cursor: Cursor) -> Cursor:
        """The cursor to save. It names no unproven life, so that the next start checks again."""
        return replace(cursor, deployment=self.current if self.is_proven else None, earlier=self.earlier)


def _restored_before_ms(old: Deployment | None, new: Deployment | None) -> int | None:
    """Messages before this time are in both lives. None if the two have nothing in common.

    The lives diverge at the first restore after the beginning of the old one.
    """
    if old is None or new is None or old.id == new.id or not old.origin or old.origin != new.origin:
        return None
    return min((at_ms for at_ms in new.restored if at_ms > old.since), default=new.since)


def _covers(mark: Earlier, inbox_seq: int | None, message: Message) -> bool:
    if message.at >= mark.before_ms:
        return False
    in_inbox = inbox_seq is not None and inbox_seq <= mark.inbox_seq
    return in_inbox or message.seq <= mark.groups.get(message.session_id, 0)
