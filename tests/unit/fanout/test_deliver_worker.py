"""Deliver's state when its partitions are taken back in the middle of a round."""

from collections.abc import Collection, Mapping, Sequence

import pytest

from services.fanout.deliver_worker import DeliverStage
from services.fanout.presence import Connection
from services.fanout.presence_reader import PendingConnection, PresenceReader
from tests.unit.fanout.items import item, record
from tidings.broker.base import TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.errors import StoreUnavailable
from tidings.ids import Position
from tidings.runtime.hints import HintSender
from tidings.runtime.lanes import Arrival
from tidings.runtime.marks import Marks
from tidings.runtime.round import Round, RoundDropped
from tidings.store.base import TaggedRow, UserBucket
from tidings.store.memory import MemoryStore
from tidings.store.rows import BucketRow
from tidings.topics import DELIVERIES
from tidings.wire.deliveries_pb2 import Delivery

PARTITION = TopicPartition(DELIVERIES, 0)


def stage(store: MemoryStore, presence: PresenceReader | None = None) -> DeliverStage:
    broker = MemoryBroker()
    hints = HintSender(broker.producer("test"), "deliver", 1)
    return DeliverStage(store, hints, presence or PresenceReader(broker.reader("test"), no_round), 0)


def no_round() -> None:
    """A request for a round that no worker runs."""


def work(*seqs: int, is_ours: list[bool]) -> Round[Delivery]:
    """A round of messages whose seqs are also their offsets."""
    arrivals = [Arrival(record(seq), Delivery(inbox_item=item(seq))) for seq in seqs]
    return Round({PARTITION: arrivals}, {PARTITION: Marks()}, {PARTITION: Position(0, seqs[0])}, lambda: is_ours[-1])


async def test_tails_read_before_a_revocation_are_not_used_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    store, is_ours = MemoryStore(), [True]
    before, other = stage(store), stage(store)
    read = store.inbox_buckets

    async def taken_while_reading(user_ids: Collection[str], limit: int) -> Mapping[str, Sequence[BucketRow]]:
        found = await read(user_ids, limit)
        monkeypatch.setattr(store, "inbox_buckets", read)
        await other.run(work(1, 2, is_ours=[True]))
        before.forget()
        is_ours.append(False)
        return found

    monkeypatch.setattr(store, "inbox_buckets", taken_while_reading)
    with pytest.raises(RoundDropped):
        await before.run(work(1, is_ours=is_ours))
    await before.run(work(3, is_ours=[True]))

    rows = await store.inbox_rows(UserBucket("bob", 0), 1, 10)
    assert [(row.inbox_seq, row.seq) for row in rows] == [(1, 1), (2, 2), (3, 3)]


async def test_revocation_during_a_tail_read_drops_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    store, is_ours = MemoryStore(), [True]
    deliver = stage(store)
    read = store.inbox_buckets
    await deliver.run(work(1, is_ours=is_ours))
    deliver.confirmed([PARTITION])

    async def taken_while_reading(user_ids: Collection[str], limit: int) -> Mapping[str, Sequence[BucketRow]]:
        deliver.forget()
        is_ours.append(False)
        return await read(user_ids, limit)

    monkeypatch.setattr(store, "inbox_buckets", taken_while_reading)
    arrivals = [Arrival(record(2), Delivery(inbox_item=item(2, ("alice", "carol"))))]
    with pytest.raises(RoundDropped):
        await deliver.run(
            Round({PARTITION: arrivals}, {PARTITION: Marks()}, {PARTITION: Position(0, 2)}, lambda: is_ours[-1])
        )


@pytest.mark.hazard("H14")
async def test_pending_connection_causes_no_empty_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    requests: list[None] = []
    presence = PresenceReader(MemoryBroker().reader("test"), lambda: requests.append(None))
    deliver = stage(store, presence)

    async def unwritten(_rows: Sequence[TaggedRow]) -> frozenset[int]:
        return frozenset({PARTITION.partition})

    with monkeypatch.context() as patched:
        patched.setattr(store, "write", unwritten)
        await deliver.run(work(1, is_ours=[True]))
        deliver.confirmed(())
    presence.pending.append(PendingConnection(PARTITION.partition, Connection("bob", "phone", 0, 7, "c1"), ()))
    await deliver.run(Round({}, {}, {PARTITION: Position(0, 1)}, lambda: True))
    deliver.confirmed(())
    assert len(presence.pending) == 1
    assert not requests
    await deliver.run(work(1, is_ours=[True]))
    deliver.confirmed([PARTITION])
    assert len(requests) == 1


async def test_revocation_during_a_failing_read_drops_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    store, is_ours = MemoryStore(), [True]
    presence = PresenceReader(MemoryBroker().reader("test"), no_round)
    deliver = stage(store, presence)
    await deliver.run(work(1, is_ours=is_ours))
    deliver.confirmed([PARTITION])

    async def taken_while_reading(_user_ids: Collection[str], _limit: int) -> Mapping[str, Sequence[BucketRow]]:
        deliver.forget()
        is_ours.append(False)
        raise StoreUnavailable("not now")

    monkeypatch.setattr(store, "inbox_buckets", taken_while_reading)
    presence.pending.append(PendingConnection(PARTITION.partition, Connection("zoe", "phone", 0, 7, "c1"), ()))
    with pytest.raises(RoundDropped):
        await deliver.run(work(2, is_ours=is_ours))
