"""Watermarks of a round merged into maxima. Pure.

Nothing is read before it is decided: a watermark is written with itself as
Cassandra write timestamp, so a lower one that is written late changes nothing
(law 7, H26), and a repeat after a crash tells again (law 5). What is read is
only when somebody had come as far as they say again after a restart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tidings import ids
from tidings.codec import COUNTABLE_KINDS
from tidings.store.rows import DeliveredRow, ReadRow, SentRow
from tidings.wire.common_pb2 import Message


@dataclass(slots=True)
class Watermarks:
    """What one user said of one session: 0 where nothing. `read_at`: log time at which `read_seq` was first said.

    `stored_seq`, `stored_at`: what was stored of reading before this process heard of it.
    """

    delivered_seq: int = 0
    read_seq: int = 0
    read_at: int = 0
    stored_seq: int = 0
    stored_at: int = 0

    def raise_to(self, delivered_seq: int, read_seq: int, at_ms: int) -> bool:
        """Take the maxima (reading implies delivery); whether anything rose."""
        rises = read_seq > self.read_seq
        if rises:
            self.read_seq, self.read_at = read_seq, self.stored_at if read_seq == self.stored_seq else at_ms
        delivered_seq = max(delivered_seq, read_seq)
        rises = rises or delivered_seq > self.delivered_seq
        self.delivered_seq = max(self.delivered_seq, delivered_seq)
        return rises

    def copy(self) -> "Watermarks":
        """An independent copy, for one round."""
        return replace(self)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one record says: up to where a user of a session holds and has read."""

    session_id: str
    user_id: str
    delivered_seq: int
    read_seq: int
    at_ms: int
    # The user blocks the peer.
    is_hidden_from_peer: bool = False


@dataclass(slots=True)
class Sent:
    """A user's own last message of a session in this round."""

    seq: int = 0
    count: int = 0


@dataclass(slots=True)
class Merged:
    """What a round changes."""

    moved: dict[tuple[str, str], Watermarks] = field(default_factory=dict)
    # Of which the peer is not told, by the last claim of the round.
    hidden: set[tuple[str, str]] = field(default_factory=set)
    sent: dict[tuple[str, str], Sent] = field(default_factory=dict)

    def claim(self, claim: Claim, head_seq: int, known: Watermarks) -> None:
        """Merge one claim; what lies beyond the head counts as the head. `known`: what this process has told."""
        place = (claim.session_id, claim.user_id)
        self.hidden.discard(place)
        if claim.is_hidden_from_peer:
            self.hidden.add(place)
        marks = self.moved.get(place) or known.copy()
        delivered, read = min(claim.delivered_seq, head_seq), min(claim.read_seq, head_seq)
        if marks.raise_to(delivered, read, claim.at_ms):
            self.moved[place] = marks

    def message(self, message: Message) -> None:
        """The sender's own last countable message (G9): lowers unread, sends no read receipt."""
        if message.kind not in COUNTABLE_KINDS:
            return
        sent = self.sent.setdefault((message.session_id, message.sender_id), Sent())
        if message.seq > sent.seq:
            sent.seq, sent.count = message.seq, message.count


def can_be_member(session_id: str, user_id: str) -> bool:
    """Whether the user can ever have watermarks in the session; of a group only the tables know."""
    return ids.is_group_session(session_id) or user_id in ids.logged_direct_users(session_id)


def told(place: tuple[str, str], *, is_hidden_from_peer: bool = False) -> tuple[str, ...]:
    """Who is told of a watermark: all devices of the user, and the peer of a direct session."""
    return (not is_hidden_from_peer and ids.logged_direct_users(place[0])) or place[1:]


def rows_of(
    place: tuple[str, str], marks: Watermarks, known: Watermarks | None, read_count: int
) -> Iterable[DeliveredRow | ReadRow]:
    """The rows of what rose above `known`, which this process has written itself."""
    before = known or Watermarks()
    if marks.delivered_seq > before.delivered_seq:
        yield DeliveredRow(*place, marks.delivered_seq)
    if marks.read_seq > before.read_seq:
        yield ReadRow(*place, marks.read_seq, read_count, marks.read_at)


def sent_row(place: tuple[str, str], sent: Sent) -> SentRow:
    """The row of one user's own last message."""
    return SentRow(*place, sent.seq, sent.count)
