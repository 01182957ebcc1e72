"""GroupConsumer on aiokafka."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from tidings.broker.base import AssignmentListener, Committed, Record, TopicPartition
from tidings.broker.kafka_admin import KafkaAdmin
from tidings.broker.kafka_config import KafkaConfig, unavailable
from tidings.broker.kafka_force_close import force_close_consumer, is_dead
from tidings.broker.kafka_offsets import GroupOffsets
from tidings.errors import BrokerUnavailable, PositionOutOfRange
from tidings.logging import logger
from tidings.topics import Group

_log = logger("tidings.broker")

# During a rebalance aiokafka's getmany waits for the assignment without a bound. `poll` returns at most this late.
_POLL_GRACE_MS = 250


class _Callbacks(ConsumerRebalanceListener):  # type: ignore[misc]  # untyped; aiokafka insists on it
    def __init__(self, owner: "KafkaGroupConsumer") -> None:
        self._owner = owner

    async def on_partitions_revoked(self, revoked: Collection[KafkaTopicPartition]) -> None:
        await self._owner.give_up()

    def on_partitions_assigned(self, assigned: Collection[KafkaTopicPartition]) -> None:
        self._owner.take_over(tuple(sorted(TopicPartition(*name) for name in assigned)))


class KafkaGroupConsumer:
    """Implements GroupConsumer. Rejoins on its own when an error has ended aiokafka's consumer."""

    def __init__(self, config: KafkaConfig, client_id: str, group: Group) -> None:
        self._config = config
        self._client_id = client_id
        self._group = group
        self._consumer: AIOKafkaConsumer | None = None
        self._offsets: GroupOffsets | None = None
        self._listener: AssignmentListener | None = None
        self._epoch = 0
        self._held: tuple[TopicPartition, ...] | None = None
        self._membership = ("", -1)
        self._paused: set[TopicPartition] = set()
        self._set_aside: set[TopicPartition] = set()
        self._one_call = asyncio.Lock()
        self._assigning: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def start(self, listener: AssignmentListener) -> None:
        self._listener = listener
        await self._join()

    async def stop(self) -> None:
        """Takes at most the request time-out plus the time of `revoked`."""
        await self._end_membership()
        self._listener = None

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """Raises an error of a listener's callback, now and at every later call."""
        self._raise_failure()
        consumer = await self._living()
        try:
            with unavailable("poll"):
                async with asyncio.timeout((timeout_ms + _POLL_GRACE_MS) / 1000) as patience:
                    fetched = await consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        except BrokerUnavailable as error:
            if not patience.expired():
                self._explain(error)
            return []
        self._raise_failure()
        return as_records(fetched)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if self._consumer is None or not self._is_assigned(partition):
            return
        self._consumer.seek(KafkaTopicPartition(*partition), offset)
        if partition in self._set_aside:
            self._set_aside.discard(partition)
            self.resume([name for name in (partition,) if name not in self._paused])

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self._paused.update(partitions)
        self._pause(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._paused.difference_update(partitions)
        if self._consumer is not None:
            wanted = [name for name in partitions if self._is_assigned(name) and name not in self._set_aside]
            self._consumer.resume(*(KafkaTopicPartition(*name) for name in wanted))

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        offsets = self._joined_offsets()
        with unavailable("read committed offsets"):
            async with asyncio.timeout(self._config.request_timeout_s):
                found = await offsets.fetch(partitions)
        missing = [name for name in partitions if name not in found]
        if missing:
            raise BrokerUnavailable(f"no committed offset for {missing}; `tidings init` writes the first ones")
        return found

    async def commit(self, epoch: int, positions: Mapping[TopicPartition, Committed]) -> bool:
        """Sends the generation of that epoch. The broker refuses it after a later rebalance."""
        if epoch != self._epoch or self._held is None:
            return False
        offsets, membership = self._joined_offsets(), self._membership
        with unavailable("commit"):
            async with asyncio.timeout(self._config.request_timeout_s):
                return await offsets.commit(*membership, positions)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        if self._consumer is None:
            raise BrokerUnavailable("the consumer is not a member of its group")
        return await end_offsets(self._consumer, partitions, self._config.request_timeout_s)

    async def give_up(self) -> None:
        """Revoke the held partitions. The heartbeats of the membership continue during the call."""
        async with self._one_call:
            if self._held is None or self._listener is None:
                return
            await self._notify(self._listener.revoked(self._epoch, self._held))
            self._held = None

    def take_over(self, partitions: tuple[TopicPartition, ...]) -> None:
        """Take a new assignment. The listener runs in its own task: aiokafka sends no heartbeat until this returns."""
        if self._listener is None or self._consumer is None:
            return
        coordinator = self._consumer._coordinator
        self._membership = (coordinator.member_id, coordinator.generation)
        self._epoch += 1
        self._held = partitions
        self._paused.clear()
        self._set_aside.clear()
        call = self._listener.assigned(self._epoch, partitions)
        self._assigning = asyncio.get_running_loop().create_task(self._notify_in_turn(call))

    async def _notify_in_turn(self, call: Awaitable[None]) -> None:
        async with self._one_call:
            await self._notify(call)

    async def _notify(self, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - aiokafka would swallow the error, so `poll` raises it
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _explain(self, error: BrokerUnavailable) -> None:
        match error.__cause__:
            case OffsetOutOfRangeError(args=[positions]):
                lost = {TopicPartition(*name): offset for name, offset in positions.items()}
                self._leave_out(lost)
                raise PositionOutOfRange(f"the log does not hold the positions {lost}", lost) from error
            case NoOffsetForPartitionError(args=[name]):
                # aiokafka fetches nothing from a broker while one of its partitions has no position at all
                self._leave_out({TopicPartition(*name): 0})
            case _:
                raise error

    def _leave_out(self, positions: Mapping[TopicPartition, int]) -> None:
        for name, offset in positions.items():
            if self._consumer is not None and self._is_assigned(name):
                self._consumer.seek(KafkaTopicPartition(*name), offset)
        self._set_aside.update(positions)
        self._pause(positions)

    def _pause(self, partitions: Collection[TopicPartition]) -> None:
        if self._consumer is not None:
            self._consumer.pause(*(KafkaTopicPartition(*name) for name in partitions if self._is_assigned(name)))

    def _is_assigned(self, partition: TopicPartition) -> bool:
        return self._consumer is not None and KafkaTopicPartition(*partition) in self._consumer.assignment()

    def _joined_offsets(self) -> GroupOffsets:
        if self._offsets is None:
            raise BrokerUnavailable("the consumer is not a member of its group")
        return self._offsets

    async def _living(self) -> AIOKafkaConsumer:
        if self._consumer is None or is_dead(self._consumer):
            _log.warning("consumer rejoining", client_id=self._client_id, group=self._group.name)
            await self._end_membership()
            await self._join()
        assert self._consumer is not None
        return self._consumer

    async def _join(self) -> None:
        await self._check_topics()
        config = self._config
        patience_s = config.request_timeout_s + (config.rebalance_timeout_ms + config.session_timeout_ms) / 1000
        self._consumer = AIOKafkaConsumer(
            **config.client_settings(self._client_id)
            # a JoinGroup is answered when the slowest member has released its partitions
            | {"request_timeout_ms": config.rebalance_timeout_ms + round(config.request_timeout_s * 1000)},
            group_id=self._group.name,
            enable_auto_commit=False,
            auto_offset_reset="none",
            partition_assignment_strategy=(RangePartitionAssignor,),
            fetch_max_wait_ms=self._group.gather_ms or config.fetch_max_wait_ms,
            fetch_min_bytes=config.gather_bytes if self._group.gather_ms else 1,
            session_timeout_ms=config.session_timeout_ms,
            heartbeat_interval_ms=config.heartbeat_ms,
            rebalance_timeout_ms=config.rebalance_timeout_ms,
            max_poll_interval_ms=config.max_poll_interval_ms,
        )
        self._offsets = GroupOffsets(self._consumer._client, self._group.name)
        self._consumer.subscribe(self._group.topics, listener=_Callbacks(self))
        try:
            with unavailable(f"join {self._group.name}"):
                async with asyncio.timeout(patience_s):
                    await self._consumer.start()
        except BaseException:
            await self._leave()
            raise

    async def _end_membership(self) -> None:
        if self._assigning is not None:
            self._assigning.cancel()  # it may be waiting for a coordinator that does not answer
        await self.give_up()
        await self._leave()

    async def _leave(self) -> None:
        consumer, self._consumer, self._offsets = self._consumer, None, None
        if consumer is not None:
            await force_close_consumer(consumer, self._config.request_timeout_s)

    async def _check_topics(self) -> None:
        admin = KafkaAdmin(self._config, self._client_id)
        try:
            await admin.start()
            missing = set(self._group.topics).difference(await admin.partition_counts(self._group.topics))
        finally:
            await admin.stop()
        if missing:
            raise BrokerUnavailable(f"the topics {sorted(missing)} do not exist; `tidings init` creates them")


async def end_offsets(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], timeout_s: float
) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition. Raises BrokerUnavailable."""
    with unavailable("read end offsets"):
        async with asyncio.timeout(timeout_s):
            found = await consumer.end_offsets([KafkaTopicPartition(*name) for name in partitions])
    return {TopicPartition(*name): offset for name, offset in found.items()}


def as_records(fetched: Mapping[KafkaTopicPartition, Sequence[object]]) -> list[Record]:
    """Convert aiokafka's records to ours. With LogAppendTime their timestamp is the broker's."""
    return [
        Record(each.topic, each.partition, each.offset, each.timestamp, each.key, each.value)  # type: ignore[attr-defined]
        for records in fetched.values()
        for each in records
    ]
