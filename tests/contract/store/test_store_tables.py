"""What the Store port promises of its tables, on each adapter."""

from dataclasses import replace

import pytest

from tests.builders import (
    bucket,
    inbox_row,
    inbox_seqs,
    message,
    segment,
    seqs,
    session,
    write_confirmed,
)
from tidings.store.base import KeyBucket, SessionSegment, Store, TaggedRow, UserBucket
from tidings.store.rows import DeliveredRow, KeyRow, ReadRow, ReceiptRow, SentRow, UserSessionRow
from tidings.store.segment_rows import SegmentByMonthRow

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_message_is_read_as_written_with_and_without_options(store: Store, session_id: str) -> None:
    full = replace(message(session_id, 1), reply_to=7, mentions=("bob", "carol"), body=bytes(range(256)))
    bare = message(session_id, 2)
    await write_confirmed(store, [full, bare])
    assert await store.messages(SessionSegment(session_id, 1), 1, 2) == [full, bare]


async def test_a_range_is_ascending_inclusive_and_of_one_segment(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 5, 5))
    assert seqs(await store.messages(SessionSegment(session_id, 1), 2, 9)) == [2, 3, 4, 5]
    assert seqs(await store.messages(SessionSegment(session_id, 2), 1, 7)) == [6, 7]
    assert seqs(await store.messages(SessionSegment(session_id, 3), 1, 7)) == []


async def test_a_range_longer_than_any_page_is_complete(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 2500))
    assert seqs(await store.messages(SessionSegment(session_id, 1), 1, 10_000)) == list(range(1, 2501))


async def test_newest_messages_descend_and_skip_empty_segments(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 4, 4))
    one, two, three = (SessionSegment(session_id, number) for number in (1, 2, 3))
    newest = await store.newest_messages([one, two, three], 3)
    assert {name: seqs(rows) for name, rows in newest.items()} == {one: [4, 3, 2], two: [8, 7, 6]}


async def test_more_partitions_than_fit_into_one_request_are_answered(store: Store, name: str) -> None:
    sessions = [f"d:{name}:{number}" for number in range(250)]
    await write_confirmed(store, [row for one in sessions for row in session(one, 2)])
    newest = await store.newest_messages([SessionSegment(one, 1) for one in sessions], 1)
    assert {segment.session_id: seqs(rows) for segment, rows in newest.items()} == {one: [2] for one in sessions}
    assert set(await store.segments(sessions, 1)) == set(sessions)


async def test_segments_descend_and_sessions_without_any_are_omitted(store: Store, session_id: str) -> None:
    rows = [segment(session_id, number, number * 10) for number in range(1, 6)]
    await write_confirmed(store, rows)
    assert await store.segments([session_id, "d:no:one"], 2) == {session_id: [rows[4], rows[3]]}
    assert await store.segments_below(session_id, 4, 2) == [rows[2], rows[1]]
    assert await store.segments_below(session_id, 1, 2) == []


async def test_only_wanted_keys_are_found(store: Store, session_id: str) -> None:
    rows = [
        KeyRow(session_id, month, 0, sender, f"id-{number}", number, number, b"d" * 32, number, 0, number)
        for month in (0, 202611)
        for sender in ("alice", "bob")
        for number in range(130)
    ]
    await write_confirmed(store, rows)
    wanted = {
        KeyBucket(session_id, 0, 0): [("alice", f"id-{number}") for number in range(128)] + [("bob", "id-500")],
        KeyBucket(session_id, 202611, 0): [("bob", "id-3")],
        KeyBucket(session_id, 202612, 0): [("bob", "id-3")],
    }
    found = await store.keys(wanted)
    assert sorted(found, key=lambda row: (row.key_month, row.seq)) == [*rows[:128], rows[260 + 130 + 3]]


async def test_inbox_buckets_and_rows_descend_and_ranges_ascend(store: Store, name: str) -> None:
    await write_confirmed(store, [bucket(name, 0, 1), bucket(name, 1, 6)])
    await write_confirmed(store, [inbox_row(name, number, bucket=(number - 1) // 5) for number in range(1, 9)])
    zero, one, two = (UserBucket(name, number) for number in (0, 1, 2))
    assert await store.inbox_buckets([name, "nobody"], 5) == {name: [bucket(name, 1, 6), bucket(name, 0, 1)]}
    newest = await store.newest_inbox_rows([zero, one, two], 2)
    assert {at: inbox_seqs(rows) for at, rows in newest.items()} == {zero: [5, 4], one: [8, 7]}
    assert inbox_seqs(await store.inbox_rows(zero, 2, 9)) == [2, 3, 4, 5]
    assert await store.inbox_rows(one, 8, 8) == [inbox_row(name, 8, bucket=1)]


async def test_a_user_session_is_that_of_the_newest_membership_seq(store: Store, name: str) -> None:
    joined, left = UserSessionRow(name, "g:a", 5, 4, 0, 1), UserSessionRow(name, "g:a", 5, 4, 9, 1)
    other = UserSessionRow(name, "d:b:c", 1, 0, 0, 1)
    await write_confirmed(store, [left, other])
    await write_confirmed(store, [joined])
    assert await store.user_sessions(name) == [other, left]
    again = UserSessionRow(name, "g:a", 12, 11, 0, 2)
    await write_confirmed(store, [again])
    assert await store.user_sessions(name) == [other, again]


@pytest.mark.promise("G8")
@pytest.mark.hazard("H26")
async def test_watermarks_never_go_back_and_move_apart_from_each_other(store: Store, session_id: str) -> None:
    await write_confirmed(store, [ReadRow(session_id, "a", 5, 4, 1000), DeliveredRow(session_id, "a", 7)])
    await write_confirmed(store, [ReadRow(session_id, "a", 3, 3, 2000), DeliveredRow(session_id, "a", 6)])
    await write_confirmed(store, [SentRow(session_id, "a", 9, 8)])
    found = await store.receipts([(session_id, "a"), (session_id, "b")])
    assert found == {(session_id, "a"): ReceiptRow(session_id, "a", 7, 5, 4, 1000, 9, 8)}


async def test_larger_values_of_a_watermark_written_twice_stay(store: Store, session_id: str) -> None:
    for read_at in (1000, 3000, 2000):
        await write_confirmed(store, [ReadRow(session_id, "a", 5, 4, read_at)])
    assert (await store.receipts([(session_id, "a")]))[session_id, "a"].read_at == 3000


async def test_receipts_of_many_sessions_are_those_asked_for(store: Store, name: str) -> None:
    directs = [f"d:{name}:{number}" for number in range(120)]
    group = f"g:{name}"
    rows = [DeliveredRow(one, user, 1) for one in directs for user in ("a", "b")]
    rows += [DeliveredRow(group, f"u{number}", number + 1) for number in range(300)]
    await write_confirmed(store, rows)
    asked = [(one, "b") for one in directs] + [(group, f"u{number}") for number in range(0, 300, 2)]
    assert set(await store.receipts(asked)) == set(asked)


@pytest.mark.promise("G4")
async def test_writing_the_same_rows_again_changes_nothing(store: Store, session_id: str) -> None:
    rows = [*session(session_id, 20), SegmentByMonthRow(202611, 3, session_id, 1)]
    for _ in range(3):
        await write_confirmed(store, rows)
    assert await store.messages(SessionSegment(session_id, 1), 1, 100) == rows[1:21]


@pytest.mark.hazard("H24")
async def test_largest_mutation_is_written_with_many_small_ones(store: Store, name: str) -> None:
    bodies = bytes(24 * 1024)
    large = [message(f"d:{name}:large", seq, body=bodies) for seq in range(1, 21)]
    small = [message(f"d:{name}:{number}", 1) for number in range(400)]
    tagged = [TaggedRow(number % 8, row) for number, row in enumerate([*small, *large])]
    assert await store.write(tagged) == frozenset()
    assert len(await store.messages(SessionSegment(f"d:{name}:large", 1), 1, 100)) == 20
    newest = await store.newest_messages([SessionSegment(row.session_id, 1) for row in small], 1)
    assert len(newest) == 400


async def test_a_single_row_as_large_as_a_mutation_is_written(store: Store, session_id: str) -> None:
    row = message(session_id, 1, body=bytes(512 * 1024 - 512))
    await write_confirmed(store, [row])
    assert await store.messages(SessionSegment(session_id, 1), 1, 1) == [row]


async def test_reads_of_no_keys_are_empty(store: Store) -> None:
    assert await store.write([]) == frozenset()
    assert not await store.segments([], 1)
    assert not await store.newest_messages([], 1)
    assert not await store.keys({})
    assert not await store.inbox_buckets([], 1)
    assert not await store.newest_inbox_rows([], 1)
    assert not await store.receipts([])
    assert list(await store.user_sessions("nobody-at-all")) == []
