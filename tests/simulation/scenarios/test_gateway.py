"""The gateway: in which order it starts, and when its epoch is void.

It is its own `serve` in real time: the simulation starts the parts of a gateway itself, and that order is tested here.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.gateway.push.reader import Superseded
from services.gateway.service import serve
from services.gateway.settings import GatewaySettings, HttpSettings, TokenSettings
from tidings.broker.base import NewRecord, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.broker.memory_log import Partition
from tidings.media.memory import MemoryMediaStore
from tidings.metrics import PUSH_RECORDS
from tidings.runtime.health import Health
from tidings.runtime.initialise import initialise
from tidings.runtime.settings import CassandraSettings, KafkaSettings, LimitSettings, ProcessSettings
from tidings.store.memory import MemoryStore
from tidings.topics import GATEWAYS, PUSH
from tidings.wire.push_pb2 import Push, Resync

STARTS = TopicPartition(GATEWAYS, 0)
PATIENCE_S = 30.0


def settings(tmp_path: Path) -> GatewaySettings:
    return GatewaySettings(
        process=ProcessSettings(development=True),
        http=HttpSettings(http_port=0, drain_s=0.1),
        tokens=TokenSettings(dev_key_file=str(tmp_path / "dev.key")),
        kafka=KafkaSettings(session_partitions=1, user_partitions=1, push_partitions=1),
        cassandra=CassandraSettings(),
        limits=LimitSettings(),
    )


async def deployment(tmp_path: Path) -> tuple[MemoryBroker, GatewaySettings]:
    broker, chosen = MemoryBroker(), settings(tmp_path)
    await initialise(broker.admin(), chosen.kafka.sizes(), 1)
    return broker, chosen


@pytest.mark.hazard("H13")
async def test_push_right_after_the_start_record_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker, chosen = await deployment(tmp_path)
    append = Partition.append

    def append_and_push(self: Partition, records: Sequence[NewRecord], at_ms: int) -> int:
        offset = append(self, records, at_ms)
        if self.name == STARTS:
            push = Push(gateway_epoch=offset, resync=Resync())
            append(broker.partition(TopicPartition(PUSH, 0)), [NewRecord(push.SerializeToString())], at_ms)
        return offset

    monkeypatch.setattr(Partition, "append", append_and_push)
    routed = PUSH_RECORDS.labels("routed")
    before, stopping = routed._value.get(), asyncio.Event()
    serving = asyncio.create_task(serve(chosen, broker, MemoryStore(), Health(), stopping, objects=MemoryMediaStore()))
    async with asyncio.timeout(PATIENCE_S):
        while routed._value.get() == before:  # noqa: ASYNC110 - the counter has no event
            await asyncio.sleep(0.01)
    stopping.set()
    await asyncio.wait_for(serving, PATIENCE_S)


@pytest.mark.hazard("H33")
async def test_second_start_record_ends_the_gateway(tmp_path: Path) -> None:
    broker, chosen = await deployment(tmp_path)
    listening = asyncio.Event()
    serving = asyncio.create_task(
        serve(
            *(chosen, broker, MemoryStore(), Health(), asyncio.Event(), lambda _port: listening.set()),
            objects=MemoryMediaStore(),
        )
    )
    await asyncio.wait_for(listening.wait(), PATIENCE_S)
    (start,) = broker.records(GATEWAYS)
    broker.log.append(STARTS, [NewRecord(start.value, start.key)])
    with pytest.raises(Superseded):
        await asyncio.wait_for(serving, PATIENCE_S)
