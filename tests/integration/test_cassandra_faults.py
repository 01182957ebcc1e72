"""One Store object lives through a paused, a killed and an absent Cassandra, and leaves no garbage."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from cassandra.cluster import ResponseFuture
from cassandra.query import BatchStatement

from deploy.local.ports import free_ports
from deploy.local.stack import Stack
from tests.builders import message, seqs, write_confirmed
from tests.waiting import becomes
from tidings.errors import StoreUnavailable
from tidings.store.base import SessionSegment, Store, TaggedRow
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.migrate import migrate
from tidings.store.rows import BlockList

NODE = "cassandra-0"
SESSION = SessionSegment("d:alice:bob", 1)
# Longer than a request and the driver's heartbeats (5 s of quiet and 5 s without an answer): the node counts as down.
PAUSE_S = 12
HEAL_TIMEOUT_S = 60
# With `commitlog_sync: periodic` a node can replay only up to its last sync marker, which it writes every 100 ms. So
# the last writes that a single node confirmed are lost with it. (Three replicas do not die at once.)
MARKED_S = 1.0


@pytest.fixture
def node(servers: Stack) -> Iterator[Stack]:
    """The servers, whose Cassandra runs again afterwards."""
    yield servers
    servers.resume(NODE)
    if NODE not in servers.running():
        servers.start(NODE)
    servers.wait_ready([NODE])


@pytest.fixture
async def store(node: Stack, config: CassandraConfig) -> AsyncIterator[Store]:
    """A store on a keyspace of its own."""
    await migrate(config)
    store = CassandraStore(config)
    await store.start()
    yield store
    await store.stop()


async def _write(store: Store, seq: int) -> frozenset[int]:
    return await store.write([TaggedRow(5, message(SESSION.session_id, seq))])


async def _write_until_confirmed(store: Store, seq: int) -> None:
    """A round is repeated until its rows are confirmed; so is this."""
    await becomes(lambda: _write(store, seq), frozenset[int](), within_s=HEAL_TIMEOUT_S)


async def test_a_paused_cassandra_confirms_nothing_and_is_found_again(node: Stack, store: Store) -> None:
    await write_confirmed(store, [message(SESSION.session_id, 1)])
    node.pause(NODE)
    try:
        paused_at = time.monotonic()
        assert await _write(store, 2) == {5}
        with pytest.raises(StoreUnavailable):
            await store.messages(SESSION, 1, 10)
        while time.monotonic() - paused_at < PAUSE_S:
            assert await _write(store, 3) == {5}
            await asyncio.sleep(0.5)
    finally:
        node.resume(NODE)
    await _write_until_confirmed(store, 4)
    await write_confirmed(store, [message(SESSION.session_id, seq) for seq in (2, 3)])
    assert seqs(await store.messages(SESSION, 1, 10)) == [1, 2, 3, 4]


async def test_a_killed_cassandra_restarts_with_its_confirmed_rows(node: Stack, store: Store) -> None:
    await write_confirmed(store, [message(SESSION.session_id, seq) for seq in range(1, 101)])
    await asyncio.sleep(MARKED_S)
    node.kill(NODE)
    assert await _write(store, 101) == {5}
    node.start(NODE)
    node.wait_ready([NODE])
    await _write_until_confirmed(store, 101)
    assert seqs(await store.messages(SESSION, 1, 1000)) == list(range(1, 102))


async def test_many_requests_to_a_paused_cassandra_end_in_bounded_time(node: Stack, store: Store) -> None:
    node.pause(NODE)
    try:
        async with asyncio.timeout(HEAL_TIMEOUT_S):
            reads = [store.messages(SESSION, 1, 10) for _ in range(2000)]
            answers = await asyncio.gather(*reads, return_exceptions=True)
    finally:
        node.resume(NODE)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    await _write_until_confirmed(store, 1)


async def test_requests_wait_while_the_send_buffer_is_full(node: Stack, store: Store) -> None:
    ids = tuple(f"{number:064d}" for number in range(1_000))
    lists = {f"full-{number}": BlockList(f"full-{number}", ids, 1) for number in range(200)}
    node.pause(NODE)
    try:
        writes = []
        for number, one in enumerate(lists.values()):
            writes.append(asyncio.create_task(store.replace_block_list(one, 0)))
            # The first 190 fill the buffer (12 MB). All pauses are far below the time-out of a request.
            await asyncio.sleep(0.02 if number >= 190 else 0.002)
    finally:
        node.resume(NODE)
    assert all(await asyncio.gather(*writes))
    assert await store.block_lists(lists) == lists


async def test_a_store_waits_a_bounded_time_for_cassandra() -> None:
    store = CassandraStore(CassandraConfig(port=free_ports().cassandra, start_timeout_s=2))
    with pytest.raises(StoreUnavailable, match="no Cassandra"):
        await store.start()


async def test_answered_requests_leave_nothing_to_the_collector(store: Store) -> None:
    gc.collect()
    gc.disable()
    try:
        for seq in range(1, 101):
            assert not await _write(store, seq)
            await store.messages(SESSION, seq, seq)
        left = _requests_left()
    finally:
        gc.enable()
    # The timers of the newest are still in the driver's hands.
    assert left < 20


async def test_failed_requests_leave_nothing_to_the_collector(node: Stack, store: Store) -> None:
    node.pause(NODE)
    gc.collect()
    gc.disable()
    try:
        failed = await asyncio.gather(*(_write(store, seq) for seq in range(1, 101)))
        left = _requests_left()
    finally:
        gc.enable()
        node.resume(NODE)
    assert all(failed)
    assert left < 20


def _requests_left() -> int:
    return sum(type(one) in (ResponseFuture, BatchStatement) for one in gc.get_objects())
