"""Watermarks of a round merged into maxima. Pure.

A watermark is written with itself as Cassandra write timestamp, so a lower one
that is written late changes nothing (law 7, H26). What is told is the maximum
of what is stored and said: a process that has just started has told nothing,
and a claim alone may be lower than what clients were told before (G8). What
was merely read is written and told again (law 5).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tidings import ids
from tidings.store.rows import DeliveredRow, ReadRow, ReceiptRow


@dataclass(slots=True)
class Watermarks:
    """How far one user has come in one session: 0 where nothing.

    `read_at`: log time at which `read_seq` was first said. `read_count`: countable messages up to it, 0 where unknown.
    """

    delivered_seq: int = 0
    read_seq: int = 0
    read_at: int = 0
    read_count: int = 0

    @staticmethod
    def of_row(row: ReceiptRow) -> "Watermarks":
        """What is stored; reading implies delivery."""
        return Watermarks(max(row.delivered_seq, row.read_seq), row.read_seq, row.read_at, row.read_count)

    def raise_to(self, delivered_seq: int, read_seq: int, at_ms: int) -> bool:
        """Take the maxima (reading implies delivery); whether anything rose."""
        rises = read_seq > self.read_seq
        if rises:
            self.read_seq, self.read_at, self.read_count = read_seq, at_ms, 0
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
class Merged:
    """What a round changes."""

    moved: dict[tuple[str, str], Watermarks] = field(default_factory=dict)
    # Of which the peer is not told, by the last claim of the round.
    hidden: set[tuple[str, str]] = field(default_factory=set)

    def claim(self, claim: Claim, head_seq: int, told: Watermarks | None, stored: Watermarks) -> None:
        """Merge one claim; what lies beyond the head counts as the head.

        `told`: by this process. Where it has told nothing, what is `stored` is told again whatever is claimed.
        """
        place = (claim.session_id, claim.user_id)
        self.hidden.discard(place)
        if claim.is_hidden_from_peer:
            self.hidden.add(place)
        delivered, read = min(claim.delivered_seq, head_seq), min(claim.read_seq, head_seq)
        if not (delivered or read):
            return
        marks = self.moved.get(place) or (told or stored).copy()
        rises = marks.raise_to(delivered, read, claim.at_ms)
        if rises or told is None:
            self.moved[place] = marks


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
