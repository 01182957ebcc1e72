"""Expand's round: from `messages.persisted` to one `deliveries` record per user partition."""

from collections.abc import Collection

from services.fanout.plan import deliveries, recipients
from tidings import metrics
from tidings.broker.base import NewRecord, Producer, Record, TopicPartition
from tidings.codec import decode_persisted
from tidings.policy.outbox import Outbox
from tidings.runtime.round import Round
from tidings.topics import DELIVERIES
from tidings.wire.persisted_pb2 import Persisted


class ExpandStage:
    """Drops what it has seen, plans the rest, emits."""

    name = "expand"

    def __init__(self, producer: Producer, user_partitions: int) -> None:
        """`user_partitions`: the U of the deployment."""
        self._producer = producer
        self._user_partitions = user_partitions

    def decode(self, record: Record) -> Persisted:
        """See Stage. What cannot be read or planned stops the partition: skipping it loses a message (H19)."""
        persisted = decode_persisted(record.value)
        recipients(persisted)
        return persisted

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing to know before a direct session's message."""

    async def run(self, work: Round[Persisted]) -> None:
        """One round: at or below the mark is a repeat, everything else goes on (law 4)."""
        outbox = Outbox()
        for partition, arrivals in work.arrivals.items():
            marks = work.marks[partition]
            for arrival in arrivals:
                persisted = arrival.content
                assert isinstance(persisted, Persisted)  # poison exists only before the ack
                if marks.is_repeat(persisted.source):
                    metrics.REPEATS.labels(self.name).inc()
                    continue
                self._plan(outbox, partition.partition, persisted)
                marks.advance(persisted.source)
        await work.emit(self._producer, outbox)

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """No state but the marks, which the worker keeps."""

    def forget(self) -> None:
        """See Stage."""

    def _plan(self, outbox: Outbox, tag: int, persisted: Persisted) -> None:
        for partition, delivery in deliveries(persisted, recipients(persisted), self._user_partitions):
            outbox.add(tag, TopicPartition(DELIVERIES, partition), NewRecord(delivery.SerializeToString()))
