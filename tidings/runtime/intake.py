"""From the log into the lanes: in offset order, without a hole, never more than a lane may hold (law 12)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from tidings.broker.base import GroupConsumer, Record, TopicPartition
from tidings.errors import BrokerUnavailable, PartitionStopped, PoisonRecord, PositionOutOfRange
from tidings.logging import logger
from tidings.runtime.lanes import Admission, Arrival, Gate, Lane
from tidings.runtime.stage import Stage

T = TypeVar("T")

_POLL_MS = 500
_POLL_RECORDS = 2_000
_RETRY_S = 0.05


class Intake(Generic[T]):
    """Polls, decodes, queues; stops the partitions that cannot be read on."""

    def __init__(
        self,
        stage: Stage[T],
        consumer: GroupConsumer,
        lanes: Mapping[TopicPartition, Lane[T]],
        arrived: asyncio.Event,
        stop: Callable[[Lane[T], str], None],
    ) -> None:
        """`lanes` are those of the assignment in hand; `arrived` is set when one has got a record."""
        self._stage = stage
        self._consumer = consumer
        self._lanes = lanes
        self._arrived = arrived
        self._stop = stop
        self._holes: dict[TopicPartition, int] = {}
        self._reread: set[TopicPartition] = set()
        self._log = logger(f"tidings.intake.{stage.name}")

    def forget(self) -> None:
        """The lanes are those of a new assignment."""
        self._holes.clear()

    async def poll(self) -> None:
        """Take in what comes within half a second."""
        self._reread.clear()
        try:
            for record in await self._consumer.poll(_POLL_RECORDS, _POLL_MS):
                self._admit(record)
        except PositionOutOfRange as error:
            for partition in error.partitions:
                if isinstance(partition, TopicPartition) and partition in self._lanes:
                    self._stop(self._lanes[partition], str(error))
        except BrokerUnavailable as error:
            self._log.warning("the log does not answer", reason=str(error))
            await asyncio.sleep(_RETRY_S)

    def balance(self) -> bool:
        """Hold a source whose queue is full; read again when there is room (hysteresis). Whether any changed."""
        full = [lane for lane in self._lanes.values() if lane.wants_pause]
        roomy = [lane for lane in self._lanes.values() if lane.wants_resume and lane.gate is Gate.READY]
        for lanes, paused in ((full, True), (roomy, False)):
            for lane in lanes:
                lane.is_paused = paused
        if full:
            self._consumer.pause([lane.partition for lane in full])
        if roomy:
            self._consumer.resume([lane.partition for lane in roomy])
        return bool(full or roomy)

    def _admit(self, record: Record) -> None:
        lane = self._lanes.get(TopicPartition(record.topic, record.partition))
        if lane is None or lane.partition in self._reread:
            return
        admission = lane.admission(record)
        if admission is Admission.TAKEN:
            self._take(lane, record)
        elif admission is Admission.HOLE:
            self._hole(lane, record)

    def _take(self, lane: Lane[T], record: Record) -> None:
        content: T | PoisonRecord
        try:
            content = self._stage.decode(record)
        except PoisonRecord as error:
            content = error
        except PartitionStopped as error:
            return self._stop(lane, f"offset {record.offset}: {error}")
        lane.put(Arrival(record, content))
        self._arrived.set()

    def _hole(self, lane: Lane[T], record: Record) -> None:
        """The log never skips an offset: read again from where we are, and stop if it is still missing."""
        if self._holes.get(lane.partition) == lane.next_offset:
            return self._stop(lane, f"offsets {lane.next_offset}..{record.offset - 1} are missing from the log")
        self._holes[lane.partition] = lane.next_offset
        self._reread.add(lane.partition)  # what came with it lies above the hole too
        self._consumer.seek(lane.partition, lane.next_offset)
