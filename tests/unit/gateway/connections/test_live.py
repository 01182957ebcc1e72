"""`live` and heartbeats while something is lost: what was read before the loss answers nobody, the rest is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from services.gateway.connections.link import Link
from services.gateway.connections.live import LiveAnswers
from services.gateway.connections.registry import REPLACES_AFTER_S, SLICES, ConnectionRegistry
from services.gateway.connections.timers import Timers
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.effects import Announce
from services.gateway.protocol.identity import Identity
from services.gateway.push.router import PushRouter
from services.gateway.reads.inbox import InboxPage, InboxReads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.session_order import SessionOrders
from services.gateway.reads.sessions import SessionReads
from services.gateway.submit.latency import AckLatency
from services.gateway.submit.pending_calls import PendingCalls
from services.gateway.submit.publisher import GatewayIdentity, Publisher
from tests.contract.store.making import group, member, message, segment, write_confirmed
from tidings import topics
from tidings.broker.memory import MemoryBroker
from tidings.errors import StoreUnavailable
from tidings.store.memory import MemoryStore
from tidings.store.rows import MODE_READ, Row, UserSessionRow
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Stamps
from tidings.wire.presence_pb2 import Presence
from tidings.wire.push_pb2 import Live, Push, Resync


class HeldStore(MemoryStore):
    """Its lists of sessions come when they are let, unless they are not to be had."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.is_failing = False

    async def user_sessions(self, user_id: str) -> Sequence[UserSessionRow]:
        self.asked.set()
        await self.go.wait()
        if self.is_failing:
            raise StoreUnavailable("not now")
        return await super().user_sessions(user_id)


class StillClock:
    def wall_ms(self) -> int:
        return 1_764_000_000_000

    def monotonic_ms(self) -> int:
        return 1_000


class World:
    """A gateway with ann's connection, which has announced itself."""

    def __init__(self, publisher: Publisher, broker: MemoryBroker) -> None:
        self.publisher, self.broker, self.store, clock = publisher, broker, HeldStore(), StillClock()
        self.registry = ConnectionRegistry(
            ConnectionRules(lambda token, _: Identity(token, 3_600_000)), publisher, clock, "0-7"
        )
        memberships = Memberships(self.store)
        sessions = SessionReads(self.store, MessageReads(self.store, clock, 0), memberships)
        self.lives = LiveAnswers(self.registry, self.store, memberships, sessions, clock)
        self.router = PushRouter(self.registry, PendingCalls(1), AckLatency(), self.lives, SessionOrders(), 7, clock)
        self.sent: list[dict[str, Any]] = []
        self.link = self.registry.open(self._send)
        hello = '{"type":"hello","token":"ann","device_id":"d"}'
        self.link.connection.received(hello, clock.monotonic_ms(), clock.wall_ms())
        self.registry.sign_in(self.link)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.sent if one["type"] == kind]

    def is_presence_due(self) -> bool:
        return Announce() in self.link.connection.ticked(StillClock().monotonic_ms())

    def push_live(self) -> None:
        live = Live(user_id="ann", connection_id=self.link.connection.connection_id, inbox_seq=3)
        self.router.take(Push(gateway_epoch=7, live=live).SerializeToString())

    async def _send(self, event: MutableMapping[str, Any]) -> None:
        self.sent.extend(json.loads(line) for line in event["text"].split("\n"))


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    broker, sizes = MemoryBroker(), TopicSizes(1, 1, 1)
    await broker.admin().create_topics(topics.declared(sizes), 1)
    here = World(Publisher(broker.producer("gateway"), GatewayIdentity(0, 7), sizes, Stamps(rules=1)), broker)
    yield here
    here.registry.close(here.link)
    await here.publisher.flush(1)


async def settled() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def test_lost_push_during_live_announces_presence_at_once() -> None:
    async with world() as here:
        here.push_live()
        await here.store.asked.wait()
        here.router.take(Push(gateway_epoch=7, resync=Resync()).SerializeToString())
        here.store.go.set()
        await settled()
        assert not here.told("live")
        assert here.is_presence_due()
        here.push_live()
        await settled()
        assert len(here.told("live")) == 1


@pytest.mark.promise("G6")
async def test_evicted_user_announces_presence_again() -> None:
    async with world() as here:
        here.store.go.set()
        here.push_live()
        await settled()
        assert not here.is_presence_due()
        here.store.is_failing = True
        here.lives.reload(["ann"])
        await settled()
        assert here.is_presence_due()


@pytest.mark.promise("G6")
async def test_large_group_named_by_the_inbox_alone_is_read_from_the_tables() -> None:
    """The push of the switch was lost with the fanout that sent it, and no resync follows."""
    async with world() as here:
        here.store.go.set()
        large = replace(group("g:a", 3), mode=MODE_READ)
        rows: list[Row] = [large, member("g:a", "ann", 3, 1), segment("g:a", 1, 1), message("g:a", 3)]
        await write_confirmed(here.store, rows)
        assert await here.lives.heads(["ann"]) == {"ann": {}}
        here.registry.expect_groups("ann", ["g:a"])
        await settled()
        assert await here.lives.heads(["ann"]) == {"ann": {"g:a": 3}}


@pytest.mark.parametrize(
    ("kind", "body", "named"),
    [
        ("system", {"event": "members_added", "mode_to": "read"}, ["g:a"]),
        ("system", {"event": "group_created", "mode": "read"}, ["g:a"]),
        ("system", {"event": "members_added", "mode_to": "write"}, []),
        ("custom", {"mode": "read"}, []),
        ("text", {"text": '"mode":"read"'}, []),
    ],
)
def test_page_names_the_groups_that_are_read_from_their_log(kind: str, body: object, named: list[str]) -> None:
    content = orjson.dumps({"session_id": "g:a", "kind": kind, "body": body})
    assert InboxPage(0, [(1, content)], 1, 1, False).large_groups() == named


def sign_in(here: World) -> Link:
    """One more connection of ann's device."""
    link = here.registry.open(here._send)
    hello = '{"type":"hello","token":"ann","device_id":"d"}'
    link.connection.received(hello, StillClock().monotonic_ms(), StillClock().wall_ms())
    here.registry.sign_in(link)
    return link


def announced(here: World) -> list[tuple[str, int]]:
    """(connection, state) of every presence record."""
    records = here.broker.records(topics.PRESENCE)
    values = [Presence.FromString(record.value or b"") for record in records]
    return [(value.connection_id, value.state) for value in values]


async def test_newer_connection_of_a_device_replaces_the_older_one() -> None:
    async with world() as here:
        newer = sign_in(here)
        assert not here.link.connection.closing
        await asyncio.sleep(REPLACES_AFTER_S + 0.4)
        assert here.link.connection.closing
        here.registry.close(newer)


async def test_newer_connection_that_ends_at_once_replaces_none() -> None:
    """Its hello was late: the device uses the other one, whose presence has to be the last record of the key."""
    async with world() as here:
        late = sign_in(here)
        here.registry.close(late)
        await asyncio.sleep(REPLACES_AFTER_S + 0.4)
        assert not here.link.connection.closing
        await here.publisher.flush(1)
        assert announced(here)[-1] == (here.link.connection.connection_id, Presence.STATE_HERE)


async def test_a_device_has_two_connections_at_most() -> None:
    async with world() as here:
        links = [sign_in(here) for _ in range(50)]
        assert [link for link in (here.link, *links) if not link.connection.closing] == links[-2:]
        for link in links:
            here.registry.close(link)


async def test_missed_groups_are_read_without_the_others() -> None:
    async with world() as here:
        here.store.go.set()
        for number in range(20):
            here.registry.expect_groups("ann", [f"g:{number}"])
            await settled()
        assert here.store.calls["groups_as_of"] == 20
        assert not here.store.asked.is_set()


class Tails:
    async def tails(self, user_ids: Collection[str]) -> dict[str, int]:
        return dict.fromkeys(user_ids, 9)


class NoHeads:
    async def heads(self, _user_ids: Collection[str]) -> dict[str, dict[str, int]]:
        raise StoreUnavailable("not now")


async def test_unreadable_heads_leave_the_tail_in_a_heartbeat() -> None:
    async with world() as here:
        clock = StillClock()
        ticker = Timers(here.registry, cast(InboxReads, Tails()), cast(LiveAnswers, NoHeads()), clock)
        here.link.connection.beat_soon(clock.monotonic_ms())
        for number in range(SLICES):
            ticker.tick(number)
        await ticker.beat()
        await settled()
        assert [(one["inbox_seq"], one["heads"]) for one in here.told("heartbeat")] == [(9, [])]


async def test_live_does_not_wait_for_a_user_whose_reads_fail() -> None:
    async with world() as here:
        here.store.go.set()
        here.store.faults.unreadable.add(("user_sessions", "bob"))
        here.lives.reload(["bob"])
        here.push_live()
        await settled()
        assert len(here.told("live")) == 1
        here.lives.reload(["ann", "bob"])
        await settled()
        assert not here.is_presence_due()
