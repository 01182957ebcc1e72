"""Cold segments: served as hot ones are, and while they are away only what needs them fails."""

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from services.gateway.reads.build import build_reads
from services.gateway.reads.message_cache import BLOCK_SEQS
from tests.builders import bucket, group, inbox_row, member, message, segment, session, write_confirmed
from tests.unit.gateway.reads.archive import DIRECT, Archive
from tests.unit.gateway.reads.session_world import READ_GROUP as GROUP
from tidings.errors import ColdUnavailable
from tidings.store.rows import MessageRow, Row, SentRow, UserSessionRow

AWAY = "archived messages cannot be read now; retry, and if it lasts, the operator has to repair them"
QUERIES = ("", "?limit=200", "?before_seq=45&limit=30", "?after_seq=0&limit=7", "?after_seq=35&limit=20", "?limit=1")


async def archive_of(*lengths: int, cold: int = 0, name: str = DIRECT) -> Archive:
    archive = Archive()
    await write_confirmed(archive.store, session(name, *lengths))
    await archive.cold.take(archive.store, name, *range(1, cold + 1))
    return archive


async def test_cold_pages_are_as_hot_ones_byte_for_byte() -> None:
    hot, partly, cold = [await archive_of(20, 20, 20, cold=number) for number in (0, 2, 3)]
    for query in QUERIES:
        path = f"/v1/sessions/{DIRECT}/messages{query}"
        assert await hot.call(path) == await partly.call(path) == await cold.call(path)
    for archive in (partly, cold):
        assert await archive.call(f"/v1/sessions/{DIRECT}", "alice") == await hot.call(
            f"/v1/sessions/{DIRECT}", "alice"
        )


async def test_cold_messages_are_cached_as_hot_ones_are() -> None:
    archive = await archive_of(BLOCK_SEQS, 10, cold=1)
    assert await archive.history("?before_seq=20&limit=5") == ([15, 16, 17, 18, 19], True)
    assert await archive.history("?before_seq=30&limit=5") == ([25, 26, 27, 28, 29], True)
    assert archive.cold.reads == [(DIRECT, 1, BLOCK_SEQS)]


@pytest.mark.promise("G10")
async def test_member_sees_no_cold_message_before_the_joining() -> None:
    archive = await archive_of(20, 20, cold=1, name=GROUP)
    await write_confirmed(archive.store, [group(GROUP, 12), member(GROUP, "bob", 12, joined_seq=12)])
    assert await archive.history("?after_seq=0&limit=3", GROUP) == ([12, 13, 14], True)
    assert await archive.history("?before_seq=14", GROUP) == ([12, 13], False)
    assert await archive.history("?at=0&limit=2", GROUP) == ([12, 13], True)
    assert (await archive.call(f"/v1/sessions/{GROUP}/messages", "eve"))[0] == 404
    assert (await archive.call(f"/v1/sessions/{GROUP}/messages/11/receipts"))[1]["code"] == "message_not_found"


async def test_receipts_of_a_cold_message_are_listed() -> None:
    archive = await archive_of(20, 20, cold=1)
    path = f"/v1/sessions/{DIRECT}/messages/5/receipts"
    assert await archive.call(path, "alice") == (200, {"delivered": [], "read": [], "members": 1})
    archive.cold.away.add(DIRECT)
    assert (await archive.call(path, "alice"))[1]["detail"] == AWAY


async def test_users_of_a_cold_message_are_read() -> None:
    archive = Archive()
    await write_confirmed(archive.store, [segment(GROUP, 1, 1), message(GROUP, 1, body=b'{"user_ids":["bob"]}')])
    await write_confirmed(archive.store, [segment(GROUP, 2, 2), message(GROUP, 2, 2)])
    await archive.cold.take(archive.store, GROUP, 1)
    assert await archive.reads.groups.added_at(GROUP, 1) == ["bob"]


@pytest.mark.parametrize("query", ["?limit=30", "?before_seq=5", "?after_seq=0", f"?at={1_764_000_000_003}"])
async def test_pages_of_an_unreadable_segment_are_unavailable(query: str) -> None:
    archive = await archive_of(20, 20, cold=1)
    archive.cold.away.add(DIRECT)
    status, problem = await archive.call(f"/v1/sessions/{DIRECT}/messages{query}")
    assert (status, problem["code"], problem["detail"]) == (503, "unavailable", AWAY)
    assert problem["retryable"]
    archive.cold.away.clear()
    assert (await archive.call(f"/v1/sessions/{DIRECT}/messages{query}"))[0] == 200


async def test_hot_pages_are_served_while_cold_ones_are_away() -> None:
    """The block of the page reaches back into the cold segment."""
    archive = await archive_of(20, 20, cold=1)
    archive.cold.away.add(DIRECT)
    assert await archive.history("?limit=20") == (list(range(21, 41)), True)
    assert await archive.history("?after_seq=20&limit=5") == ([21, 22, 23, 24, 25], True)
    assert await archive.history(f"?at={1_764_000_000_025}&limit=5") == ([25, 26, 27, 28, 29], True)
    assert (await archive.call("/v1/sessions"))[0] == 200
    assert (await archive.call(f"/v1/sessions/{DIRECT}"))[1]["head"]["seq"] == 40


@pytest.mark.parametrize("name", [DIRECT, GROUP])
async def test_an_inbox_page_ends_before_an_unreadable_message(name: str) -> None:
    archive = await archive_of(20, 20, cold=1, name=name)
    await write_confirmed(archive.store, session("d:bob:carol", 5))
    rows: list[Row] = [bucket("bob", 0, 1), inbox_row("bob", 1, session_id="d:bob:carol", seq=5)]
    rows += [inbox_row("bob", 2, session_id=name, seq=39), inbox_row("bob", 3, session_id=name, seq=7)]
    await write_confirmed(archive.store, [*rows, inbox_row("bob", 4, session_id="d:bob:carol", seq=4)])
    archive.cold.away.add(name)
    status, page = await archive.call("/v1/inbox?after=0")
    assert (status, [item["inbox_seq"] for item in page["items"]], page["more"]) == (200, [1, 2], True)
    status, problem = await archive.call("/v1/inbox?after=2")
    assert (status, problem["detail"]) == (503, AWAY)
    archive.cold.away.clear()
    assert len((await archive.call("/v1/inbox?after=0"))[1]["items"]) == 4


async def test_a_list_does_not_need_archived_messages() -> None:
    """The user's own message is being stored, so the gateway looks for the last one that is."""
    archive = await archive_of(20, cold=1)
    await write_confirmed(archive.store, [UserSessionRow("bob", DIRECT, 1, 0, 0, 1), SentRow(DIRECT, "bob", 21, 21)])
    archive.cold.away.add(DIRECT)
    (shown,) = (await archive.call("/v1/sessions"))[1]["sessions"]
    assert (shown["head"]["seq"], shown["unread"]) == (20, 0)


async def test_without_a_reader_cold_messages_are_unavailable() -> None:
    archive = await archive_of(20, 20, cold=1)
    with pytest.raises(ColdUnavailable):
        await build_reads(archive.store, archive.clock).groups.added_at(DIRECT, 3)


# -- by time ---------------------------------------------------------------------------------------


def at(seq: int) -> int:
    return 1_764_000_000_000 + seq


@pytest.mark.parametrize("cold", [0, 1, 2])
async def test_a_page_begins_at_a_time(cold: int) -> None:
    archive = await archive_of(20, 20, cold=cold)
    assert await archive.history(f"?at={at(19)}&limit=4") == ([19, 20, 21, 22], True)
    assert await archive.history(f"?at={at(39)}") == ([39, 40], False)
    assert await archive.history("?at=0&limit=2") == ([1, 2], True)
    assert await archive.history(f"?at={at(41)}") == ([], False)
    assert await archive.history("?at=253402300799999") == ([], False)


async def test_a_session_without_messages_has_an_empty_page() -> None:
    assert await Archive().history(f"?at={at(1)}") == ([], False)


async def test_a_time_above_the_head_reads_no_segment() -> None:
    archive = await archive_of(20, 20)
    await archive.history(f"?at={at(41)}")
    assert archive.store.calls["messages"] == 0


@pytest.mark.parametrize(
    "query",
    ["at=-1", "at=x", "at=1.5", "at=253402300800000", f"at={10**30}", "at=1&before_seq=1", "at=1&after_seq=0"],
)
async def test_a_wrong_time_is_refused(query: str) -> None:
    status, problem = await Archive().call(f"/v1/sessions/{DIRECT}/messages?{query}")
    assert (status, problem["code"]) == (400, "invalid_frame")


@pytest.mark.promise("G3")
@pytest.mark.parametrize("query", ["?before_seq=31&limit=10", "?before_seq=31&limit=9", "?after_seq=18&limit=5"])
async def test_a_page_does_not_leave_out_a_lost_message(query: str) -> None:
    archive = await archive_of(40)
    archive.store.partition("messages", (DIRECT, 1)).drop(21)
    holds_it = query != "?before_seq=31&limit=9"
    with capture_logs() as logged:
        status, answer = await archive.call(f"/v1/sessions/{DIRECT}/messages{query}")
    if holds_it:
        assert (status, answer["code"]) == (503, "unavailable")
        assert [(line["event"], line["seq"]) for line in logged] == [("a stored message cannot be read", 21)]
    else:
        assert ([one["seq"] for one in answer["messages"]], answer["has_more"]) == (list(range(22, 31)), True)


class _Hanging:
    """Implements ColdRows: an object store that does not answer."""

    async def messages(self, *_: object) -> Sequence[MessageRow]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def continued_group() -> Archive:
    """40 archived messages and three new ones, of one block."""
    archive = await archive_of(40, 3, cold=1, name=GROUP)
    await write_confirmed(archive.store, [group(GROUP, 43), member(GROUP, "bob", 1, joined_seq=1)])
    return archive


@pytest.mark.parametrize("query", ["?after_seq=40", "?limit=3", "?after_seq=41&limit=1"])
async def test_hot_pages_wait_for_no_object_of_their_block(query: str) -> None:
    archive = await continued_group()
    archive.reads = build_reads(archive.store, archive.clock, history_cache_bytes=10**6, cold=_Hanging())
    async with asyncio.timeout(5):
        seqs, _ = await archive.history(query, GROUP)
    assert seqs
    assert min(seqs) > 40


async def test_inbox_pages_of_hot_messages_wait_for_no_object() -> None:
    archive = await continued_group()
    rows: list[Row] = [
        bucket("bob", 0, 1),
        *(inbox_row("bob", seq - 40, session_id=GROUP, seq=seq) for seq in (41, 42, 43)),
    ]
    await write_confirmed(archive.store, rows)
    archive.reads = build_reads(archive.store, archive.clock, history_cache_bytes=10**6, cold=_Hanging())
    async with asyncio.timeout(5):
        page = await archive.reads.inbox.page("bob", 0, 10)
    assert [number for number, _ in page.items] == [1, 2, 3]


async def test_readers_of_hot_and_cold_parts_of_a_block_get_theirs() -> None:
    """The second joins the read of the first, which leaves the archived messages out."""
    archive = await continued_group()
    hot, cold, both = await asyncio.gather(
        *(archive.history(query, GROUP) for query in ("?after_seq=40", "?before_seq=21&limit=20", "?limit=5"))
    )
    assert (hot, cold, both) == (([41, 42, 43], False), (list(range(1, 21)), False), ([39, 40, 41, 42, 43], True))
