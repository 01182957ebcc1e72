"""A user that blocks the peer of a direct session: what the peer is sent and shown of how far the user has come."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from services.gateway.reads.block_lists import MAX_AGE_MS, BlockLists
from services.gateway.submit.hidden_receipts import LIST_S, HiddenReceipts
from services.gateway.submit.publisher import GATHER_S, Publisher
from tests.builders import message, segment, write_confirmed
from tests.fakes.clock import FakeClock
from tests.faults.store import FaultyStore
from tests.unit.gateway.parts import Parts, parts
from tests.waiting import until
from tidings.store.rows import BlockList, ReadRow, Row
from tidings.wire.receipts_pb2 import Receipt

SESSION = "d:alice:bob"
pytestmark = pytest.mark.field_case("25")


@dataclass
class World:
    """Alice has written three messages to bob, and he has read two."""

    store: FaultyStore
    clock: FakeClock
    gateway: Parts

    @classmethod
    async def over(cls, store: FaultyStore) -> "World":
        clock = FakeClock()
        rows: list[Row] = [segment(SESSION, 1, 1), *(message(SESSION, seq) for seq in (1, 2, 3))]
        await write_confirmed(store, [*rows, ReadRow(SESSION, "bob", 2, 2, 1_000)])
        return cls(store, clock, await parts(store, clock))

    @property
    def blocks(self) -> BlockLists:
        return self.gateway.reads.block_lists

    @property
    def publisher(self) -> Publisher:
        return self.gateway.submit.publisher

    def said(self) -> list[Receipt]:
        return self.gateway.receipts()

    async def peer(self, user_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = orjson.loads(await self.gateway.reads.sessions.session(user_id, SESSION))["peer"]
        return shown

    async def has_it(self, seq: int) -> tuple[list[str], list[str]]:
        member = await self.gateway.reads.memberships.check("alice", SESSION)
        page = orjson.loads(await self.gateway.reads.receipts.of_message(member, seq, "", 10))
        return page["delivered"], [one["user_id"] for one in page["read"]]


def read(seq: int, session_id: str = SESSION, user_id: str = "bob") -> Receipt:
    return Receipt(session_id=session_id, user_id=user_id, read_seq=seq)


async def world() -> World:
    return await World.over(FaultyStore())


async def test_a_blocked_author_is_shown_no_watermarks_of_the_peer() -> None:
    here = await world()
    assert await here.peer("alice") == {"user_id": "bob", "delivered_seq": 2, "read_seq": 2}
    await here.blocks.add("bob", "alice")
    # Absent, not lower: what was shown does not go back (G8).
    assert await here.peer("alice") == {"user_id": "bob"}
    assert await here.has_it(1) == ([], [])
    assert "delivered_seq" in await here.peer("bob")
    await here.blocks.remove("bob", "alice")
    assert await here.peer("alice") == {"user_id": "bob", "delivered_seq": 2, "read_seq": 2}
    assert await here.has_it(1) == (["bob"], ["bob"])


async def test_a_peer_whose_blocks_cannot_be_read_shows_nothing() -> None:
    here = await world()
    here.store.faults.unreadable.add(("block_lists", "bob"))
    assert await here.peer("alice") == {"user_id": "bob"}
    assert await here.has_it(1) == ([], [])


async def test_a_receipt_is_marked_while_its_user_blocks_the_peer() -> None:
    here = await world()
    publisher = here.publisher
    await publisher.watermark(read(1))
    await here.blocks.add("bob", "alice")
    await publisher.watermark(read(2))
    await here.blocks.remove("bob", "alice")
    await publisher.watermark(read(3))
    assert [(one.read_seq, one.is_hidden_from_peer) for one in here.said()] == [(1, False), (2, True), (3, False)]


async def test_acks_of_users_whose_blocks_are_unknown_are_marked() -> None:
    here = await world()
    publisher = here.publisher
    await here.blocks.add("bob", "alice")
    for receipt in (read(3), read(4, "d:bob:carol"), read(5, "d:bob:bob"), read(6, "g:team"), read(7, user_id="alice")):
        publisher.watermark_soon(receipt)
    await until(lambda: len(here.said()) == 5, every_s=0.01)
    assert {one.read_seq: one.is_hidden_from_peer for one in here.said()} == {
        3: True,
        4: False,
        5: False,
        6: False,
        7: False,
    }
    # One read for all of them, at the same time as the acks.
    assert here.store.calls["block_lists"] == 2


async def test_acks_do_not_wait_for_blocks_that_cannot_be_read() -> None:
    here = await world()
    publisher = here.publisher
    here.store.faults.unreadable.add(("block_lists", "bob"))
    publisher.watermark_soon(read(3))
    publisher.watermark_soon(read(1, user_id="alice"))
    await asyncio.sleep(0)
    await publisher.flush(5)
    assert {one.user_id: one.is_hidden_from_peer for one in here.said()} == {"alice": False, "bob": True}
    here.clock.now_ms += MAX_AGE_MS
    await HiddenReceipts(here.blocks).mark_all(receipts := [read(3), read(1, user_id="alice")])
    assert [one.is_hidden_from_peer for one in receipts] == [True, False]


class HangingStore(FaultyStore):
    """The block lists of some users do not come until they are released."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging: set[str] = set()
        self.let_go = asyncio.Event()

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        if self.hanging.intersection(user_ids):
            await self.let_go.wait()
        return await super().block_lists(user_ids)


async def hanging_world(*user_ids: str) -> World:
    store = HangingStore()
    store.hanging = {*user_ids}
    return await World.over(store)


async def said_by(here: World, *user_ids: str) -> dict[str, bool]:
    """Whose receipts came to the log, and whether they are hidden, as soon as all of these are there."""
    await until(lambda: {*user_ids} <= {one.user_id for one in here.said()}, every_s=0.01)
    return {one.user_id: one.is_hidden_from_peer for one in here.said()}


async def test_a_hanging_block_list_delays_no_other_user() -> None:
    here = await hanging_world("bob")
    publisher = here.publisher
    publisher.watermark_soon(read(3))
    await asyncio.sleep(1.5 * GATHER_S)
    # Bob's list is being read; Carol's is asked for behind it.
    publisher.watermark_soon(read(1, "d:carol:dan", "carol"))
    began_s = asyncio.get_running_loop().time()
    assert (await said_by(here, "carol"))["carol"] is False
    assert asyncio.get_running_loop().time() - began_s < GATHER_S + LIST_S
    # Hidden, although the list has never come.
    assert (await said_by(here, "bob"))["bob"] is True
    await publisher.flush(1)


async def test_a_hanging_block_list_hides_no_other_user_of_its_batch() -> None:
    here = await hanging_world("bob")
    publisher = here.publisher
    for receipt in (read(3), read(1, "d:carol:dan", "carol"), read(1, "d:carol:dan", "dan")):
        publisher.watermark_soon(receipt)
    assert await said_by(here, "bob", "carol", "dan") == {"bob": True, "carol": False, "dan": False}
    await publisher.flush(1)


async def test_a_leaving_gateway_publishes_within_its_time() -> None:
    here = await hanging_world("bob", "alice")
    publisher = here.publisher
    publisher.watermark_soon(read(3))
    await asyncio.sleep(1.5 * GATHER_S)
    publisher.watermark_soon(read(2))
    publisher.watermark_soon(read(1, user_id="alice"))
    began_s = asyncio.get_running_loop().time()
    await publisher.flush(0.4)
    assert asyncio.get_running_loop().time() - began_s < 0.8
    assert {one.user_id: one.read_seq for one in here.said()} == {"bob": 3, "alice": 1}
    assert all(one.is_hidden_from_peer for one in here.said())


async def test_receipts_of_groups_and_notes_are_marked_at_once() -> None:
    here = await world()
    hidden = HiddenReceipts(here.blocks)
    assert hidden.mark(read(1, "g:team"))
    assert hidden.mark(read(1, "d:bob:bob"))
    assert not hidden.mark(read(1))
    assert await here.blocks.blocks("bob", "alice") is False
    assert hidden.mark(receipt := read(1))
    assert not receipt.is_hidden_from_peer
