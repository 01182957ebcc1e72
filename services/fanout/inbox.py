"""Deliver: the next place in each recipient's inbox, and what is written there. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from tidings.broker.base import Record
from tidings.codec import COUNTABLE_KINDS
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.store.base import TaggedRow
from tidings.store.rows import BucketRow, InboxRow, SessionLeftRow, SessionModeRow, UserSessionRow
from tidings.wire.deliveries_pb2 import InboxItem

_DAY_MS = 24 * 3600 * 1000
# An inbox tail this far below the record's log time counts as not there; its rows live for
# 100 days, so the answer never depends on when Cassandra sweeps (H31).
TAIL_LIFE_MS = 90 * _DAY_MS
# A bucket never held more, whatever was stamped: where the next one begins does not depend on rows that are gone.
MOST_BUCKET_ROWS = 5_000


# Named tuples: one of each is made for every inbox row, which is what write diffusion costs, and a frozen
# dataclass takes three times as long to make.
class InboxTail(NamedTuple):
    """Where a user's inbox ends. `delivered_at`: log time of the last row; None where all rows have expired."""

    inbox_seq: int = 0
    bucket: int = -1
    bucket_first: int = 1
    delivered_at: int | None = None


class Placed(NamedTuple):
    """A message in one user's inbox."""

    user_id: str
    inbox_seq: int


def place(
    item: InboxItem, record: Record, epoch: int, tails: dict[str, InboxTail], writes: OrderedWrites
) -> list[Placed]:
    """Give the message its place in every recipient's inbox; `tails` move on with it."""
    message, source_partition, offset, at_ms = item.message, record.partition, record.offset, record.at_ms
    content = (message.session_id, message.seq, message.message_id, message.at_ms, epoch, offset, at_ms)
    bucket_rows = item.stamps.bucket_rows
    placed = []
    for user_id in item.recipient_ids:
        before = tails[user_id]
        tail = tails[user_id] = following(before, at_ms, bucket_rows)
        if tail.bucket != before.bucket:
            opened = BucketRow(user_id, tail.bucket, tail.bucket_first, epoch, offset)
            writes.append_ordered(user_id, ("directory", tail.bucket), TaggedRow(source_partition, opened))
        row = InboxRow(user_id, tail.bucket, tail.inbox_seq, *content)
        writes.append_ordered(user_id, tail.bucket, TaggedRow(source_partition, row))
        placed.append(Placed(user_id, tail.inbox_seq))
    return placed


def following(tail: InboxTail, at_ms: int, bucket_rows: int) -> InboxTail:
    """The place after this one: in the same bucket, or as the first of the next."""
    has_expired = tail.bucket >= 0 and (tail.delivered_at is None or at_ms - tail.delivered_at > TAIL_LIFE_MS)
    if has_expired:
        # Numbers never start again (H9): whatever stood in the bucket had a lower one.
        first = tail.bucket_first + MOST_BUCKET_ROWS
        return InboxTail(first, tail.bucket + 1, first, at_ms)
    inbox_seq = tail.inbox_seq + 1
    if tail.bucket < 0 or inbox_seq >= tail.bucket_first + bucket_rows:
        return InboxTail(inbox_seq, tail.bucket + 1, inbox_seq, at_ms)
    return InboxTail(inbox_seq, tail.bucket, tail.bucket_first, at_ms)


def membership_rows(item: InboxItem, source_partition: int) -> Iterator[TaggedRow]:
    """Rows of user_sessions for the recipients who join, leave, or are reached another way from here on."""
    message, joined = item.message, set(item.joined_ids)
    left = set(item.recipient_ids if item.dissolves else item.left_ids)
    if not (joined or left or item.mode_to):
        return
    count_before = message.count - (message.kind in COUNTABLE_KINDS)
    for user_id in item.recipient_ids:
        if user_id in joined:
            mode = item.mode_to or item.mode
            row = UserSessionRow(user_id, message.session_id, message.seq, count_before, 0, mode)
            yield TaggedRow(source_partition, row)
        elif item.mode_to:
            yield TaggedRow(source_partition, SessionModeRow(user_id, message.session_id, item.mode_to, message.seq))
        if user_id in left:
            yield TaggedRow(source_partition, SessionLeftRow(user_id, message.session_id, message.seq))
