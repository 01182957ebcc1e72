"""Deliver: the next inbox_seq of each recipient, and the rows to write. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from tidings.broker.base import Record
from tidings.codec import COUNTABLE_KINDS
from tidings.runtime.ordered_writes import Mutation, OrderedWrites
from tidings.store.base import TaggedRow
from tidings.store.rows import BucketRow, InboxRow, SessionLeftRow, SessionModeRow, UserSessionRow
from tidings.wire.deliveries_pb2 import InboxItem

_DAY_MS = 24 * 3600 * 1000
# A tail that is older than this by log time counts as expired. Rows have a TTL of 100 days, so that the answer
# never depends on when Cassandra removes expired rows (H31).
TAIL_LIFE_MS = 90 * _DAY_MS
# No stamped limit is higher. So the start of the next bucket does not depend on rows that have expired.
MOST_BUCKET_ROWS = 5_000


# Named tuples, because one of each is made for every inbox row, which is the cost of write diffusion. A frozen
# dataclass takes three times as long to make.
class InboxTail(NamedTuple):
    """The end of a user's inbox. `delivered_at`: log time of the last row; None if all rows have expired."""

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
    """Give the message an inbox_seq in every recipient's inbox. Updates `tails` and appends the rows to `writes`."""
    message, source_partition, offset, at_ms = item.message, record.partition, record.offset, record.at_ms
    content = (message.session_id, message.seq, message.message_id, message.at_ms, epoch, offset, at_ms)
    bucket_rows = item.stamps.bucket_rows
    placed = []
    for user_id in item.recipient_ids:
        before = tails[user_id]
        tail = tails[user_id] = following(before, at_ms, bucket_rows)
        if tail.bucket != before.bucket:
            opened = BucketRow(user_id, tail.bucket, tail.bucket_first, epoch, offset)
            writes.append_ordered(user_id, Mutation("directory", tail.bucket), TaggedRow(source_partition, opened))
        row = InboxRow(user_id, tail.bucket, tail.inbox_seq, *content)
        writes.append_ordered(user_id, Mutation("rows", tail.bucket), TaggedRow(source_partition, row))
        placed.append(Placed(user_id, tail.inbox_seq))
    return placed


def following(tail: InboxTail, at_ms: int, bucket_rows: int) -> InboxTail:
    """The tail after one more row: in the same bucket, or as the first row of the next bucket."""
    has_expired = tail.bucket >= 0 and (tail.delivered_at is None or at_ms - tail.delivered_at > TAIL_LIFE_MS)
    if has_expired:
        # An inbox_seq is never used twice (H9): every row that the bucket has held had a lower one.
        first = tail.bucket_first + MOST_BUCKET_ROWS
        return InboxTail(first, tail.bucket + 1, first, at_ms)
    inbox_seq = tail.inbox_seq + 1
    if tail.bucket < 0 or inbox_seq >= tail.bucket_first + bucket_rows:
        return InboxTail(inbox_seq, tail.bucket + 1, inbox_seq, at_ms)
    return InboxTail(inbox_seq, tail.bucket, tail.bucket_first, at_ms)


def membership_rows(item: InboxItem, source_partition: int) -> Iterator[TaggedRow]:
    """Rows of user_sessions for recipients that join or leave, or whose group changes its delivery mode here."""
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
