"""Where a delivery lands in an inbox."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fanout.inbox import MOST_BUCKET_ROWS, TAIL_LIFE_MS, InboxTail, following, membership_rows, place
from services.fanout.members import Audience
from services.fanout.plan import deliveries
from tidings import ids
from tidings.broker.base import Record
from tidings.codec import RULES
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.store.rows import BucketRow, InboxRow, UserSessionRow
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


def waves(writes: OrderedWrites) -> list[list[object]]:
    return [[tagged.row for tagged in wave] for wave in writes.waves()]


@pytest.mark.promise("G6")
def test_recipients_get_their_next_inbox_seq() -> None:
    tails = {"alice": InboxTail(7, 0, 1, NOON_MS), "bob": InboxTail()}
    placed = place(item(1), record(5), 0, tails, OrderedWrites())
    assert [(one.user_id, one.inbox_seq) for one in placed] == [("alice", 8), ("bob", 1)]
    assert tails["alice"].inbox_seq == 8


@pytest.mark.hazard("H10")
def test_bucket_is_listed_before_its_rows_and_after_the_last() -> None:
    tails, writes = {"alice": InboxTail()}, OrderedWrites()
    for seq in range(1, 4):
        place(item(seq, ("alice",), bucket_rows=2), record(seq), 0, tails, writes)
    kinds = [[type(row).__name__ for row in wave] for wave in waves(writes)]
    assert kinds == [["BucketRow"], ["InboxRow", "InboxRow"], ["BucketRow"], ["InboxRow"]]


@pytest.mark.hazard("H9")
def test_inbox_seq_continues_after_all_rows_have_expired() -> None:
    expired = InboxTail(MOST_BUCKET_ROWS, 0, 1, None)
    assert following(expired, NOON_MS, 5_000) == InboxTail(5_001, 1, 5_001, NOON_MS)


@pytest.mark.hazard("H31")
@given(st.integers(1, MOST_BUCKET_ROWS), st.integers(1, MOST_BUCKET_ROWS), st.integers(1, 1_000_000))
def test_expired_tail_decides_alike_whether_swept_or_not(rows: int, bucket_rows: int, first: int) -> None:
    there = InboxTail(first + rows - 1, 3, first, NOON_MS)
    swept = InboxTail(first + MOST_BUCKET_ROWS - 1, 3, first, None)
    late = NOON_MS + TAIL_LIFE_MS + 1
    assert following(there, late, bucket_rows) == following(swept, late, bucket_rows)


@given(st.lists(st.tuples(st.integers(1, 7), st.integers(0, 2)), max_size=60))
def test_numbers_only_rise_by_one_unless_rows_expired(steps: list[tuple[int, int]]) -> None:
    tail, at_ms = InboxTail(), NOON_MS
    for bucket_rows, pause in steps:
        at_ms += pause * (TAIL_LIFE_MS + 1) // 2
        after = following(tail, at_ms, bucket_rows)
        assert after.inbox_seq > tail.inbox_seq
        if pause < 2:
            assert after.inbox_seq == tail.inbox_seq + 1
        assert after.bucket - tail.bucket in (0, 1)
        tail = after


def test_first_direct_message_lists_the_session_for_both_users() -> None:
    rows = [tagged.row for tagged in membership_rows(item(1), source_partition=0)]
    assert rows == [UserSessionRow(user, "d:alice:bob", 1, 0, 0, MODE_WRITE) for user in ("alice", "bob")]
    assert not list(membership_rows(item(2), source_partition=0))


def test_rows_carry_the_coordinates_of_the_delivery() -> None:
    writes = OrderedWrites()
    place(item(1, ("alice",)), record(42), 3, {"alice": InboxTail()}, writes)
    (bucket,), (row,) = waves(writes)
    assert isinstance(bucket, BucketRow)
    assert isinstance(row, InboxRow)
    assert (bucket.made_at, row.made_at) == (ids.Position(3, 42), ids.Position(3, 42))


def persisted(recipients_per_part: int = 1_000) -> Persisted:
    return Persisted(
        source=Coordinates(epoch=0, partition=3, offset=9),
        stamps=stamps(recipients_per_part=recipients_per_part),
        message=item(1).message,
        mode=MODE_WRITE,
    )


@pytest.mark.hazard("H5", "H34")
def test_parts_of_the_stamped_size_have_own_coordinates() -> None:
    users = [f"user{number}" for number in range(10)]
    planned = [
        (delivery.inbox_item.source.part, len(delivery.inbox_item.recipient_ids))
        for _, delivery in deliveries(persisted(recipients_per_part=4), Audience(users), user_partitions=1)
    ]
    assert planned == [(0, 4), (1, 4), (2, 2)]


def test_direct_message_reaches_both_user_partitions() -> None:
    reached = {
        user: partition
        for partition, delivery in deliveries(persisted(), Audience(["alice", "bob"]), 8)
        for user in delivery.inbox_item.recipient_ids
    }
    assert reached == {user: ids.partition_of(user, 8) for user in ("alice", "bob")}
