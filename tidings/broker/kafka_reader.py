"""Reader on aiokafka: assign and seek, no group."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from tidings.broker.base import Record, TopicPartition
from tidings.broker.kafka_config import KafkaConfig, unavailable
from tidings.broker.kafka_consumer import as_records, end_offsets
from tidings.broker.kafka_force_close import force_close_consumer, is_dead
from tidings.errors import BrokerUnavailable


class KafkaReader:
    """Implements Reader. Reconnects on its own when an error has ended aiokafka's consumer."""

    def __init__(self, config: KafkaConfig, client_id: str) -> None:
        self._config = config
        self._client_id = client_id
        self._consumer: AIOKafkaConsumer | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._assigned = asyncio.Event()

    async def start(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._config.client_settings(self._client_id),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=self._config.fetch_max_wait_ms,
        )
        try:
            with unavailable("connect a reader"):
                async with asyncio.timeout(self._config.request_timeout_s):
                    await consumer.start()
        except BaseException:
            await force_close_consumer(consumer, self._config.request_timeout_s)
            raise
        self._consumer = consumer
        self.assign(self._positions)

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await force_close_consumer(consumer, self._config.request_timeout_s)

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        kept = {name: self.position(name) for name, offset in positions.items() if offset < 0}
        self._positions = {**positions, **kept}
        if self._positions:
            self._assigned.set()
        else:
            self._assigned.clear()
        if self._consumer is not None and self._positions:
            self._consumer.assign([KafkaTopicPartition(*name) for name in self._positions])
            for name, offset in self._positions.items():
                self._consumer.seek(KafkaTopicPartition(*name), offset)

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        if not await self._has_assignment(timeout_ms):
            return []
        consumer = await self._living()
        try:
            with unavailable("poll"):
                fetched = await consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        except BrokerUnavailable as error:
            await self._go_to_beginnings(error)
            return []
        wanted = {name: records for name, records in fetched.items() if TopicPartition(*name) in self._positions}
        for name, records in wanted.items():
            self._positions[TopicPartition(*name)] = records[-1].offset + 1
        return as_records(wanted)

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        consumer = await self._living()
        with unavailable("read beginning offsets"):
            async with asyncio.timeout(self._config.request_timeout_s):
                found = await consumer.beginning_offsets([KafkaTopicPartition(*name) for name in partitions])
        return {TopicPartition(*name): offset for name, offset in found.items()}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await end_offsets(await self._living(), partitions, self._config.request_timeout_s)

    def position(self, partition: TopicPartition) -> int:
        return self._positions.get(partition, 0)

    async def _has_assignment(self, timeout_ms: int) -> bool:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._assigned.wait()
        except TimeoutError:
            return False
        return True

    async def _go_to_beginnings(self, error: BrokerUnavailable) -> None:
        if not isinstance(error.__cause__, OffsetOutOfRangeError):
            raise error
        lost = [TopicPartition(*name) for name in error.__cause__.args[0]]
        beginnings = await self.beginning_offsets([name for name in lost if name in self._positions])
        consumer = await self._living()
        for name, offset in beginnings.items():
            self._positions[name] = offset
            consumer.seek(KafkaTopicPartition(*name), offset)

    async def _living(self) -> AIOKafkaConsumer:
        if self._consumer is None or is_dead(self._consumer):
            await self.stop()
            await self.start()
        assert self._consumer is not None
        return self._consumer
