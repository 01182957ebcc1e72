"""The receipts of groups in memory over the tables: as of which seq they are read, and what happens while they are."""

import asyncio
from collections.abc import Iterable

import pytest

from services.receipts.group_receipts import GroupReceipts
from services.receipts.groups import Groups
from services.receipts.merge import Claim
from tests import builders
from tests.builders import write_confirmed
from tests.faults.store import FaultyStore
from tests.simulation.scenario import held_up
from tests.simulation.virtual_time import VirtualClock, simulated
from tests.unit.receipts.test_group_receipts import changed
from tidings.store.rows import MODE_READ, GroupRow, MemberRow, ReadRow
from tidings.wire.common_pb2 import KIND_TEXT, Message
from tidings.wire.persisted_pb2 import Persisted


def member(user_id: str, as_of_seq: int, *, is_in: bool = True, session_id: str = "g:1") -> MemberRow:
    return builders.member(session_id, user_id, as_of_seq, as_of_seq, 0 if is_in else as_of_seq)


def group(as_of_seq: int, members: int, session_id: str = "g:1") -> GroupRow:
    return builders.group(session_id, as_of_seq, members, MODE_READ)


async def tables(*rows: GroupRow | MemberRow | ReadRow) -> FaultyStore:
    store = FaultyStore(VirtualClock())
    await write_confirmed(store, rows)
    return store


async def read(groups: Groups, session_id: str = "g:1") -> GroupReceipts:
    """The receipts of the group, when they have been read."""
    groups.receipts(session_id)
    await asyncio.sleep(1)
    receipts = groups.receipts(session_id)
    assert receipts is not None
    return receipts


async def being_read(store: FaultyStore, call: str, seen_seq: int) -> tuple[Groups, asyncio.Event]:
    """The receipts of a group seen up to this seq, whose reading waits at the call for the event."""
    groups, answers = Groups(store), held_up(store, call)
    groups.see(said(seen_seq))
    assert groups.receipts("g:1") is None
    await asyncio.sleep(1)
    return groups, answers


def said(seq: int, session_id: str = "g:1") -> Persisted:
    return Persisted(message=Message(session_id=session_id, seq=seq, kind=KIND_TEXT))


# alice created the group; bob left at 3, carl came in at 4 and left at 5.
ROWS: tuple[GroupRow | MemberRow, ...] = (
    *(group(seq, members) for seq, members in ((1, 2), (3, 1), (4, 2), (5, 1))),
    *(member("alice", 1), member("bob", 1), member("bob", 3, is_in=False)),
    *(member("carl", 4), member("carl", 5, is_in=False)),
)


@simulated
async def test_group_is_read_as_of_the_last_message_seen() -> None:
    groups = Groups(await tables(*ROWS))
    groups.see(said(2))
    assert (await read(groups)).watermarks.keys() == {"alice", "bob"}
    groups.see(changed(3, left="bob"))
    groups.see(changed(4, joined="carl"))
    assert (await read(groups)).watermarks.keys() == {"alice", "carl"}
    groups.see(changed(5, left="carl"))
    groups.see(changed(4, joined="carl"))
    assert (await read(groups)).watermarks.keys() == {"alice"}


@simulated
async def test_group_read_before_any_message_is_read_again_at_a_change() -> None:
    store = await tables(*ROWS)
    groups = Groups(store)
    assert (await read(groups)).watermarks.keys() == {"alice"}
    groups.see(changed(4, joined="carl"))
    assert (await read(groups)).watermarks.keys() == {"alice", "carl"}
    groups.see(changed(5, left="carl"))
    assert (await read(groups)).watermarks.keys() == {"alice"}
    assert store.calls["receipt_page"] == 2


@simulated
async def test_changes_during_the_read_of_members_count() -> None:
    store = await tables(*ROWS)
    groups, answers = await being_read(store, "member_page", 2)
    groups.see(changed(3, left="bob"))
    groups.see(changed(4, joined="carl"))
    answers.set()
    assert (await read(groups)).watermarks.keys() == {"alice", "carl"}
    assert store.calls["member_page"] == 1


@pytest.mark.parametrize("changes", [100, 101])
@simulated
async def test_too_many_changes_during_a_read_cause_another_read(changes: int) -> None:
    store = await tables(group(1, 1), member("alice", 1))
    groups, answers = await being_read(store, "member_page", 1)
    for seq in range(2, 2 + changes):
        groups.see(changed(seq, joined="bob") if seq % 2 else changed(seq, left="bob"))
    answers.set()
    assert (await read(groups)).watermarks.keys() >= {"alice"}
    assert store.calls["member_page"] == (2 if changes > 100 else 1)


@simulated
async def test_watermarks_are_read_once_whatever_changes_meanwhile() -> None:
    store = await tables(group(1, 1), member("alice", 1))
    groups, answers = await being_read(store, "receipt_page", 1)
    for seq in range(2, 202):
        groups.see(changed(seq, joined="bob") if seq % 2 else changed(seq, left="bob"))
    answers.set()
    assert (await read(groups)).watermarks.keys() == {"alice", "bob"}
    assert (store.calls["member_page"], store.calls["receipt_page"]) == (1, 1)


@simulated
async def test_evicted_group_is_read_again_with_stored_watermarks() -> None:
    store = await tables(
        *(group(1, 3, name) for name in ("g:1", "g:2")),
        *(member(user_id, 1, session_id=name) for user_id in ("alice", "bob", "carl") for name in ("g:1", "g:2")),
        ReadRow("g:1", "bob", 7, 5, 1),
    )
    groups = Groups(store, most_members=5)
    for name in ("g:1", "g:2", "g:1"):
        groups.see(said(7, name))
        receipts = await read(groups, name)
        assert receipts.watermarks.keys() == {"alice", "bob", "carl"}
    assert receipts.counts({7: "alice"})["alice"][0].read == 1
    assert store.calls["receipt_page"] == 3


@simulated
async def test_watermark_stored_during_the_read_of_all_counts() -> None:
    store = await tables(group(1, 2), member("alice", 1), member("bob", 1))
    groups, answers = Groups(store), held_up(store, "receipt_page")
    groups.see(said(2))
    assert groups.receipts("g:1") is None
    await asyncio.sleep(1)
    groups.raise_to(("g:1", "bob"), 2, 2)
    answers.set()
    assert (await read(groups)).watermarks["bob"] == (2, 2)


@simulated
async def test_group_without_members_is_read_once() -> None:
    store = await tables(group(1, 1), group(2, 0), member("alice", 1))
    groups = Groups(store)
    groups.see(said(2))
    for name in ("g:1", "g:2"):
        assert not (await read(groups, name)).watermarks
        assert not (await read(groups, name)).counts({1: "alice"})
    assert store.calls["groups_as_of"] == 2


@simulated
async def test_failed_read_is_repeated_and_a_bug_is_raised() -> None:
    store = await tables(*ROWS)
    groups = Groups(store)
    store.stall()
    assert groups.receipts("g:1") is None
    await asyncio.sleep(1)
    store.heal()
    assert (await read(groups)).watermarks.keys() == {"alice"}
    del store._partitions
    assert groups.receipts("g:2") is None
    await asyncio.sleep(1)
    with pytest.raises(AttributeError):
        groups.receipts("g:2")


@simulated
async def test_read_that_outlasts_the_assignment_is_not_kept() -> None:
    store = await tables(*ROWS)
    groups, answers = await being_read(store, "member_page", 2)
    groups.forget()
    answers.set()
    await asyncio.sleep(1)
    groups.see(said(5))
    assert (await read(groups)).watermarks.keys() == {"alice"}
    assert store.calls["member_page"] == 2


@simulated
async def test_claims_of_cached_members_need_no_read() -> None:
    store = await tables(*ROWS, member("dora", 6), group(6, 2))
    groups = Groups(store)
    groups.see(said(5))
    await read(groups)
    assert await users(groups, "alice") == ["alice"]
    assert store.calls["members_as_of"] == 0
    assert await users(groups, "alice", "bob", "carl", "dora", "mallory") == ["alice", "dora"]


async def users(groups: Groups, *user_ids: str) -> list[str]:
    """Those of them whose claims are permitted."""
    claims: Iterable[Claim] = (Claim("g:1", user_id, 5, 5, 0) for user_id in user_ids)
    return [claim.user_id for claim in await groups.permitted(list(claims), {"g:1": 5})]


async def test_seen_groups_are_bounded_and_a_read_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.receipts.groups._SEEN_GROUPS", 2)
    groups = Groups(await tables())
    for seq, session_id in enumerate(("g:1", "g:2", "g:1", "g:3"), start=1):
        groups.see(said(seq, session_id))
        await groups.permitted([Claim("g:2", "alice", 0, 1, 1)], {"g:2": 2})
    assert dict(groups._seen.items()) == {"g:1": 3, "g:3": 4}
