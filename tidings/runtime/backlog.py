"""What a stage has still to do: records in the log that are not confirmed, and the age of the oldest. Pure.

Both are measured on a timer, so that they grow while the stage stands still. The
age is a lower bound: where the oldest record was never read (its partition
loads, is paused or has stopped), it counts from when the record was first missed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidings.broker.base import TopicPartition


@dataclass(frozen=True, slots=True)
class Behind:
    """The state of one partition. `oldest_at_ms`: the broker's time of its oldest queued record, None without one."""

    partition: TopicPartition
    confirmed_offset: int
    oldest_at_ms: int | None


class Backlog:
    """Sums over the partitions of one assignment, with wall time in ms as an argument."""

    def __init__(self) -> None:
        self._ends: dict[TopicPartition, int] = {}
        # When each partition was first seen with this confirmed offset and records behind it.
        self._since: dict[TopicPartition, tuple[int, int]] = {}

    def forget(self) -> None:
        """The assignment has changed."""
        self._ends.clear()
        self._since.clear()

    def saw_ends(self, ends: Mapping[TopicPartition, int]) -> None:
        """The offsets after the last records of the log. They stay while the broker gives no newer ones."""
        self._ends.update(ends)

    def measured(self, partitions: Iterable[Behind], now_ms: int) -> tuple[int, float]:
        """The unconfirmed records, and the age of the oldest in seconds."""
        records, oldest_ms = 0, now_ms
        for one in partitions:
            waiting = self._ends.get(one.partition, one.confirmed_offset) - one.confirmed_offset
            if waiting <= 0 and one.oldest_at_ms is None:
                self._since.pop(one.partition, None)
                continue
            records += max(waiting, 1)
            oldest_ms = min(oldest_ms, self._missed_since(one, now_ms))
            if one.oldest_at_ms is not None:
                oldest_ms = min(oldest_ms, one.oldest_at_ms)
        return records, (now_ms - oldest_ms) / 1000

    def _missed_since(self, one: Behind, now_ms: int) -> int:
        offset, since_ms = self._since.get(one.partition, (-1, now_ms))
        if offset != one.confirmed_offset:
            since_ms = now_ms
        self._since[one.partition] = (one.confirmed_offset, since_ms)
        return since_ms
