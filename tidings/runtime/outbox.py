"""The records that a round emits to the next stage, in order per target partition. Pure.

Law 3 (records go out in explicit batches, one after the other for a target).
"""

from collections import defaultdict
from collections.abc import Iterable

from tidings.broker.base import NewRecord, TopicPartition


class Outbox:
    """Records for the next stage by target, in order. Each has the source partition that it came from."""

    __slots__ = ("_targets",)

    def __init__(self) -> None:
        self._targets: dict[TopicPartition, list[tuple[int, NewRecord]]] = defaultdict(list)

    def add(self, source_partition: int, target: TopicPartition, record: NewRecord) -> None:
        """Append a record after the earlier records of this target."""
        self._targets[target].append((source_partition, record))

    def targets(self) -> Iterable[tuple[TopicPartition, list[tuple[int, NewRecord]]]]:
        """Every target with its (source_partition, record) pairs."""
        return self._targets.items()
