"""A group grows and shrinks through both ways of fan-out while ten members write and others come and go.

Every member's view is then compared with the log of its memberships, member by member.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import httpx2
import pytest

from deploy.local.stack import Stack
from tests.e2e.group_people import Log, Member, gaps, members
from tests.e2e.tables import inbox_of, tables_of
from tests.waiting import until
from tidings.store import history, session_tails
from tidings.store.base import Store

WRITERS = 10
COMERS = 4
WRITE_EVERY_S = 0.5
PASSIVE = 590
REMOVED = 300
CALL = 490
AT_ONCE = 6
SLEEP_S = 20.0
PATIENCE_S = 60.0


@dataclass
class Story:
    """One group and the clients that are in it."""

    stack: Stack
    owner: Member
    writers: list[Member]
    comers: list[Member]
    passive: list[str]
    comers_have_all: bool
    session_id: str = ""
    acked: dict[str, int] = field(default_factory=dict)
    is_on: bool = True
    doing: list[asyncio.Task[None]] = field(default_factory=list)

    async def begin(self) -> None:
        """A group of two, then the writers."""
        name = {"name": "e2e", "members": [self.writers[0].user_id]}
        created = await self.owner.call("POST", "/v1/groups", **name)
        self.session_id = created["session_id"]
        await self.add([one.user_id for one in self.writers[1:]])

    async def add(self, user_ids: Sequence[str]) -> int:
        """The seq of their joining."""
        path = f"/v1/groups/{self.session_id}/members"
        return int((await self.owner.call("POST", path, user_ids=list(user_ids)))["seq"])

    async def remove(self, user_id: str) -> None:
        await self.owner.call("DELETE", f"/v1/groups/{self.session_id}/members/{user_id}")

    async def write(self, writer: Member) -> None:
        """One message after the other, WRITE_EVERY_S apart, until the story ends."""
        number = 0
        while self.is_on:
            await writer.phone.client.send(f"{writer.user_id} {number}", session_id=self.session_id)
            number += 1
            await asyncio.sleep(WRITE_EVERY_S)

    async def come_and_go(self, comer: Member) -> None:
        """Members for a moment or, where they have to miss nothing, until they read the group's log."""
        while self.is_on:
            seq = await self.add([comer.user_id])
            await asyncio.sleep(1.5)
            if self.comers_have_all:
                await until(partial(self._may_leave, comer, seq), "a comer reads the log")
            if self.is_on:
                await self.remove(comer.user_id)
            await asyncio.sleep(0.5)

    def _may_leave(self, comer: Member, joined_seq: int) -> bool:
        return not self.is_on or max(comer.view(self.session_id), default=0) > joined_seq

    async def grow(self) -> None:
        for start in range(0, len(self.passive), CALL):
            await self.add(self.passive[start : start + CALL])

    async def shrink(self) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(user_id: str) -> None:
            async with slots:
                await self.remove(user_id)

        await asyncio.gather(*(one(user_id) for user_id in self.passive[:REMOVED]))

    async def settle(self, store: Store) -> Log:
        """No member writes any more; everything has arrived at the phones or is read from history."""
        self.is_on = False
        await asyncio.gather(*self.doing)
        phones = [one.phone for one in self.with_phones]
        await until(lambda: not any(phone.client.unsent() for phone in phones), "every message is acked")
        assert [reason for phone in phones for reason in phone.failed] == []
        log = await self.log(store)
        with suppress(AssertionError):  # what is missing then, the check names
            await until(lambda: self._have_all(log), "every member has everything", within_s=PATIENCE_S)
        return log

    @property
    def with_phones(self) -> list[Member]:
        """Those with a phone."""
        return [self.owner, *self.writers, *self.comers]

    def owed(self, one: Member, log: Log) -> set[int]:
        """What has to reach this member.

        A member of a second and a half may be gone before a lost push was noticed (PROTOCOL, G6). After faults such
        members are sure only of what was written to their inboxes.
        """
        is_sure = self.comers_have_all or one not in self.comers
        return (log.seqs if is_sure else log.inboxes).get(one.user_id, set())

    def _have_all(self, log: Log) -> bool:
        return all(one.view(self.session_id) >= self.owed(one, log) for one in self.with_phones)

    async def log(self, store: Store) -> Log:
        head = (await session_tails.heads(store, [self.session_id]))[self.session_id]
        return Log(await history.read_range(store, self.session_id, 1, head.seq, head.seq))


@asynccontextmanager
async def story(stack: Stack, *, comers_have_all: bool) -> AsyncIterator[Story]:
    """All members with phones are connected, ten write, four come and go."""
    run, acked = uuid.uuid4().hex[:6], dict[str, int]()
    names = ["owner", *(f"w{number}" for number in range(WRITERS)), *(f"c{number}" for number in range(COMERS))]
    async with members(stack, [f"{run}-{name}" for name in names], acked) as people:
        passive = [f"{run}-p{number:03d}" for number in range(PASSIVE)]
        writers, comers = people[1 : 1 + WRITERS], people[1 + WRITERS :]
        tale = Story(stack, people[0], writers, comers, passive, comers_have_all, acked=acked)
        await tale.begin()
        tale.doing = [asyncio.create_task(tale.write(one)) for one in writers]
        tale.doing += [asyncio.create_task(tale.come_and_go(one)) for one in comers]
        try:
            yield tale
        finally:
            for task in tale.doing:
                task.cancel()
            await asyncio.gather(*tale.doing, return_exceptions=True)


async def check(tale: Story, log: Log, store: Store) -> None:
    """The log is whole, inboxes hold exactly what was write-diffused, and each user has exactly their own messages."""
    assert [row.seq for row in log.rows] == list(range(1, len(log.rows) + 1))
    stored = {row.client_msg_id: row.seq for row in log.rows}
    assert len(stored) == len(log.rows), "no command is stored twice"
    assert {name: stored.get(name) for name in tale.acked} == tale.acked
    for user_id in [*tale.passive, *(one.user_id for one in tale.with_phones)]:
        wanted = log.inboxes.get(user_id, set())
        in_order = await inbox_of(store, user_id, tale.session_id, len(wanted))
        assert in_order == sorted(wanted), f"{user_id}: {gaps(wanted, in_order)}"
    for one in tale.with_phones:
        shown, have = one.phone.shown[tale.session_id], one.view(tale.session_id)
        assert shown == sorted(have), f"{one.user_id} was shown {shown}"
        by_inbox = log.inboxes.get(one.user_id, set())
        assert have >= by_inbox, one.account(gaps(by_inbox, have))
        assert have >= tale.owed(one, log), one.account(gaps(tale.owed(one, log), have))
        theirs = log.seqs.get(one.user_id, set())
        assert have <= theirs, one.account(gaps(theirs, have))


def pushed_share(tale: Story, log: Log) -> str:
    """How much came by itself, and how much had to be read."""
    wanted = sum(len(log.seqs.get(one.user_id, ())) for one in tale.with_phones)
    missed = sum(len(log.seqs.get(one.user_id, set()) - one.pushed(tale.session_id)) for one in tale.with_phones)
    lost = sum(len(log.seqs.get(one.user_id, set()) - one.view(tale.session_id)) for one in tale.comers)
    ways = f"{missed} of them not by push, {lost} missed by the members that came and went"
    return f"{wanted} messages to connected members, {ways}"


@pytest.mark.promise("G10")
async def test_members_see_their_intervals_through_both_switches(stack: Stack, figures: list[str]) -> None:
    async with tables_of(stack) as store, story(stack, comers_have_all=True) as tale:
        await asyncio.sleep(2)
        await tale.grow()
        await asyncio.sleep(3)
        await tale.shrink()
        await asyncio.sleep(2)
        log = await tale.settle(store)
        assert [mode for _, mode in log.switches] == ["read", "write"]
        assert {tale.owner.user_id, *(one.user_id for one in tale.writers)} <= log.members
        await check(tale, log, store)
        figures.append(f"a group of 2, 600, 300: {pushed_share(tale, log)}")


# Of each kind the stage whose rounds show the owner of the group's partition.
DECIDES = {"persister": "persister", "fanout": "expand"}


async def owner_of(stack: Stack, kind: str) -> str:
    """The process through which the group goes now: no other test sends anything meanwhile."""
    names = [name for name in stack.running() if name.startswith(f"{kind}-")]
    before = {name: await asyncio.to_thread(records_of, stack, name, DECIDES[kind]) for name in names}
    async with asyncio.timeout(PATIENCE_S):  # for as long as the partition is between two owners, nothing moves
        while True:
            await asyncio.sleep(3 * WRITE_EVERY_S)
            now = {name: await asyncio.to_thread(records_of, stack, name, DECIDES[kind]) for name in names}
            grown = {name: now[name] - before[name] for name in names}
            owner, other = sorted(names, key=lambda name: grown[name], reverse=True)
            if grown[owner] > grown[other]:
                return owner
            before = now


def records_of(stack: Stack, name: str, stage: str) -> float:
    """How many records the rounds of a stage have had in one process."""
    kind, ordinal = name.split("-")
    url = f"http://127.0.0.1:{stack.ports.admin(kind, int(ordinal))}/metrics"
    text = httpx2.get(url).raise_for_status().text
    (line,) = [one for one in text.splitlines() if one.startswith(f'tidings_round_records_sum{{stage="{stage}"}}')]
    return float(line.split()[-1])


@pytest.mark.promise("G10")
@pytest.mark.parametrize("kind", ["persister", "fanout"])
async def test_the_switches_survive_the_death_and_the_sleep_of_a_stage(
    stack: Stack, kind: str, figures: list[str]
) -> None:
    """The one that has the group is killed while it grows and sleeps 20 s while it shrinks, a second one running."""
    async with tables_of(stack) as store, story(stack, comers_have_all=False) as tale:
        owner = await owner_of(stack, kind)
        growing = asyncio.create_task(tale.grow())
        await asyncio.to_thread(stack.kill, owner)
        await growing
        await asyncio.to_thread(stack.start, owner)
        await asyncio.to_thread(stack.wait_ready, [owner])
        owner = await owner_of(stack, kind)
        shrinking = asyncio.create_task(tale.shrink())
        await asyncio.sleep(0.5)
        await asyncio.to_thread(stack.pause, owner)
        await asyncio.sleep(SLEEP_S)
        stack.resume(owner)
        await shrinking
        await asyncio.sleep(2)
        log = await tale.settle(store)
        assert [mode for _, mode in log.switches] == ["read", "write"]
        await check(tale, log, store)
        figures.append(f"the same with {kind}s killed and asleep: {pushed_share(tale, log)}")
    await asyncio.to_thread(stack.wait_ready)
