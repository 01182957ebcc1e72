"""Messages at the end of their life: no answer shows, counts or promises one of them."""

import orjson
import pytest

from services.gateway.large_groups.heads import GroupHeads
from services.gateway.large_groups.tracker import GroupTracker
from services.gateway.reads.sessions import HistoryRange
from tests.builders import bucket, group, inbox_row, member, message, segment, session, write_confirmed
from tests.fakes.cold import purge
from tests.unit.gateway.reads.archive import DIRECT, Archive
from tests.unit.gateway.reads.session_world import READ_GROUP as GROUP
from tidings.store.rows import MODE_READ, ReadRow, Row, UserSessionRow

ALL = 40


async def purged(seq: int, name: str = DIRECT, *others: Row) -> Archive:
    """40 messages in two segments, of which those up to a seq are gone."""
    archive = Archive()
    await write_confirmed(archive.store, [*session(name, 20, 20), *others])
    await purge(archive.store, name, seq)
    return archive


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?limit=200", (list(range(26, 41)), False)),
        ("?limit=15", (list(range(26, 41)), False)),
        ("?limit=14", (list(range(27, 41)), True)),
        ("?before_seq=28", ([26, 27], False)),
        ("?before_seq=26", ([], False)),
        ("?before_seq=7", ([], False)),
        ("?after_seq=3&limit=2", ([26, 27], True)),
        ("?after_seq=39", ([40], False)),
        ("?at=0&limit=2", ([26, 27], True)),
    ],
)
async def test_pages_have_only_what_is_left(query: str, expected: tuple[list[int], bool]) -> None:
    archive = await purged(25)
    assert await archive.history(query) == expected
    status, page = await archive.call(f"/v1/sessions/{DIRECT}/messages{query}")
    assert (status, page["purged_seq"], page["head_seq"]) == (200, 25, ALL)


@pytest.mark.parametrize("query", ["", "?before_seq=20", "?after_seq=0", "?at=0"])
async def test_page_of_a_session_without_messages_left_is_empty(query: str) -> None:
    archive = await purged(ALL)
    _, page = await archive.call(f"/v1/sessions/{DIRECT}/messages{query}")
    assert page == {"messages": [], "head_seq": ALL, "has_more": False, "purged_seq": ALL}


async def test_rows_that_still_exist_are_not_shown() -> None:
    """The directory names the purge before the rows are deleted; the cache may have them, too."""
    archive = Archive()
    await write_confirmed(archive.store, session(DIRECT, 20, 20))
    await archive.history("?limit=200")
    archive.store.purge(DIRECT, 25, 25)
    assert await archive.history("?limit=200") == (list(range(26, 41)), False)
    archive.store.purge(DIRECT, ALL, ALL)
    _, shown = await archive.call(f"/v1/sessions/{DIRECT}")
    assert shown["head"] == {"seq": ALL, "at": message(DIRECT, ALL).at}


@pytest.mark.hazard("H40")
@pytest.mark.parametrize(
    ("asked", "seqs", "has_more"),
    [
        (HistoryRange(None, None, 20), range(26, 41), False),
        (HistoryRange(None, 0, 20), range(26, 41), False),
        (HistoryRange(None, 20, 10), range(26, 36), True),
        (HistoryRange(20, None, 5), range(0), False),
    ],
)
async def test_page_read_during_a_purge_is_read_again(asked: HistoryRange, seqs: range, has_more: bool) -> None:
    archive = Archive()
    await write_confirmed(archive.store, session(DIRECT, 20, 20))
    reads, member_of = archive.reads.sessions, await archive.reads.memberships.check("bob", DIRECT)
    head = await reads.head(DIRECT)
    await purge(archive.store, DIRECT, 25)
    page = orjson.loads(await reads.page(member_of, asked, head))
    assert ([one["seq"] for one in page["messages"]], page["has_more"]) == (list(seqs), has_more)
    assert page["purged_seq"] == 25


@pytest.mark.promise("G9")
@pytest.mark.parametrize(("read", "gone", "unread"), [(0, 25, 15), (10, 25, 15), (30, 25, 10), (0, ALL, 0)])
async def test_unread_counts_only_what_is_left(read: int, gone: int, unread: int) -> None:
    rows: list[Row] = [ReadRow(DIRECT, "bob", read, read, 1)] if read else []
    archive = await purged(gone, DIRECT, *rows, UserSessionRow("bob", DIRECT, 1, 0, 0, 1))
    _, shown = await archive.call(f"/v1/sessions/{DIRECT}")
    (listed,) = (await archive.call("/v1/sessions"))[1]["sessions"]
    assert (shown["unread"], shown["read_seq"], shown["purged_seq"]) == (unread, read, gone)
    assert listed == shown


async def test_a_purged_head_shows_its_seq_and_time_alone() -> None:
    archive = await purged(ALL, DIRECT, UserSessionRow("bob", DIRECT, 1, 0, 0, 1))
    await write_confirmed(archive.store, [*session("d:bob:carol", 2), UserSessionRow("bob", "d:bob:carol", 1, 0, 0, 1)])
    sessions = (await archive.call("/v1/sessions"))[1]["sessions"]
    assert [one["session_id"] for one in sessions] == [DIRECT, "d:bob:carol"]
    assert sessions[0]["head"] == {"seq": ALL, "at": message(DIRECT, ALL).at}


async def test_a_later_message_is_the_head_again() -> None:
    archive = await purged(ALL)
    await write_confirmed(archive.store, [segment(DIRECT, 3, 41), message(DIRECT, 41, 3)])
    assert await archive.history() == ([41], False)
    _, shown = await archive.call(f"/v1/sessions/{DIRECT}")
    assert (shown["head"]["seq"], shown["head"]["sender_id"], shown["unread"]) == (41, "alice", 1)


async def test_a_member_that_joined_later_sees_no_purge() -> None:
    rows: list[Row] = [group(GROUP, 30), member(GROUP, "bob", 30, joined_seq=30)]
    archive = await purged(25, GROUP, *rows)
    _, page = await archive.call(f"/v1/sessions/{GROUP}/messages?limit=200")
    assert ([one["seq"] for one in page["messages"]], "purged_seq" in page) == (list(range(30, 41)), False)


async def test_receipts_of_a_purged_message_are_not_found() -> None:
    archive = await purged(25)
    for seq, status in ((25, 404), (26, 200)):
        assert (await archive.call(f"/v1/sessions/{DIRECT}/messages/{seq}/receipts", "alice"))[0] == status


async def test_heads_of_large_groups_are_those_of_the_log() -> None:
    """A client learns from history that nothing is left below the head."""
    rows: list[Row] = [group(GROUP, 1, mode=MODE_READ), member(GROUP, "bob", 1)]
    archive = await purged(ALL, GROUP, *rows)
    assert await archive.reads.sessions.readable_head_seqs([GROUP]) == ({GROUP: ALL}, set())
    tracker = GroupTracker()
    tracker.add_user("bob")
    versions = await archive.reads.memberships.versions("bob", [GROUP])
    tracker.apply_versions(tracker.generation("bob"), versions.values(), {GROUP: ALL})
    heads = GroupHeads(tracker, archive.reads.sessions, archive.reads.memberships)
    assert await heads.of_users(["bob"]) == ({"bob": {GROUP: ALL}}, set())


# -- inboxes: with a life below that of inbox rows, these name purged messages ----------------------


async def inbox_with(*seqs: int) -> Archive:
    rows: list[Row] = [bucket("bob", 0, 1), *(inbox_row("bob", at, seq=seq) for at, seq in enumerate(seqs, start=1))]
    return await purged(25, DIRECT, *rows)


async def page_after(archive: Archive, after: int, limit: int = 200) -> tuple[list[int], int, bool, bool]:
    status, page = await archive.call(f"/v1/inbox?after={after}&limit={limit}")
    assert status == 200, page
    return [item["inbox_seq"] for item in page["items"]], page["next"], page["more"], page["truncated"]


async def test_inbox_rows_of_purged_messages_count_as_expired() -> None:
    archive = await inbox_with(3, 25, 26, 27)
    assert await page_after(archive, 0) == ([3, 4], 4, False, True)
    assert await page_after(archive, 2) == ([3, 4], 4, False, False)


async def test_page_of_purged_messages_alone_leads_on() -> None:
    archive = await inbox_with(3, 4, 5, 26)
    assert await page_after(archive, 0, limit=2) == ([], 2, True, True)
    assert await page_after(archive, 2, limit=2) == ([4], 4, False, True)


async def test_inbox_page_ends_before_a_purged_message() -> None:
    archive = await inbox_with(26, 25, 27)
    assert await page_after(archive, 0) == ([1], 1, True, False)
    assert await page_after(archive, 1) == ([3], 3, False, True)


async def test_inbox_of_purged_messages_alone_ends() -> None:
    archive = await inbox_with(3, 25)
    assert await page_after(archive, 0) == ([], 2, False, True)
