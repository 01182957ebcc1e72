"""One partition of the tables that cannot be read, for each table: only calls that need it fail."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.gateway.large_groups.heads import GroupHeads
from services.gateway.large_groups.tracker import GroupTracker
from services.gateway.reads.build import build_reads
from services.gateway.reads.messages import MessageReads
from tests.builders import bucket, group, inbox_row, member, message, segment, write_confirmed
from tests.faults.store import FaultyStore
from tests.waiting import until
from tidings.clock import SystemClock
from tidings.errors import StoreUnavailable
from tidings.store.rows import MODE_READ, BlockList, DeliveredRow, Row, UserSessionRow

USERS = [f"user{number:02d}" for number in range(60)]
BAD = USERS[7]


def direct(user_id: str) -> str:
    return f"d:alice:{user_id}"


def group_of(user_id: str) -> str:
    return f"g:of-{user_id}"


class World:
    """Each user has a direct session with alice, a group in read diffusion, an inbox of one row and a block list."""

    def __init__(self) -> None:
        clock, self.store, self.groups = SystemClock(), FaultyStore(), GroupTracker()
        self.reads = build_reads(self.store, clock)
        self.messages = MessageReads(self.store, clock, 1_000_000)
        self.heads = GroupHeads(self.groups, self.reads.sessions, self.reads.memberships)

    async def begin(self) -> None:
        for user_id in USERS:
            rows: list[Row] = [bucket(user_id, 0, 1), inbox_row(user_id, 1, session_id=direct(user_id))]
            for name in (direct(user_id), group_of(user_id)):
                rows += [segment(name, 1, 1), message(name, 1), UserSessionRow(user_id, name, 1, 0, 0, 1)]
            rows += [group(group_of(user_id), 1, mode=MODE_READ), member(group_of(user_id), user_id, 1)]
            rows += [member(group_of(user_id), "alice", 1)]
            await write_confirmed(self.store, [*rows, DeliveredRow(direct(user_id), user_id, 1)])
            await self.store.replace_block_list(BlockList(user_id, ("mallory",), 1), 0)

    async def head_for_live(self, user_id: str) -> int:
        """As Lives returns it of a user that was read."""
        versions = await self.reads.memberships.versions(user_id, [group_of(user_id)])
        self.groups.add_user(user_id)
        self.groups.apply_versions(self.groups.generation(user_id), versions.values(), {group_of(user_id): 1})
        found, unread = await self.heads.of_users([user_id])
        if user_id in unread:
            raise StoreUnavailable("left out")
        return found[user_id][group_of(user_id)]


Read = Callable[[World, str], Awaitable[object]]


async def is_blocking(world: World, user_id: str) -> object:
    assert await world.reads.block_lists.blocks(user_id, "mallory")
    return world


async def counts(world: World, user_id: str) -> object:
    member_of = await world.reads.memberships.check("alice", direct(user_id))
    return await world.reads.receipts.of_message(member_of, 1, "", 10)


READS: dict[str, Read] = {
    "block list": is_blocking,
    "head": lambda world, user_id: world.reads.sessions.head_seq(direct(user_id)),
    "watermarks": lambda world, user_id: world.reads.sessions.watermarks(direct(user_id), user_id),
    "session": lambda world, user_id: world.reads.sessions.session(user_id, direct(user_id)),
    "session list": lambda world, user_id: world.reads.session_lists.page(user_id, 50, None),
    "receipts": counts,
    "membership": lambda world, user_id: world.reads.memberships.check(user_id, group_of(user_id)),
    "inbox": lambda world, user_id: world.reads.inbox.page(user_id, 0, 10),
    "tail": lambda world, user_id: world.reads.inbox.tail(user_id),
    "history": lambda world, user_id: world.messages.range(group_of(user_id), 1, 1, 1),
    "live": lambda world, user_id: world.head_for_live(user_id),
}
PARTITIONS: dict[str, tuple[str, object]] = {
    "block list": ("block_lists", BAD),
    "head": ("segments", direct(BAD)),
    "watermarks": ("receipts", direct(BAD)),
    "session": ("messages", (direct(BAD), 1)),
    "session list": ("user_sessions", BAD),
    "receipts": ("receipts", direct(BAD)),
    "membership": ("group_members", group_of(BAD)),
    "inbox": ("inbox", (BAD, 0)),
    "tail": ("inbox_buckets", BAD),
    "history": ("messages", (group_of(BAD), 1)),
    "live": ("segments", group_of(BAD)),
}


@pytest.mark.field_case("39")
@pytest.mark.parametrize(("read", "broken"), [*PARTITIONS.items(), ("membership", ("groups", group_of(BAD)))])
async def test_a_bad_partition_fails_only_its_own_reads(read: str, broken: tuple[str, object]) -> None:
    world = World()
    await world.begin()
    world.store.faults.unreadable.add(broken)
    for _ in range(2):
        outcomes = await asyncio.gather(*(READS[read](world, user_id) for user_id in USERS), return_exceptions=True)
        failed = [user_id for user_id, one in zip(USERS, outcomes, strict=True) if isinstance(one, BaseException)]
        assert failed == [BAD]
        assert isinstance(outcomes[USERS.index(BAD)], StoreUnavailable)
    world.store.faults.unreadable.clear()
    assert await READS[read](world, BAD) is not None


async def test_heads_of_all_users_leave_out_one_that_is_bad() -> None:
    world = World()
    await world.begin()
    for user_id in USERS:
        await world.head_for_live(user_id)
    world.store.faults.unreadable.add(("segments", group_of(BAD)))
    found, unread = await world.heads.of_users(USERS)
    assert unread == {BAD}
    assert {user_id: heads for user_id, heads in found.items() if heads} == {
        user_id: {group_of(user_id): 1} for user_id in USERS if user_id != BAD
    }


async def test_tails_of_all_users_leave_out_one_that_is_bad() -> None:
    world = World()
    await world.begin()
    world.store.faults.unreadable.add(("inbox", (BAD, 0)))
    assert await world.reads.inbox.tails(USERS) == {user_id: 1 for user_id in USERS if user_id != BAD}


async def test_shared_read_of_messages_fails_for_its_bad_session_only() -> None:
    world = World()
    await world.begin()
    world.store.faults.unreadable.add(("messages", (group_of(BAD), 1)))
    both = asyncio.create_task(world.messages.readable_rows_at({group_of(USERS[0]): [1], group_of(BAD): [1]}))
    await until(lambda: world.store.calls["segments"])
    assert len(await world.messages.range(group_of(USERS[0]), 1, 1, 1)) == 1
    with pytest.raises(StoreUnavailable):
        await both
