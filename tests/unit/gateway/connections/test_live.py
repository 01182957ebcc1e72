"""`live` and heartbeats while something is lost: what was read before the loss answers no client, the rest is sent."""

import pytest

from tests.builders import group, member, message, segment, write_confirmed
from tests.unit.gateway.connections.gateway_of_ann import settled, world
from tidings.store.rows import MODE_READ, Row
from tidings.wire.push_pb2 import Resync


async def test_lost_push_during_live_announces_presence_at_once() -> None:
    async with world() as here:
        here.push_live()
        await here.store.asked.wait()
        here.gateway.push(resync=Resync())
        here.store.go.set()
        await settled()
        assert not here.gateway.sent_of("live")
        assert here.is_presence_due()
        here.push_live()
        await settled()
        assert len(here.gateway.sent_of("live")) == 1


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
async def test_large_group_named_by_the_inbox_is_read_from_the_tables() -> None:
    """The push of the switch was lost with the fanout that sent it, and no resync follows."""
    async with world() as here:
        here.store.go.set()
        large = group("g:a", 3, mode=MODE_READ)
        rows: list[Row] = [large, member("g:a", "ann", 3, 1), segment("g:a", 1, 1), message("g:a", 3)]
        await write_confirmed(here.store, rows)
        assert await here.lives.heads(["ann"]) == {"ann": {}}
        here.registry.expect_groups("ann", ["g:a"])
        await settled()
        assert await here.lives.heads(["ann"]) == {"ann": {"g:a": 3}}


async def test_missed_groups_are_read_without_the_others() -> None:
    async with world() as here:
        here.store.go.set()
        for number in range(20):
            here.registry.expect_groups("ann", [f"g:{number}"])
            await settled()
        assert here.store.calls["groups_as_of"] == 20
        assert not here.store.asked.is_set()


async def test_live_does_not_wait_for_a_user_whose_reads_fail() -> None:
    async with world() as here:
        here.store.go.set()
        here.store.faults.unreadable.add(("user_sessions", "bob"))
        here.lives.reload(["bob"])
        here.push_live()
        await settled()
        assert len(here.gateway.sent_of("live")) == 1
        here.lives.reload(["ann", "bob"])
        await settled()
        assert not here.is_presence_due()
