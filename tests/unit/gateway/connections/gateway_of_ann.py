"""A gateway with ann's connection, whose lists of sessions come when a test lets them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.gateway.protocol.effects import Announce
from tests.fakes.clock import FakeClock
from tests.faults.store import FaultyStore
from tests.unit.gateway.parts import Parts, parts
from tidings.errors import StoreUnavailable
from tidings.store.rows import UserSessionRow
from tidings.wire.push_pb2 import Live


class HeldStore(FaultyStore):
    """Its lists of sessions come after `go`, or fail."""

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


class World:
    """Ann's connection has announced itself."""

    def __init__(self, gateway: Parts, store: HeldStore) -> None:
        self.gateway, self.store = gateway, store
        self.registry, self.lives = gateway.connections.registry, gateway.connections.live
        self.link = gateway.sign_in("ann")

    def is_presence_due(self) -> bool:
        return Announce() in self.link.connection.ticked(self.gateway.clock.monotonic_ms())

    def push_live(self) -> None:
        self.gateway.push(live=Live(user_id="ann", connection_id=self.link.connection.connection_id, inbox_seq=3))


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    store = HeldStore()
    here = World(await parts(store, FakeClock(1_000)), store)
    yield here
    here.registry.close(here.link)
    await here.gateway.submit.publisher.flush(1)


async def settled() -> None:
    for _ in range(100):
        await asyncio.sleep(0)
