"""Sign-in, a device's newer connection, and connections that end at once."""

import asyncio

from services.gateway.connections.registry import REPLACES_AFTER_S
from tests.unit.gateway.connections.gateway_of_ann import World, world
from tests.unit.gateway.parts import hello, parts
from tidings import topics
from tidings.wire.presence_pb2 import Presence


async def test_connection_that_fails_with_its_hello_is_not_registered() -> None:
    gateway = await parts()
    registry = gateway.connections.registry
    link = registry.open(gateway.keep)
    link.connection.received(hello("alice") + "\n{", 0, 10**12)
    registry.settle(link)
    registry.sign_in(link)
    assert (len(registry), len(registry.of_user("alice"))) == (0, 0)
    registry.close(link)
    await gateway.submit.publisher.flush(1)


def announced(here: World) -> list[tuple[str, int]]:
    """(connection, state) of every presence record."""
    records = here.gateway.broker.records(topics.PRESENCE)
    values = [Presence.FromString(record.value or b"") for record in records]
    return [(value.connection_id, value.state) for value in values]


async def test_newer_connection_of_a_device_replaces_the_older_one() -> None:
    async with world() as here:
        newer = here.gateway.sign_in("ann")
        assert not here.link.connection.closing
        await asyncio.sleep(REPLACES_AFTER_S + 0.4)
        assert here.link.connection.closing
        here.registry.close(newer)


async def test_newer_connection_that_ends_at_once_replaces_none() -> None:
    """Its hello was late: the device uses the other one, whose presence has to be the last record of the key."""
    async with world() as here:
        late = here.gateway.sign_in("ann")
        here.registry.close(late)
        await asyncio.sleep(REPLACES_AFTER_S + 0.4)
        assert not here.link.connection.closing
        await here.gateway.submit.publisher.flush(1)
        assert announced(here)[-1] == (here.link.connection.connection_id, Presence.STATE_HERE)


async def test_a_device_has_two_connections_at_most() -> None:
    async with world() as here:
        links = [here.gateway.sign_in("ann") for _ in range(50)]
        assert [link for link in (here.link, *links) if not link.connection.closing] == links[-2:]
        for link in links:
            here.registry.close(link)
