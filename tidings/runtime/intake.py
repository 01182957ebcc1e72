"""Moves records from the log into the lanes, in offset order and without gaps.

A full lane is paused: law 12 (everything is bounded).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from tidings import metrics
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
    """Polls, decodes and queues records. Stops partitions that cannot be read any further."""

    def __init__(
        self,
        stage: Stage[T],
        consumer: GroupConsumer,
        lanes: Mapping[TopicPartition, Lane[T]],
        arrived: asyncio.Event,
        stop: Callable[[Lane[T], str], None],
    ) -> None:
        """`lanes`: those of the current assignment. `arrived` is set when a record is queued."""
        self._stage = stage
        self._consumer = consumer
        self._lanes = lanes
        self._arrived = arrived
        self._stop = stop
        self._gaps: dict[TopicPartition, int] = {}
        self._reread: set[TopicPartition] = set()
        self._log = logger(f"tidings.intake.{stage.name}")

    def forget(self) -> None:
        """Forget the gaps of the previous assignment."""
        self._gaps.clear()

    async def poll(self) -> None:
        """Queue the records that arrive within half a second."""
        self._reread.clear()
        try:
            for record in await self._consumer.poll(_POLL_RECORDS, _POLL_MS):
                self._admit(record)
        except PositionOutOfRange as error:
            for partition in error.partitions:
                if isinstance(partition, TopicPartition) and partition in self._lanes:
                    self._stop(self._lanes[partition], str(error))
        except BrokerUnavailable as error:
            self._log.warning("Kafka is not reachable", reason=str(error))
            await asyncio.sleep(_RETRY_S)

    def balance(self) -> bool:
        """Pause the partitions whose queues are full, and resume those with room again (with hysteresis).

        Returns whether any changed.
        """
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
        elif admission is Admission.GAP:
            self._gap(lane, record)

    def _take(self, lane: Lane[T], record: Record) -> None:
        content: T | PoisonRecord
        try:
            content = self._stage.decode(record)
        except PoisonRecord as error:
            content = error
        except PartitionStopped as error:
            return self._stop(lane, f"offset {record.offset}: {error}")
        lane.put(Arrival(record, content))
        metrics.FETCHED_RECORDS.labels(record.topic).inc()
        self._arrived.set()

    def _gap(self, lane: Lane[T], record: Record) -> None:
        """Read again from the missing offset, because a log has no gaps. Stop the partition if it is still missing."""
        if self._gaps.get(lane.partition) == lane.next_offset:
            return self._stop(lane, f"offsets {lane.next_offset}..{record.offset - 1} are missing from the log")
        self._gaps[lane.partition] = lane.next_offset
        self._reread.add(lane.partition)  # later records of this poll are above the gap too
        self._consumer.seek(lane.partition, lane.next_offset)
