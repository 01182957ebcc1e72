"""`live` and heartbeats while something is lost: what was read before the loss answers nobody, the rest is told."""

import asyncio
import json
from collections.abc import Collection, MutableMapping, Sequence
from typing import Any, cast

from services.gateway.connection import ConnectionRules
from services.gateway.effects import Announce
from services.gateway.hub import SLICES, Hub
from services.gateway.inbox_reads import InboxReads
from services.gateway.lives import Lives
from services.gateway.membership import Memberships
from services.gateway.message_reads import MessageReads
from services.gateway.publishing import GatewayIdentity, Publisher
from services.gateway.routing import PushRouter
from services.gateway.send_times import SendTimes
from services.gateway.session_orders import SessionOrders
from services.gateway.session_reads import SessionReads
from services.gateway.ticking import Ticker
from services.gateway.tokens import Identity
from services.gateway.waiting import WaitingCalls
from tidings import topics
from tidings.broker.memory import MemoryBroker
from tidings.errors import StoreUnavailable
from tidings.store.memory import MemoryStore
from tidings.store.rows import UserSessionRow
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Stamps
from tidings.wire.push_pb2 import Live, Push, Resync


class HeldStore(MemoryStore):
    """Its lists of sessions come when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def user_sessions(self, user_id: str) -> Sequence[UserSessionRow]:
        self.asked.set()
        await self.go.wait()
        return await super().user_sessions(user_id)


class StillClock:
    def wall_ms(self) -> int:
        return 1_764_000_000_000

    def monotonic_ms(self) -> int:
        return 1_000


async def test_a_loss_of_pushes_while_live_is_answered_voids_it_and_presence_is_due_at_once() -> None:
    store, broker, clock, sizes = HeldStore(), MemoryBroker(), StillClock(), TopicSizes(1, 1, 1)
    sent: list[str] = []

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.extend(json.loads(line)["type"] for line in event["text"].split("\n"))

    await broker.admin().create_topics(topics.declared(sizes), 1)
    publisher = Publisher(broker.producer("gateway"), GatewayIdentity(0, 7), sizes, Stamps(rules=1))
    hub = Hub(ConnectionRules(lambda token, _: Identity(token, 3_600_000)), publisher, clock, "0-7")
    memberships = Memberships(store)
    lives = Lives(hub, store, memberships, SessionReads(store, MessageReads(store, clock, 0), memberships), clock)
    router = PushRouter(hub, WaitingCalls(1), SendTimes(), lives, SessionOrders(), 7, clock)
    link = hub.open(send)
    link.connection.received('{"type":"hello","token":"ann","device_id":"d"}', 1_000, clock.wall_ms())
    hub.sign_in(link)
    live = Push(gateway_epoch=7, live=Live(user_id="ann", connection_id=link.connection.connection_id, inbox_seq=3))
    router.take(live.SerializeToString())
    await store.asked.wait()
    router.take(Push(gateway_epoch=7, resync=Resync()).SerializeToString())
    store.go.set()
    for _ in range(100):
        await asyncio.sleep(0)
    assert "live" not in sent
    assert Announce() in link.connection.ticked(1_000)
    router.take(live.SerializeToString())
    for _ in range(100):
        await asyncio.sleep(0)
    assert sent.count("live") == 1
    hub.close(link)
    await publisher.flush(1)


class Tails:
    async def tails(self, user_ids: Collection[str]) -> dict[str, int]:
        return dict.fromkeys(user_ids, 9)


class NoHeads:
    async def heads(self, _user_ids: Collection[str]) -> dict[str, dict[str, int]]:
        raise StoreUnavailable("not now")


async def test_heads_that_cannot_be_read_do_not_take_the_tail_out_of_a_heartbeat() -> None:
    broker, clock, sizes = MemoryBroker(), StillClock(), TopicSizes(1, 1, 1)
    sent: list[dict[str, Any]] = []

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.extend(json.loads(line) for line in event["text"].split("\n"))

    await broker.admin().create_topics(topics.declared(sizes), 1)
    publisher = Publisher(broker.producer("gateway"), GatewayIdentity(0, 7), sizes, Stamps(rules=1))
    hub = Hub(ConnectionRules(lambda token, _: Identity(token, 3_600_000)), publisher, clock, "0-7")
    ticker = Ticker(hub, cast(InboxReads, Tails()), cast(Lives, NoHeads()), clock)
    link = hub.open(send)
    link.connection.received('{"type":"hello","token":"ann","device_id":"d"}', 1_000, clock.wall_ms())
    hub.sign_in(link)
    link.connection.beat_soon(1_000)
    for number in range(SLICES):
        ticker.tick(number)
    await ticker.beat()
    for _ in range(10):
        await asyncio.sleep(0)
    assert [(one["inbox_seq"], one["heads"]) for one in sent if one["type"] == "heartbeat"] == [(9, [])]
    hub.close(link)
    await publisher.flush(1)
