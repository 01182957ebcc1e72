"""What the Store port promises of groups, members and the sessions of a user, on each adapter."""

import pytest

from tests.builders import group, member, write_confirmed
from tidings.store.base import Store
from tidings.store.rows import (
    NEWEST,
    DeliveredRow,
    MemberRow,
    ReadRow,
    ReceiptRow,
    Row,
    SessionLeftRow,
    SessionModeRow,
    UserSessionRow,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _pages(store: Store, session_id: str, seq: int, limit: int) -> list[MemberRow]:
    found: list[MemberRow] = []
    after: str | None = ""
    while after is not None:
        page, following = await store.member_page(session_id, seq, after, limit)
        assert following is None or following > after
        found += page
        after = following
    return found


async def test_a_group_is_its_newest_version_at_or_below_the_seq(store: Store, name: str) -> None:
    one, other = f"g:{name}-1", f"g:{name}-2"
    versions = [group(one, seq, member_count=seq) for seq in (1, 5, 9)]
    await write_confirmed(store, [*reversed(versions), group(other, 4)])
    assert await store.groups_as_of({one: 8, other: 3}) == {one: versions[1]}
    assert await store.groups_as_of({one: 9, other: 4}) == {one: versions[2], other: group(other, 4)}
    assert await store.groups_as_of({one: NEWEST, other: NEWEST, "g:none": NEWEST}) == {
        one: versions[2],
        other: group(other, 4),
    }


async def test_more_groups_than_fit_into_one_request_are_answered(store: Store, name: str) -> None:
    rows = {f"g:{name}-{number}": group(f"g:{name}-{number}", 1) for number in range(250)}
    await write_confirmed(store, rows.values())
    assert await store.groups_as_of(dict.fromkeys(rows, NEWEST)) == rows


async def test_a_member_is_its_newest_version_at_or_below_the_seq(store: Store, name: str) -> None:
    session_id = f"g:{name}"
    await write_confirmed(store, [member(session_id, user, 1) for user in ("adam", "mia", "zoe")])
    left, back = member(session_id, "mia", 5, left_seq=5), member(session_id, "mia", 8, joined_seq=8)
    await write_confirmed(store, [back, left])
    for seq, mia in ((4, member(session_id, "mia", 1)), (5, left), (7, left), (8, back), (NEWEST, back)):
        found = await store.members_as_of(session_id, seq, ["mia", "zoe", "stranger"])
        assert found == {"mia": mia, "zoe": member(session_id, "zoe", 1)}
    assert not await store.members_as_of(session_id, 0, ["mia"])


async def test_more_members_than_fit_into_one_request_are_answered(store: Store, name: str) -> None:
    session_id = f"g:{name}"
    users = [f"u{number:03}" for number in range(250)]
    await write_confirmed(store, [member(session_id, user, seq) for user in users for seq in (1, 2, 3)])
    found = await store.members_as_of(session_id, 2, users)
    assert found == {user: member(session_id, user, 2) for user in users}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 100])
async def test_pages_of_members_are_complete_whatever_their_size(store: Store, name: str, limit: int) -> None:
    session_id = f"g:{name}"
    versions: dict[str, tuple[int, ...]] = {"a": (1,), "b": (1, 3, 5, 7, 9), "c": (6, 7, 8), "d": (2, 6), "e": (1, 9)}
    await write_confirmed(store, [member(session_id, user, seq) for user, seqs in versions.items() for seq in seqs])
    newest = {"a": 1, "b": 5, "d": 2, "e": 1}
    assert await _pages(store, session_id, 5, limit) == [member(session_id, *one) for one in newest.items()]
    assert await _pages(store, session_id, 0, limit) == []
    assert [row.as_of_seq for row in await _pages(store, session_id, NEWEST, limit)] == [1, 9, 8, 6, 9]


async def test_a_page_of_members_begins_above_the_user_named(store: Store, name: str) -> None:
    session_id = f"g:{name}"
    await write_confirmed(store, [member(session_id, user, 1) for user in ("a", "ab", "b", "c")])
    page, after = await store.member_page(session_id, NEWEST, "a", 2)
    assert [row.user_id for row in page] == ["ab", "b"]
    assert after == "b"
    page, after = await store.member_page(session_id, NEWEST, "c", 2)
    assert (list(page), after) == ([], None)


async def test_receipt_pages_are_sorted_and_begin_above_the_user(store: Store, name: str) -> None:
    session_id = f"g:{name}"
    rows: list[Row] = [DeliveredRow(session_id, user, 3) for user in ("c", "a", "ab")]
    await write_confirmed(store, [*rows, ReadRow(session_id, "b", 2, 2, 1000)])
    page = await store.receipt_page(session_id, "a", 2)
    assert page == [ReceiptRow(session_id, "ab", 3), ReceiptRow(session_id, "b", 0, 2, 2, 1000)]
    assert [row.user_id for row in await store.receipt_page(session_id, "b", 2)] == ["c"]
    assert list(await store.receipt_page(session_id, "c", 2)) == []


async def test_leaving_and_a_new_mode_change_only_their_columns(store: Store, name: str) -> None:
    await write_confirmed(store, [UserSessionRow(name, "g:a", 5, 4, 0, 1)])
    await write_confirmed(store, [SessionModeRow(name, "g:a", 2, 7), SessionLeftRow(name, "g:a", 9)])
    assert await store.user_sessions(name) == [UserSessionRow(name, "g:a", 5, 4, 9, 2)]
    await write_confirmed(store, [SessionModeRow(name, "g:a", 1, 6), UserSessionRow(name, "g:a", 5, 4, 0, 1)])
    assert await store.user_sessions(name) == [UserSessionRow(name, "g:a", 5, 4, 9, 2)]
    await write_confirmed(store, [UserSessionRow(name, "g:a", 12, 11, 0, 1)])
    assert await store.user_sessions(name) == [UserSessionRow(name, "g:a", 12, 11, 0, 1)]


async def test_rows_before_a_joining_are_there_once_the_joining_is(store: Store, name: str) -> None:
    await write_confirmed(store, [SessionLeftRow(name, "g:a", 9), SessionModeRow(name, "g:b", 2, 7)])
    assert list(await store.user_sessions(name)) == []
    await write_confirmed(store, [UserSessionRow(name, group_id, 5, 4, 0, 1) for group_id in ("g:a", "g:b")])
    assert await store.user_sessions(name) == [
        UserSessionRow(name, "g:a", 5, 4, 9, 1),
        UserSessionRow(name, "g:b", 5, 4, 0, 2),
    ]


async def test_reads_of_no_groups_and_members_are_empty(store: Store) -> None:
    assert not await store.groups_as_of({})
    assert not await store.members_as_of("g:none", 1, [])
    assert await store.member_page("g:none", 1, "", 10) == ([], None)
    assert not await store.receipt_page("g:none", "", 10)
