"""What a round hands on to the next stage, in order per target partition (law 3). Pure."""

from collections import defaultdict
from collections.abc import Iterable

from tidings.broker.base import NewRecord, TopicPartition


class Outbox:
    """Records for the next stage, each with the source partition that made it, per target in order."""

    __slots__ = ("_targets",)

    def __init__(self) -> None:
        """Nothing to emit yet."""
        self._targets: dict[TopicPartition, list[tuple[int, NewRecord]]] = defaultdict(list)

    def add(self, source_partition: int, target: TopicPartition, record: NewRecord) -> None:
        """Append behind what this target already gets."""
        self._targets[target].append((source_partition, record))

    def targets(self) -> Iterable[tuple[TopicPartition, list[tuple[int, NewRecord]]]]:
        """Every target with its tagged records."""
        return self._targets.items()
