"""The archiver's side of `messages.inbound`: it asks the persister to close segments, and reads what is confirmed."""

from collections.abc import Sequence
from typing import Protocol

from tidings import ids
from tidings.broker.base import Admin, NewRecord, Producer, TopicPartition
from tidings.ids import Position
from tidings.runtime.persister_progress import confirmed_offsets, inbound_partitions, persister_passes
from tidings.store.segment_rows import SegmentRow
from tidings.topics import MESSAGES_INBOUND
from tidings.wire.common_pb2 import Stamps
from tidings.wire.inbound_pb2 import CloseSegment, Command

# The archiver waits for each batch of closings. With 0.5 s, the batches of 3,000 quiet sessions in 16 shards took 8 s.
_LOOK_S = 0.1
_IN_FLIGHT = 200


class ClosingLog(Protocol):
    """What the archiver needs of the log."""

    async def confirmed(self) -> Sequence[Position]:
        """By inbound partition: the first position that the persister has not confirmed. BrokerUnavailable."""
        ...

    def partition_of(self, session_id: str) -> int:
        """The inbound partition of a session."""
        ...

    async def close(self, segments: Sequence[tuple[SegmentRow, int]], within_s: float) -> bool:
        """Ask for the closing of segments with these last seqs, and wait until the persister has decided about them.

        False: it has not within the time. BrokerUnavailable: some may have been asked for.
        """
        ...


class KafkaClosingLog:
    """Implements ClosingLog over the broker port."""

    def __init__(self, producer: Producer, admin: Admin, stamps: Stamps, epoch: int, session_partitions: int) -> None:
        """`stamps`: those of this deployment's gateways. `epoch`: the topics' epoch."""
        self._producer = producer
        self._admin = admin
        self._stamps = stamps
        self._epoch = epoch
        self._partitions = inbound_partitions(session_partitions)

    async def confirmed(self) -> Sequence[Position]:
        offsets = await confirmed_offsets(self._admin, self._partitions)
        return [Position(self._epoch, offsets.get(one, 0)) for one in self._partitions]

    def partition_of(self, session_id: str) -> int:
        return ids.partition_of(session_id, len(self._partitions))

    async def close(self, segments: Sequence[tuple[SegmentRow, int]], within_s: float) -> bool:
        wanted: dict[TopicPartition, int] = {}
        for start in range(0, len(segments), _IN_FLIGHT):
            by_partition: dict[int, list[NewRecord]] = {}
            for segment, last_seq in segments[start : start + _IN_FLIGHT]:
                record = NewRecord(self._command(segment, last_seq).SerializeToString())
                by_partition.setdefault(self.partition_of(segment.session_id), []).append(record)
            for partition, records in by_partition.items():
                first = await self._producer.produce(MESSAGES_INBOUND, partition, records)
                wanted[TopicPartition(MESSAGES_INBOUND, partition)] = first + len(records)
        return await persister_passes(self._admin, wanted, within_s, _LOOK_S)

    def _command(self, segment: SegmentRow, last_seq: int) -> Command:
        closing = CloseSegment(segment=segment.segment, last_seq=last_seq)
        return Command(stamps=self._stamps, session_id=segment.session_id, close_segment=closing)
