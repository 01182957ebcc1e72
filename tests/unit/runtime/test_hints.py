"""Hints: bounded, on their own, and what is lost is followed by a resync."""

import asyncio
from collections.abc import Sequence
from typing import cast

from tests.faults.broker import FaultyBroker
from tests.faults.drawn import ProduceFault
from tidings.broker.base import NewRecord, Producer
from tidings.runtime.hints import HintSender
from tidings.topics import PUSH, Topic
from tidings.wire.common_pb2 import Message
from tidings.wire.push_pb2 import Live, Push, PushedMessage


async def sender() -> tuple[FaultyBroker, HintSender]:
    broker = FaultyBroker(timeout_s=0)
    await broker.admin().create_topics([Topic(PUSH, 2, {})], 1)
    return broker, HintSender(broker.producer("hints"), "test", 2)


def hint(number: int) -> Push:
    return Push(gateway_epoch=7, live=Live(inbox_seq=number))


def sent(broker: FaultyBroker) -> list[str | None]:
    return [Push.FromString(record.value or b"").WhichOneof("content") for record in broker.records(PUSH)]


async def send(hints: HintSender, number: int) -> None:
    hints.send(0, hint(number))
    await until_idle(hints)


async def until_idle(hints: HintSender) -> None:
    await hints.stop()
    await asyncio.sleep(0)


async def test_a_lost_hint_is_followed_by_a_resync() -> None:
    broker, hints = await sender()
    broker.faults.script_produce(ProduceFault.LOST)
    await send(hints, 1)
    await send(hints, 2)
    assert sent(broker) == ["resync", "live"]


async def test_a_loss_during_a_resync_is_not_forgotten() -> None:
    broker, hints = await sender()
    broker.faults.script_produce(ProduceFault.LOST)
    await send(hints, 1)
    broker.faults.script_produce(ProduceFault.LOST)
    await send(hints, 2)
    assert sent(broker) == []
    await asyncio.sleep(1.1)
    await send(hints, 3)
    assert sent(broker) == ["resync", "live"]


async def test_a_gateway_beyond_the_partitions_of_push_costs_nothing() -> None:
    broker, hints = await sender()
    hints.send(9, hint(1))
    await until_idle(hints)
    assert sent(broker) == []


class BrokenOnce:
    """Raises what no broker should, once; then sends."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.is_broken = True

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> object:
        await asyncio.sleep(0)
        if self.is_broken:
            self.is_broken = False
            raise ValueError("a bug")
        return await self._producer.produce(topic, partition, records)


async def test_later_hints_are_sent_whatever_the_producer_raises() -> None:
    broker, _ = await sender()
    hints = HintSender(cast(Producer, BrokenOnce(broker.producer("hints"))), "test", 2)
    await send(hints, 1)
    await send(hints, 2)
    assert sent(broker) == ["resync", "live"]


async def test_hints_that_wait_for_a_gateway_are_bounded_in_bytes() -> None:
    broker, hints = await sender()
    large = Push(gateway_epoch=7, message=PushedMessage(message=Message(body=bytes(64 * 1024))))
    for _ in range(1_000):  # 64 MiB, a tenth of the records that may wait
        hints.send(0, large)
    await until_idle(hints)
    waited = sent(broker).count("message")
    assert waited * 64 * 1024 < 17 * 1024 * 1024
    assert "resync" in sent(broker)
    for _ in range(200):  # what was sent no longer counts
        hints.send(0, large)
    await until_idle(hints)
    assert sent(broker).count("message") == waited + 200


async def test_hints_that_wait_are_counted_over_all_gateways() -> None:
    _, hints = await sender()
    hints.send(0, hint(1))
    hints.send(1, hint(2))
    assert hints.waiting == 2
    await until_idle(hints)
    assert hints.waiting == 0
