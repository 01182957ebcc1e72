"""Heads of groups in read diffusion: sent to members, read once, and in bounded reads."""

from collections import Counter
from collections.abc import Mapping
from itertools import cycle

import pytest

from services.gateway.large_groups.heads import GroupHeads
from services.gateway.large_groups.tracker import GroupTracker
from services.gateway.reads.build import build_reads
from tests.builders import group, member, message, segment, write_confirmed
from tidings.clock import SystemClock
from tidings.store.memory import MemoryStore
from tidings.store.rows import MODE_READ, GroupRow, Row
from tidings.wire.common_pb2 import MODE_READ as READ
from tidings.wire.common_pb2 import Message
from tidings.wire.push_pb2 import PushedMessage

USERS = ("ann", "bob", "cyd")
GROUPS = ("g:a", "g:b", "g:c")


def large(name: str, as_of_seq: int) -> GroupRow:
    return group(name, as_of_seq, mode=MODE_READ)


class ChangingStore(MemoryStore):
    """Something happens right before the groups are read, so after the heads."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Row] = []

    async def groups_as_of(self, seqs: Mapping[str, int]) -> Mapping[str, GroupRow]:
        meanwhile, self.meanwhile = self.meanwhile, []
        if meanwhile:
            await write_confirmed(self, meanwhile)
        return await super().groups_as_of(seqs)


class World:
    """Every user is in every group since seq 1, and has learned so; pushes of nothing later have come."""

    def __init__(self) -> None:
        self.store, self.groups = ChangingStore(), GroupTracker()
        reads = build_reads(self.store, SystemClock())
        self.memberships = reads.memberships
        self.heads = GroupHeads(self.groups, reads.sessions, reads.memberships)

    async def begin(self) -> None:
        for name in GROUPS:
            rows: list[Row] = [segment(name, 1, 1), message(name, 1), large(name, 1)]
            await write_confirmed(self.store, [*rows, *(member(name, user_id, 1) for user_id in USERS)])
        for user_id in USERS:
            self.groups.add_user(user_id)
            versions = await self.memberships.versions(user_id, GROUPS)
            self.groups.apply_versions(self.groups.generation(user_id), versions.values(), dict.fromkeys(GROUPS, 1))

    async def write(self, name: str, seq: int) -> None:
        await write_confirmed(self.store, [message(name, seq)])

    async def sent_heads(self, *users: str, most: int | None = None) -> dict[str, dict[str, int]]:
        self.calls_before = Counter(self.store.calls)
        return (await self.heads.of_users(users, most))[0]

    def reads_of_members(self) -> int:
        return self.store.calls["members_as_of"] - self.calls_before["members_as_of"]


async def world() -> World:
    made = World()
    await made.begin()
    return made


async def test_head_beyond_the_pushes_is_read_once() -> None:
    here = await world()
    await here.write("g:a", 2)
    for reads in (1, 0):
        assert await here.sent_heads("ann") == {"ann": {"g:a": 2, "g:b": 1, "g:c": 1}}
        assert here.reads_of_members() == reads


async def test_head_reached_by_pushes_needs_no_read() -> None:
    here = await world()
    await here.write("g:a", 2)
    here.groups.apply_push(PushedMessage(message=Message(session_id="g:a", seq=2), mode=READ))
    assert (await here.sent_heads("ann"))["ann"]["g:a"] == 2
    assert here.reads_of_members() == 0


@pytest.mark.promise("G10")
async def test_removed_member_does_not_get_the_head_before_any_push() -> None:
    here = await world()
    await write_confirmed(here.store, [large("g:a", 2), member("g:a", "ann", 2, 1, 2)])
    await here.write("g:a", 2)
    await here.write("g:a", 3)
    assert await here.sent_heads("ann", "bob") == {"ann": {"g:b": 1, "g:c": 1}, "bob": {"g:a": 3, "g:b": 1, "g:c": 1}}


async def test_member_added_after_the_head_was_read_does_not_get_it() -> None:
    here = await world()
    await write_confirmed(here.store, [large("g:a", 2), member("g:a", "ann", 2, 1, 2)])
    await here.write("g:a", 2)
    await here.write("g:a", 3)
    here.store.meanwhile = [large("g:a", 4), member("g:a", "ann", 4, 4)]
    assert await here.sent_heads("ann") == {"ann": {"g:b": 1, "g:c": 1}}
    await here.write("g:a", 4)
    assert await here.sent_heads("ann") == {"ann": {"g:a": 4, "g:b": 1, "g:c": 1}}


async def test_members_of_one_group_are_read_in_one_request() -> None:
    here = await world()
    for name in GROUPS:
        await here.write(name, 2)
    assert await here.sent_heads(*USERS) == {user_id: dict.fromkeys(GROUPS, 2) for user_id in USERS}
    assert here.reads_of_members() == len(GROUPS)


@pytest.mark.promise("G6")
async def test_bounded_head_reads_reach_every_user_and_group() -> None:
    here = await world()
    never_told = {(user_id, name) for user_id in USERS for name in GROUPS}
    # Users whose heartbeats are due together stay together, and each such call has no more than its own to ask about.
    calls = cycle([("ann",), ("bob", "cyd")])
    for seq in range(2, 302):
        for name in GROUPS:
            await here.write(name, seq)
        heads = await here.sent_heads(*next(calls), most=1)
        newest = [(user_id, name) for user_id in heads for name, head in heads[user_id].items() if head == seq]
        assert len(newest) == 1
        never_told.difference_update(newest)
        if not never_told:
            break
    assert not never_told


async def test_head_read_keeps_late_pushes_of_an_earlier_membership() -> None:
    here = await world()
    versions = [member("g:a", "ann", 3, 1, 3), member("g:a", "ann", 5, 5)]
    await write_confirmed(here.store, [large("g:a", 3), large("g:a", 5), *versions])
    for seq in range(2, 7):
        await here.write("g:a", seq)
    assert (await here.sent_heads("ann"))["ann"]["g:a"] == 6
    pushed = [
        PushedMessage(
            message=Message(session_id="g:a", seq=seq),
            mode=READ,
            left_ids=["ann"] if seq == 3 else [],
            joined_ids=["ann"] if seq == 5 else [],
        )
        for seq in range(2, 7)
    ]
    assert [one.message.seq for one in pushed if "ann" in here.groups.apply_push(one)] == [2, 3, 5, 6]
