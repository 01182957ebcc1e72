"""The questions of store/history.py, on each adapter."""

import pytest

from tests.builders import bucket, inbox_row, message, segment, seqs, session, write_confirmed
from tidings.errors import LostLogTail
from tidings.ids import Position
from tidings.store import history, inbox_tails, session_tails
from tidings.store.base import Store
from tidings.store.inbox_tails import InboxEnd
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentRow
from tidings.store.session_tails import Tail

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_head_is_the_newest_message_of_the_newest_segment(store: Store, name: str) -> None:
    one, two, none = (f"d:{name}:{number}" for number in (1, 2, 3))
    await write_confirmed(store, [*session(one, 5), *session(two, 5, 3)])
    heads = await session_tails.heads(store, [one, two, none])
    assert {key: row.seq for key, row in heads.items()} == {one: 5, two: 8}


@pytest.mark.hazard("H8")
async def test_a_listed_but_empty_segment_does_not_hide_the_head(store: Store, name: str) -> None:
    one, new = f"d:{name}:1", f"d:{name}:2"
    await write_confirmed(store, [*session(one, 5), segment(one, 2, 6), segment(one, 3, 6), segment(new, 1, 1)])
    heads = await session_tails.heads(store, [one, new])
    assert {key: row.seq for key, row in heads.items()} == {one: 5}


async def test_a_range_crosses_segments_in_both_directions(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 5, 5, 5, 5))

    async def read(first: int, last: int, limit: int, *, descending: bool = False) -> list[int]:
        rows = await history.read_range(store, session_id, first, last, limit, descending=descending)
        return seqs(rows)

    assert await read(4, 12, 100) == list(range(4, 13))
    assert await read(4, 12, 3) == [4, 5, 6]
    assert await read(1, 10_000, 50) == list(range(1, 21))
    assert await read(1, 10_000, 3, descending=True) == [20, 19, 18]
    assert await read(4, 12, 100, descending=True) == list(range(12, 3, -1))
    assert await read(4, 12, 4, descending=True) == [12, 11, 10, 9]
    assert await read(21, 30, 5) == []
    assert await read(5, 4, 5) == []


async def test_a_range_of_an_unknown_session_is_empty(store: Store, session_id: str) -> None:
    assert await history.read_range(store, session_id, 1, 100, 10) == []
    assert await history.read_range(store, session_id, 1, 100, 10, descending=True) == []


async def test_rows_are_found_by_seq_over_many_sessions_and_segments(store: Store, name: str) -> None:
    one, two = f"d:{name}:1", f"d:{name}:2"
    await write_confirmed(store, [*session(one, 50, 50, 50, 50), *session(two, 10)])
    wanted = {one: {1, 2, 49, 51, 52, 120, 200, 201}, two: {3}, f"d:{name}:3": {1}}
    found = await history.rows_at(store, wanted)
    assert set(found) == {(one, seq) for seq in (1, 2, 49, 51, 52, 120, 200)} | {(two, 3)}
    assert all(row.seq == seq and row.session_id == key for (key, seq), row in found.items())


def _tail(newest: SegmentRow, last: MessageRow) -> Tail:
    return Tail(newest, last.seq, last.count, last.at, message=last)


# -- state as of a position (law 5) ----------------------------------------------------------------


@pytest.mark.hazard("H1", "H2")
async def test_a_tail_is_the_newest_message_below_the_position(store: Store, name: str) -> None:
    rows = {f"d:{name}:{length}": session(f"d:{name}:{length}", 30, length) for length in (5, 40)}
    await write_confirmed(store, [row for some in rows.values() for row in some])
    for position, seq, number in ((1000, None, 2), (34, 33, 2), (31, 30, 1), (3, 2, 1)):
        tails = await session_tails.tails_below(store, dict.fromkeys(rows, Position(0, position)))
        for length, (key, tail) in zip((5, 40), tails.items(), strict=True):
            expected = message(key, seq or 30 + length, number)
            assert tail == _tail(segment(key, number, 1 if number == 1 else 31), expected)


async def test_a_tail_is_found_below_many_rows_above_the_position(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 700))
    tails = await session_tails.tails_below(store, {session_id: Position(0, 42)})
    assert tails == {session_id: _tail(segment(session_id, 1, 1), message(session_id, 41))}


async def test_a_tail_is_found_below_a_hole_of_unconfirmed_rows(store: Store, session_id: str) -> None:
    rows = [message(session_id, seq) for seq in (1, 2, 3, *range(404, 440))]
    await write_confirmed(store, [segment(session_id, 1, 1), *rows])
    tails = await session_tails.tails_below(store, {session_id: Position(0, 42)})
    assert tails == {session_id: _tail(segment(session_id, 1, 1), message(session_id, 3))}


async def test_a_tail_is_found_below_many_segments_above_the_position(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, *[1] * 250))
    tails = await session_tails.tails_below(store, {session_id: Position(0, 4)})
    assert tails == {session_id: _tail(segment(session_id, 3, 3), message(session_id, 3, 3))}


async def test_above_the_position_only_rows_below_the_end_are_given(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, *[10] * 30))
    position, end = {session_id: Position(0, 24)}, {session_id: Position(0, 37)}
    tails, rows_above = await session_tails.tails_and_rows_above(store, position, end)
    assert tails == {session_id: _tail(segment(session_id, 3, 21), message(session_id, 23, 3))}
    assert sorted(row.seq for row in rows_above) == list(range(24, 37))


async def test_a_lower_epoch_is_below_every_offset_of_a_higher_one(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 9))
    (tail,) = (await session_tails.tails_below(store, {session_id: Position(1, 0)})).values()
    assert isinstance(tail, Tail)
    assert tail.seq == 9


async def test_a_session_from_the_position_on_has_not_begun(store: Store, name: str) -> None:
    one, many, none = (f"d:{name}:{number}" for number in (1, 2, 3))
    await write_confirmed(store, [*session(one, 3), *session(many, 2, 2, 2, 2)])
    positions = dict.fromkeys([one, many, none], Position(0, 1))
    assert await session_tails.tails_below(store, positions) == dict.fromkeys(positions)


@pytest.mark.hazard("H8")
async def test_an_empty_newest_segment_gives_the_tail_before_it(store: Store, session_id: str) -> None:
    await write_confirmed(store, [*session(session_id, 5), segment(session_id, 2, 6)])
    tails = await session_tails.tails_below(store, {session_id: Position(0, 100)})
    assert tails == {session_id: _tail(segment(session_id, 1, 1), message(session_id, 5))}


@pytest.mark.hazard("H8")
async def test_segments_without_messages_are_a_lost_log_tail(store: Store, name: str) -> None:
    one, two, fine = (f"d:{name}:{number}" for number in (1, 2, 3))
    await write_confirmed(
        store, [segment(one, 1, 1), segment(two, 1, 1), message(two, 1, offset=90), *session(fine, 1)]
    )
    tails = await session_tails.tails_below(store, dict.fromkeys([one, two, fine], Position(0, 50)))
    assert isinstance(tails[one], LostLogTail)
    assert isinstance(tails[two], LostLogTail)
    assert isinstance(tails[fine], Tail)


async def test_a_directory_row_of_this_round_is_no_lost_log_tail(store: Store, session_id: str) -> None:
    await write_confirmed(store, [segment(session_id, 1, 1, offset=50)])
    assert await session_tails.tails_below(store, {session_id: Position(0, 50)}) == {session_id: None}


# -- inboxes ---------------------------------------------------------------------------------------


async def test_an_inbox_ends_with_its_newest_row_below_the_position(store: Store, name: str) -> None:
    await write_confirmed(store, [bucket(name, 0, 1), bucket(name, 1, 301), bucket(name, 2, 601)])
    await write_confirmed(store, [inbox_row(name, number, bucket=(number - 1) // 300) for number in range(1, 605)])
    for position, number, end in ((9999, 2, 604), (604, 2, 603), (601, 1, 600), (310, 1, 309), (41, 0, 40)):
        ends = await inbox_tails.inbox_tails_below(store, {name: Position(0, position)})
        assert ends == {name: InboxEnd(bucket(name, number, 300 * number + 1), inbox_row(name, end, bucket=number))}


async def test_an_inbox_from_the_position_on_has_not_begun(store: Store, name: str) -> None:
    await write_confirmed(store, [bucket(name, number, number * 5 + 1) for number in range(5)])
    positions = {name: Position(0, 1), f"{name}-nobody": Position(0, 1)}
    assert await inbox_tails.inbox_tails_below(store, positions) == dict.fromkeys(positions)


@pytest.mark.hazard("H9")
async def test_an_expired_inbox_ends_with_its_newest_bucket(store: Store, name: str) -> None:
    await write_confirmed(store, [bucket(name, 0, 1), bucket(name, 1, 5001, offset=70)])
    ends = await inbox_tails.inbox_tails_below(store, {name: Position(0, 100)})
    assert ends == {name: InboxEnd(bucket(name, 1, 5001, offset=70), None)}
    assert await inbox_tails.inbox_tails(store, [name]) == {name: 5000}


async def test_the_tail_of_an_inbox_is_its_newest_row(store: Store, name: str) -> None:
    await write_confirmed(store, [bucket(name, 0, 1), *(inbox_row(name, number) for number in range(1, 6))])
    assert await inbox_tails.inbox_tails(store, [name, f"{name}-nobody"]) == {name: 5, f"{name}-nobody": 0}
    await write_confirmed(store, [bucket(name, 1, 6)])
    assert await inbox_tails.inbox_tails(store, [name]) == {name: 5}
