"""Which life of the deployment a cursor is of, and what was shown in the lives before (PROTOCOL, *Other lives*).

Pure. A place in an inbox or a log means something within one life of the server's tables only. When they are made
anew, or come back from a backup, the device reads from the beginning. What a backup has kept was shown before, as far
as the old cursor reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tidings_client.effects import Complaint, Cursor, Earlier
from tidings_client.frames import Deployment, Message

MAX_EARLIER = 8  # restores that a device lives through before its first places are forgotten
# Of one life, yet above the tail: a push whose write is not confirmed. Fanout repeats the round within seconds; four
# times the 8 s after which another fanout takes the work over.
PATIENCE_MS = 30_000
OTHER_LIFE = Complaint(
    "other_life",
    "the server's tables were made anew or restored, and the place of this device is of another life of theirs:"
    " reading from the beginning",
)


@dataclass(slots=True)
class Lives:
    """`is_proven`: the cursor was found to be a place in the current life, or has no life before it."""

    current: Deployment | None = None
    is_proven: bool = False
    earlier: tuple[Earlier, ...] = ()
    _doubted_at_ms: int | None = None
    _shown_before_ms: int = 0
    _shown: Mapping[str, int] = field(default_factory=dict)

    def restore(self, cursor: Cursor | None) -> None:
        """Before the first connection. Without a cursor there is nothing to be of another life."""
        if cursor is None:
            self.is_proven = True
            return
        self.current, self.earlier = cursor.deployment, cursor.earlier
        self.is_proven = cursor.deployment is not None

    def greeted(self, deployment: Deployment | None) -> bool:
        """`welcome` names a life; True where it is another one than that of the cursor."""
        if deployment is None:
            return False
        if self.current is not None and self.current.id != deployment.id:
            return True
        self.current = deployment
        return False

    def prove(self) -> None:
        """The server's tail, or what it has sent, is at or above the cursor."""
        self.is_proven, self._doubted_at_ms = True, None

    def is_over(self, now_ms: int) -> bool:
        """The server says that the cursor is above the tail. True once that can only mean another life."""
        if not self.is_proven:
            return True
        if self._doubted_at_ms is None:
            self._doubted_at_ms = now_ms
        return now_ms - self._doubted_at_ms >= PATIENCE_MS

    def trust(self) -> None:
        """The connection is gone: what was doubted is asked anew."""
        self._doubted_at_ms = None

    def begin(self, deployment: Deployment | None, place: Cursor, shown: Mapping[str, int]) -> None:
        """Another life. `place`: the cursor at the end of the last one; `shown`: by session, the last seq shown."""
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
        """In a life before this one; `inbox_seq` None: it comes from a group's log."""
        if message.at < self._shown_before_ms and message.seq <= self._shown.get(message.session_id, 0):
            return True
        return any(_covers(mark, inbox_seq, message) for mark in self.earlier)

    def stamped(self, cursor: Cursor) -> Cursor:
        """The cursor as it is to be kept. A life that is not proven is not claimed: the next start asks anew."""
        return replace(cursor, deployment=self.current if self.is_proven else None, earlier=self.earlier)


def _restored_before_ms(old: Deployment | None, new: Deployment | None) -> int | None:
    """Messages of before this time are in both lives; None: the two have nothing in common.

    The lives part where the first restore after the beginning of the old one was made.
    """
    if old is None or new is None or old.id == new.id or not old.origin or old.origin != new.origin:
        return None
    return min((at_ms for at_ms in new.restored if at_ms > old.since), default=new.since)


def _covers(mark: Earlier, inbox_seq: int | None, message: Message) -> bool:
    if message.at >= mark.before_ms:
        return False
    in_inbox = inbox_seq is not None and inbox_seq <= mark.inbox_seq
    return in_inbox or message.seq <= mark.groups.get(message.session_id, 0)
