"""Watermarks of a round merged into maxima. Pure.

A watermark is its own Cassandra write timestamp, so a lower one that is written
late changes nothing: law 7 (nothing is overwritten), H26. Receipts publishes the
maximum of the stored and the claimed watermark. A claim alone may be lower than
what an earlier process published before this one started (G8). A watermark that
was only read from the tables may be unconfirmed. So it is written and published
again: law 5 (a replay ignores later rows).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tidings import ids
from tidings.store.rows import DeliveredRow, ReadRow, ReceiptRow

# (session_id, user_id): the key of one pair of watermarks.
UserOfSession = tuple[str, str]


@dataclass(slots=True)
class Watermarks:
    """The watermarks of one user in one session; 0 where there is none.

    `read_at`: log time of the first claim of `read_seq`. `read_count`: countable messages up to it, 0 if unknown.
    """

    delivered_seq: int = 0
    read_seq: int = 0
    read_at: int = 0
    read_count: int = 0

    @staticmethod
    def of_row(row: ReceiptRow) -> "Watermarks":
        """From the stored row; reading implies delivery."""
        return Watermarks(max(row.delivered_seq, row.read_seq), row.read_seq, row.read_at, row.read_count)

    def raise_to(self, delivered_seq: int, read_seq: int, at_ms: int) -> bool:
        """Raise both to the maxima (reading implies delivery). Returns whether either rose."""
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
    """What one record claims: how far a user of a session holds and has read."""

    session_id: str
    user_id: str
    delivered_seq: int
    read_seq: int
    at_ms: int
    # The user blocks the peer.
    is_hidden_from_peer: bool = False


@dataclass(slots=True)
class Merged:
    """The watermarks that a round changes."""

    moved: dict[UserOfSession, Watermarks] = field(default_factory=dict)
    # Those that are not published to the peer, by the last claim of the round.
    hidden: set[UserOfSession] = field(default_factory=set)

    def claim(self, claim: Claim, head_seq: int, published: Watermarks | None, stored: Watermarks) -> None:
        """Merge one claim. A seq beyond the head counts as the head.

        `published`: by this process. If it is None, `stored` is published again even if the claim raises nothing.
        """
        pair = (claim.session_id, claim.user_id)
        self.hidden.discard(pair)
        if claim.is_hidden_from_peer:
            self.hidden.add(pair)
        delivered, read = min(claim.delivered_seq, head_seq), min(claim.read_seq, head_seq)
        if not (delivered or read):
            return
        watermarks = self.moved.get(pair) or (published or stored).copy()
        rises = watermarks.raise_to(delivered, read, claim.at_ms)
        if rises or published is None:
            self.moved[pair] = watermarks


def can_be_member(session_id: str, user_id: str) -> bool:
    """Whether the user can ever have watermarks in the session. For a group the tables decide later."""
    return ids.is_group_session(session_id) or user_id in ids.logged_direct_users(session_id)


def recipients_of(pair: UserOfSession, *, is_hidden_from_peer: bool = False) -> tuple[str, ...]:
    """The users that receive a watermark: its own user, and in a direct session the peer."""
    return (not is_hidden_from_peer and ids.logged_direct_users(pair[0])) or pair[1:]


def rows_of(
    pair: UserOfSession, watermarks: Watermarks, published: Watermarks | None, read_count: int
) -> Iterable[DeliveredRow | ReadRow]:
    """The rows of the watermarks that rose above `published`, which this process has written itself."""
    before = published or Watermarks()
    if watermarks.delivered_seq > before.delivered_seq:
        yield DeliveredRow(*pair, watermarks.delivered_seq)
    if watermarks.read_seq > before.read_seq:
        yield ReadRow(*pair, watermarks.read_seq, read_count, watermarks.read_at)
