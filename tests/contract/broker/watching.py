"""Listeners and loops that the contract's tests share."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from tidings.broker.base import GroupConsumer, NewRecord, Reader, Record, TopicPartition

PATIENCE_S = 60.0


@dataclass
class Watch:
    """An AssignmentListener that writes down its calls."""

    events: list[tuple[str, int, frozenset[TopicPartition]]] = field(default_factory=list)

    async def assigned(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        self.events.append(("assigned", epoch, frozenset(partitions)))

    async def revoked(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        self.events.append(("revoked", epoch, frozenset(partitions)))

    @property
    def held(self) -> frozenset[TopicPartition]:
        """What is ours at the moment."""
        return self.events[-1][2] if self.events and self.events[-1][0] == "assigned" else frozenset()

    @property
    def epoch(self) -> int:
        """The epoch of the last call; 0 before the first."""
        return self.events[-1][1] if self.events else 0


def new(*values: str) -> list[NewRecord]:
    """Records with these values."""
    return [NewRecord(value.encode(), key=b"k") for value in values]


def values(records: Sequence[Record]) -> list[str]:
    """The values of records."""
    return [(record.value or b"").decode() for record in records]


async def until(is_so: Callable[[], bool], *polled: GroupConsumer) -> list[Record]:
    """Polls the members, as a worker must, until it is so; what they read meanwhile."""
    seen: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            for member in polled:
                seen += await member.poll(500, timeout_ms=50)
            await asyncio.sleep(0.01)
    return seen


async def read(source: GroupConsumer | Reader, count: int, seen: list[str] | None = None) -> list[Record]:
    """Polls until so many records came; `seen` keeps their values also when poll raises."""
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(records) < count:
            some = await source.poll(500, timeout_ms=200)
            records += some
            if seen is not None:
                seen += values(some)
    return records
