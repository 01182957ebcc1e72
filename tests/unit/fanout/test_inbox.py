"""Where a delivery lands in an inbox."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fanout.inbox import MOST_BUCKET_ROWS, TAIL_LIFE_MS, InboxTail, following, membership_rows, place
from tests.unit.fanout.items import NOON_MS, item, record
from tidings import ids
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.store.rows import BucketRow, InboxRow, UserSessionRow
from tidings.wire.common_pb2 import MODE_WRITE


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
