"""A user who blocks the peer of a direct session: what the peer is told and shown of how far the user has come."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import orjson
import pytest

from services.gateway.reads.block_lists import MAX_AGE_MS, BlockLists
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.receipts import ReceiptReads
from services.gateway.reads.sessions import SessionReads
from services.gateway.submit.hidden_receipts import LIST_S, HiddenReceipts
from services.gateway.submit.publisher import GATHER_S, GatewayIdentity, Publisher
from tests.contract.store.making import message, segment, write_confirmed
from tidings import topics
from tidings.broker.base import TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.store.memory import MemoryStore
from tidings.store.rows import BlockList, ReadRow, Row
from tidings.topics import RECEIPTS_INBOUND, TopicSizes
from tidings.wire.common_pb2 import Stamps
from tidings.wire.receipts_pb2 import Receipt

SESSION = "d:alice:bob"
pytestmark = pytest.mark.field_case("25")


class FakeClock:
    def __init__(self) -> None:
        self.now_ms = 0

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


class World:
    """Alice has written three messages to bob, who has read two."""

    def __init__(self) -> None:
        self.clock, self.store, self.broker = FakeClock(), MemoryStore(), MemoryBroker()
        self.blocks = BlockLists(self.store, self.clock)
        self.memberships = Memberships(self.store)
        messages = MessageReads(self.store, self.clock, 0)
        self.sessions = SessionReads(self.store, messages, self.memberships, self.blocks)
        self.receipts = ReceiptReads(self.store, self.memberships, self.blocks)
        self.hidden = HiddenReceipts(self.blocks)

    async def begin(self) -> None:
        rows: list[Row] = [segment(SESSION, 1, 1), *(message(SESSION, seq) for seq in (1, 2, 3))]
        await write_confirmed(self.store, [*rows, ReadRow(SESSION, "bob", 2, 2, 1_000)])

    async def publisher(self) -> Publisher:
        sizes = TopicSizes(1, 1, 1)
        await self.broker.admin().create_topics(topics.declared(sizes), 1)
        return Publisher(self.broker.producer("g"), GatewayIdentity(0, 7), sizes, Stamps(), self.hidden)

    def said(self) -> list[Receipt]:
        """The receipts on the log."""
        records = self.broker.partition(TopicPartition(RECEIPTS_INBOUND, 0)).read(0, 100)
        return [Receipt.FromString(record.value or b"") for record in records]

    async def peer(self, user_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = orjson.loads(await self.sessions.session(user_id, SESSION))["peer"]
        return shown

    async def has_it(self, seq: int) -> tuple[list[str], list[str]]:
        member = await self.memberships.check("alice", SESSION)
        page = orjson.loads(await self.receipts.of_message(member, seq, "", 10))
        return page["delivered"], [one["user_id"] for one in page["read"]]


def read(seq: int, session_id: str = SESSION, user_id: str = "bob") -> Receipt:
    return Receipt(session_id=session_id, user_id=user_id, read_seq=seq)


async def world() -> World:
    made = World()
    await made.begin()
    return made


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
    publisher = await here.publisher()
    await publisher.watermark(read(1))
    await here.blocks.add("bob", "alice")
    await publisher.watermark(read(2))
    await here.blocks.remove("bob", "alice")
    await publisher.watermark(read(3))
    assert [(one.read_seq, one.is_hidden_from_peer) for one in here.said()] == [(1, False), (2, True), (3, False)]


async def test_acks_of_users_whose_blocks_are_unknown_are_marked() -> None:
    here = await world()
    publisher = await here.publisher()
    await here.blocks.add("bob", "alice")
    for receipt in (read(3), read(4, "d:bob:carol"), read(5, "d:bob:bob"), read(6, "g:team"), read(7, user_id="alice")):
        publisher.watermark_soon(receipt)
    async with asyncio.timeout(10):
        while len(here.said()) < 5:  # noqa: ASYNC110 - no event for a log
            await asyncio.sleep(0.01)
    assert {one.read_seq: one.is_hidden_from_peer for one in here.said()} == {
        3: True,
        4: False,
        5: False,
        6: False,
        7: False,
    }
    # One read for all of them, beside the acks.
    assert here.store.calls["block_lists"] == 2


async def test_acks_do_not_wait_for_blocks_that_cannot_be_read() -> None:
    here = await world()
    publisher = await here.publisher()
    here.store.faults.unreadable.add(("block_lists", "bob"))
    publisher.watermark_soon(read(3))
    publisher.watermark_soon(read(1, user_id="alice"))
    await asyncio.sleep(0)
    await publisher.flush(5)
    assert {one.user_id: one.is_hidden_from_peer for one in here.said()} == {"alice": False, "bob": True}
    here.clock.now_ms += MAX_AGE_MS
    await here.hidden.mark_all(receipts := [read(3), read(1, user_id="alice")])
    assert [one.is_hidden_from_peer for one in receipts] == [True, False]


class HangingStore(MemoryStore):
    """The block lists of some users do not come until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging: set[str] = set()
        self.let_go = asyncio.Event()

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        if self.hanging.intersection(user_ids):
            await self.let_go.wait()
        return await super().block_lists(user_ids)


async def hanging_world(*user_ids: str) -> tuple[World, HangingStore]:
    here, store = World(), HangingStore()
    store.hanging = {*user_ids}
    here.store = store
    here.blocks = BlockLists(store, here.clock)
    here.hidden = HiddenReceipts(here.blocks)
    return here, store


async def said_by(here: World, *user_ids: str) -> dict[str, bool]:
    """Whose receipts came to the log, and whether they are hidden, as soon as all of these are there."""
    async with asyncio.timeout(10):
        while not {*user_ids} <= {one.user_id for one in here.said()}:  # noqa: ASYNC110 - no event for a log
            await asyncio.sleep(0.01)
    return {one.user_id: one.is_hidden_from_peer for one in here.said()}


async def test_a_hanging_block_list_holds_up_nobody_else() -> None:
    here, _ = await hanging_world("bob")
    publisher = await here.publisher()
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


async def test_a_hanging_block_list_hides_nobody_else_of_its_batch() -> None:
    here, _ = await hanging_world("bob")
    publisher = await here.publisher()
    for receipt in (read(3), read(1, "d:carol:dan", "carol"), read(1, "d:carol:dan", "dan")):
        publisher.watermark_soon(receipt)
    assert await said_by(here, "bob", "carol", "dan") == {"bob": True, "carol": False, "dan": False}
    await publisher.flush(1)


async def test_a_leaving_gateway_publishes_within_its_time() -> None:
    here, _ = await hanging_world("bob", "alice")
    publisher = await here.publisher()
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
    assert here.hidden.mark(read(1, "g:team"))
    assert here.hidden.mark(read(1, "d:bob:bob"))
    assert not here.hidden.mark(read(1))
    assert await here.blocks.blocks("bob", "alice") is False
    assert here.hidden.mark(receipt := read(1))
    assert not receipt.is_hidden_from_peer
