"""What the gateway appends while the log takes nothing."""

import asyncio
from collections.abc import Sequence

import pytest

from services.gateway.submit.publisher import GATHER_S, GatewayIdentity, Publisher
from tests.waiting import until
from tidings.broker.base import NewRecord
from tidings.errors import BrokerUnavailable
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Stamps
from tidings.wire.receipts_pb2 import Receipt


class FailingProducer:
    """Takes nothing for a while; then keeps what it is given."""

    def __init__(self) -> None:
        self.is_failing = True
        self.tries = 0
        self.sent: list[Receipt] = []

    async def start(self) -> None:
        """See Producer."""

    async def stop(self) -> None:
        """See Producer."""

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        raise NotImplementedError

    def send(self, _topic: str, _partition: int, record: NewRecord) -> asyncio.Future[int]:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.tries += 1
        if self.is_failing:
            answer.set_exception(BrokerUnavailable("no leader"))
        else:
            self.sent.append(Receipt.FromString(record.value or b""))
            answer.set_result(len(self.sent))
        return answer


def read_up_to(seq: int) -> Receipt:
    return Receipt(session_id="d:alice:bob", user_id="bob", delivered_seq=seq, read_seq=seq)


def publisher(producer: FailingProducer) -> Publisher:
    return Publisher(producer, GatewayIdentity(0, 0), TopicSizes(1, 1, 1), Stamps())


async def tried(producer: FailingProducer, times: int) -> None:
    await until(lambda: producer.tries >= times, every_s=GATHER_S / 10)


@pytest.mark.promise("G8")
async def test_rejected_watermark_is_published_again_with_newer_ones() -> None:
    producer = FailingProducer()
    to_log = publisher(producer)
    to_log.watermark_soon(read_up_to(4))
    await tried(producer, 1)
    to_log.watermark_soon(read_up_to(6))
    await tried(producer, 3)
    producer.is_failing = False
    await tried(producer, producer.tries + 1)
    assert producer.sent == [read_up_to(6)]
    await to_log.flush(1)


async def test_stopping_gateway_retries_no_watermark() -> None:
    producer = FailingProducer()
    to_log = publisher(producer)
    to_log.watermark_soon(read_up_to(4))
    await to_log.flush(1)
    await asyncio.sleep(3 * GATHER_S)
    assert producer.tries == 1
