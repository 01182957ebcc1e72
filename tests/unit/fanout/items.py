"""Records that fanout reads."""

from tidings.broker.base import Record
from tidings.codec import RULES
from tidings.topics import DELIVERIES
from tidings.wire.common_pb2 import KIND_TEXT, MODE_WRITE, Coordinates, Message, Stamps
from tidings.wire.deliveries_pb2 import InboxItem
from tidings.wire.persisted_pb2 import Persisted

NOON_MS = 1_795_435_200_000


def stamps(bucket_rows: int = 5_000, recipients_per_part: int = 1_000) -> Stamps:
    return Stamps(
        rules=RULES,
        segment_messages=10_000,
        bucket_rows=bucket_rows,
        recipients_per_part=recipients_per_part,
        month_shards=16,
    )


def item(seq: int, users: tuple[str, ...] = ("alice", "bob"), bucket_rows: int = 5_000) -> InboxItem:
    message = Message(
        message_id=seq, session_id="d:alice:bob", seq=seq, sender_id="alice", at_ms=NOON_MS, kind=KIND_TEXT, count=seq
    )
    return InboxItem(
        source=Coordinates(offset=seq),
        stamps=stamps(bucket_rows),
        message=message,
        recipient_ids=users,
        mode=MODE_WRITE,
        joined_ids=users if seq == 1 else (),
    )


def record(offset: int, at_ms: int = NOON_MS) -> Record:
    return Record(DELIVERIES, 0, offset, at_ms, None, b"")


def persisted(recipients_per_part: int = 1_000) -> Persisted:
    return Persisted(
        source=Coordinates(epoch=0, partition=3, offset=9),
        stamps=stamps(recipients_per_part=recipients_per_part),
        message=item(1).message,
        mode=MODE_WRITE,
    )
