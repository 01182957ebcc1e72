"""The membership is read from the tables for every call; all refusals of a non-member are the same."""

import asyncio

import pytest

from services.gateway.reads.membership import Membership, Memberships
from tests import builders
from tests.builders import write_confirmed
from tests.faults.store import FaultyStore
from tidings.errors import Refused, StoreUnavailable
from tidings.store.rows import MODE_READ, MODE_WRITE, ROLE_ADMIN, ROLE_MEMBER, GroupRow, MemberRow

GROUP = "g:one"


def group(as_of_seq: int = 1, session_id: str = GROUP, member_count: int = 2, settings: str = "{}") -> GroupRow:
    return builders.group(session_id, as_of_seq, member_count, MODE_READ, settings=settings)


def member(user_id: str, as_of_seq: int = 1, left_seq: int = 0, *, joined: int = 1, name: str = GROUP) -> MemberRow:
    return builders.member(name, user_id, as_of_seq, joined, left_seq, role=ROLE_ADMIN)


async def store_with(*rows: GroupRow | MemberRow) -> FaultyStore:
    store = FaultyStore()
    await write_confirmed(store, rows)
    return store


async def code_of(memberships: Memberships, user_id: str, session_id: str) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        await memberships.check(user_id, session_id)
    return refused.value.code, refused.value.text


async def test_membership_has_place_role_and_mode() -> None:
    memberships = Memberships(await store_with(group(7), member("alice", 5, joined=5)))
    found = await memberships.check("alice", GROUP)
    assert (found.joined_seq, found.joined_count, found.role, found.mode) == (5, 4, ROLE_ADMIN, MODE_READ)
    assert (found.first_seq, found.group) == (5, group(7))


async def test_shared_history_begins_at_the_first_message() -> None:
    row = group(7, settings='{"share_history":true}')
    memberships = Memberships(await store_with(row, member("alice", 5, joined=5)))
    assert (await memberships.check("alice", GROUP)).first_seq == 1


async def test_a_direct_session_is_of_its_two_users_without_a_read() -> None:
    store = FaultyStore()
    found = await Memberships(store).check("bob", "d:alice:bob")
    assert found == Membership("d:alice:bob", "bob", 0, 0, ROLE_MEMBER, MODE_WRITE)
    assert (found.first_seq, dict(store.calls)) == (1, {})


async def test_non_members_get_one_refusal_for_any_session() -> None:
    dissolved = group(9, session_id="g:ended", member_count=0)
    memberships = Memberships(
        await store_with(
            group(),
            member("left", 1),
            member("left", 6, left_seq=6),
            group(session_id="g:ended"),
            dissolved,
            member("alice", name="g:ended"),
        )
    )
    asked = [("stranger", GROUP), ("left", GROUP), ("alice", "g:ended"), ("alice", "g:guessed"), ("eve", "d:alice:bob")]
    assert len({await code_of(memberships, user_id, name) for user_id, name in [*asked, ("eve", "nonsense")]}) == 1


async def test_member_of_a_group_without_a_row_yet_is_a_non_member() -> None:
    memberships = Memberships(await store_with(member("bob")))
    assert (await code_of(memberships, "bob", GROUP))[0] == "session_not_found"
    assert await memberships.versions("bob", [GROUP]) == {}


async def test_removal_and_new_joining_hold_for_the_next_check() -> None:
    store = await store_with(group(), member("bob"))
    memberships = Memberships(store)
    await memberships.check("bob", GROUP)
    await write_confirmed(store, [member("bob", 4, left_seq=4)])
    assert (await code_of(memberships, "bob", GROUP))[0] == "session_not_found"
    await write_confirmed(store, [group(8), member("bob", 8, joined=8)])
    assert (await memberships.check("bob", GROUP)).first_seq == 8


async def test_non_member_costs_the_same_reads_if_no_group_exists() -> None:
    store = await store_with(group(), member("bob"))
    memberships = Memberships(store)
    costs = []
    for name in (GROUP, "g:guessed"):
        before = dict(store.calls)
        await code_of(memberships, "stranger", name)
        costs.append({call: count - before.get(call, 0) for call, count in store.calls.items()})
    assert costs[0] == costs[1] == {"groups_as_of": 1, "members_as_of": 1, "write": 0}


async def test_questions_at_the_same_time_share_their_reads() -> None:
    users = [f"user-{number}" for number in range(50)]
    store = await store_with(group(), *(member(user_id) for user_id in users))
    memberships = Memberships(store)
    await asyncio.gather(*(memberships.check(user_id, GROUP) for user_id in users))
    assert (store.calls["groups_as_of"], store.calls["members_as_of"]) == (1, 1)


async def test_sessions_of_a_member_are_found_among_many() -> None:
    memberships = Memberships(await store_with(group(), member("alice"), group(session_id="g:other")))
    found = await memberships.check_many("alice", [GROUP, "g:other", "g:none", "d:alice:bob", "d:bob:carol"])
    assert set(found) == {GROUP, "d:alice:bob"}


async def test_unavailable_tables_let_no_user_in() -> None:
    store = await store_with(group(), member("alice"))
    store.stall()
    with pytest.raises(StoreUnavailable):
        await Memberships(store).check("alice", GROUP)
