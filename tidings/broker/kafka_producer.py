"""Producer on aiokafka: explicit batches, one in flight per partition. Any error resets the whole producer."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from tidings import metrics
from tidings.broker.base import NewRecord, TopicPartition
from tidings.broker.broker_clock import BrokerClock
from tidings.broker.kafka_config import KafkaConfig, unavailable
from tidings.broker.kafka_force_close import force_close_producer
from tidings.errors import Backpressure, BrokerUnavailable, ConfigurationError
from tidings.logging import logger

_log = logger("tidings.broker")


@dataclass(eq=False, slots=True)
class _Delivery:
    """The records of one call. The call is answered when all are confirmed."""

    records: Sequence[NewRecord]
    size_bytes: int
    deadline_s: float
    answer: asyncio.Future[int]
    confirmed: int = 0
    first_offset: int = -1

    def confirm(self, count: int, offset: int) -> bool:
        """Confirm the next `count` records, which begin at `offset`. Returns whether all are confirmed."""
        if self.confirmed == 0:
            self.first_offset = offset
        self.confirmed += count
        return self.confirmed == len(self.records)


@dataclass(eq=False, slots=True)
class _Lane:
    """The queue of one partition, in order, and the task that sends it."""

    queue: deque[_Delivery] = field(default_factory=deque)
    carrier: asyncio.Task[None] | None = None


class KafkaProducer:
    """Implements Producer. `produce` and `send` share a queue per partition, so records keep the order of the calls."""

    def __init__(self, config: KafkaConfig, client_id: str) -> None:
        self._config = config
        self._client_id = client_id
        self._client: AIOKafkaProducer | None = None
        self._connector: asyncio.Task[None] | None = None
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._closings: set[asyncio.Task[None]] = set()
        self._unconfirmed_records = 0
        self._unconfirmed_bytes = 0
        self._is_open = False
        self._clock = BrokerClock()

    async def start(self) -> None:
        """Tries once, within the request time-out."""
        self._client = await self._connect()
        self._is_open = True

    async def stop(self) -> None:
        """Takes at most twice the request time-out."""
        self._is_open = False
        carriers = [lane.carrier for lane in self._lanes.values() if lane.carrier]
        if carriers:
            await asyncio.wait(carriers, timeout=self._config.request_timeout_s)
        if self._connector is not None:
            self._connector.cancel()
            await asyncio.wait([self._connector])
        self._reset(BrokerUnavailable("the producer was stopped"))
        while self._closings:
            await asyncio.wait(self._closings)

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        return await self._enqueue(TopicPartition(topic, partition), records)

    def send(self, topic: str, partition: int, record: NewRecord) -> asyncio.Future[int]:
        config = self._config
        if self._unconfirmed_records >= config.unconfirmed_records:
            raise Backpressure(f"{config.unconfirmed_records} records wait for the log's confirmation")
        if self._unconfirmed_bytes >= config.unconfirmed_bytes:
            raise Backpressure(f"{config.unconfirmed_bytes} bytes wait for the log's confirmation")
        return self._enqueue(TopicPartition(topic, partition), (record,))

    def _enqueue(self, name: TopicPartition, records: Sequence[NewRecord]) -> asyncio.Future[int]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        answer.add_done_callback(_look_at)
        sizes = [len(record.key or b"") + len(record.value or b"") for record in records]
        if not self._is_open:
            answer.set_exception(BrokerUnavailable("the producer is not started"))
        elif max(sizes) > self._config.record_bytes:
            answer.set_exception(_too_large(max(sizes)))
        else:
            deadline_s = loop.time() + self._config.request_timeout_s
            self._carry(name, _Delivery(records, sum(sizes), deadline_s, answer))
        return answer

    def _carry(self, name: TopicPartition, delivery: _Delivery) -> None:
        self._unconfirmed_records += len(delivery.records)
        self._unconfirmed_bytes += delivery.size_bytes
        lane = self._lanes.setdefault(name, _Lane())
        lane.queue.append(delivery)
        if lane.carrier is None:
            lane.carrier = asyncio.get_running_loop().create_task(self._carry_over(name, lane))

    async def _carry_over(self, name: TopicPartition, lane: _Lane) -> None:
        # Records that arrive while a batch is in flight become the next batch, so batches grow with the load.
        try:
            while lane.queue:
                with unavailable(f"produce to {name.topic}-{name.partition}"):
                    async with asyncio.timeout_at(lane.queue[0].deadline_s):
                        await self._send_batch(name, lane)
        except Exception as error:  # noqa: BLE001 - every waiting caller gets it
            self._reset(error)
        else:
            lane.carrier = None
            del self._lanes[name]

    async def _send_batch(self, name: TopicPartition, lane: _Lane) -> None:
        client = await self._connected()
        batch = client.create_batch()
        shares = _fill(batch, lane.queue)
        sent_ms, began_s = time.time_ns() // 1_000_000, time.monotonic()
        try:
            confirmed = await (await client.send_batch(batch, name.topic, partition=name.partition))
        except MessageSizeTooLargeError:
            self._fail(lane.queue.popleft(), _too_large(batch.size()))
            raise
        offset = confirmed.offset
        if offset < 0:  # a repeated batch: the broker dropped it, and no longer has the offset of the first one
            raise BrokerUnavailable(f"the offset of a batch for {name.topic}-{name.partition} is not known")
        metrics.PRODUCE_SECONDS.labels(name.topic).observe(time.monotonic() - began_s)
        self._clock.compare(sent_ms, confirmed.timestamp, time.time_ns() // 1_000_000)
        for delivery, count in shares:
            if delivery.confirm(count, offset):
                answer = self._settle(lane.queue.popleft())
                if not answer.done():
                    answer.set_result(delivery.first_offset)
            offset += count

    async def _connected(self) -> AIOKafkaProducer:
        # In its own task, because a record that times out must not cancel the connection that the next one needs.
        while self._client is None:
            if self._connector is None or self._connector.done():
                self._connector = asyncio.get_running_loop().create_task(self._connect_in_the_end())
            await asyncio.shield(self._connector)
        return self._client

    async def _connect_in_the_end(self) -> None:
        while self._client is None:
            try:
                self._client = await self._connect()
            except BrokerUnavailable:
                await asyncio.sleep(self._config.reconnect_pause_s)

    async def _connect(self) -> AIOKafkaProducer:
        client = AIOKafkaProducer(
            **self._config.client_settings(self._client_id),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=self._config.batch_bytes,
        )
        try:
            with unavailable("connect a producer"):
                async with asyncio.timeout(self._config.request_timeout_s):
                    await client.start()
        except BaseException:
            self._force_close(client)
            raise
        return client

    def _reset(self, error: Exception) -> None:
        """Drop the connection and fail everything in flight, as its sequence numbers are out of step for good."""
        lanes, self._lanes = self._lanes, {}
        client, self._client = self._client, None
        if client is not None:
            self._force_close(client)
        if lanes:
            metrics.PRODUCER_RESETS.inc()
            _log.warning("producer reset", client_id=self._client_id, reason=str(error))
        for lane in lanes.values():
            if lane.carrier is not None and lane.carrier is not asyncio.current_task():
                lane.carrier.cancel()
            for delivery in lane.queue:
                self._fail(delivery, copy(error))
            lane.queue.clear()

    def _fail(self, delivery: _Delivery, error: Exception) -> None:
        answer = self._settle(delivery)
        if not answer.done():
            answer.set_exception(error)

    def _settle(self, delivery: _Delivery) -> asyncio.Future[int]:
        self._unconfirmed_records -= len(delivery.records)
        self._unconfirmed_bytes -= delivery.size_bytes
        return delivery.answer

    def _force_close(self, client: AIOKafkaProducer) -> None:
        closing = asyncio.get_running_loop().create_task(force_close_producer(client))
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)


def _fill(batch: BatchBuilder, queue: deque[_Delivery]) -> list[tuple[_Delivery, int]]:
    """Fill the batch from the front of the queue. Returns the deliveries in it with their numbers of records.

    aiokafka accepts a first record of any size, so a batch is never empty.
    """
    shares = []
    for delivery in queue:
        count = 0
        for index in range(delivery.confirmed, len(delivery.records)):
            record = delivery.records[index]
            if batch.append(timestamp=record.at_ms, key=record.key, value=record.value) is None:
                break
            count += 1
        if count:
            shares.append((delivery, count))
        if delivery.confirmed + count < len(delivery.records):
            break
    return shares


def _too_large(size_bytes: int) -> ConfigurationError:
    return ConfigurationError(f"a record of {size_bytes} bytes is too large for the topic (max.message.bytes)")


def _look_at(answer: asyncio.Future[int]) -> None:
    if not answer.cancelled():
        answer.exception()  # a caller need not await a `send`, so asyncio must not report its error as unretrieved
