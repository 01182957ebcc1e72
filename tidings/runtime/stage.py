"""What a service brings to the worker, and the bounds within which the worker runs it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tidings.broker.base import Record, TopicPartition
from tidings.runtime.backoff import Backoff
from tidings.runtime.pacing import Spacing
from tidings.runtime.round import Round

T = TypeVar("T")


class Stage(Protocol[T]):
    """What a service brings: how to read a record, and what to do with a round of them."""

    name: str

    def decode(self, record: Record) -> T:
        """Raises PoisonRecord (before the ack) or PartitionStopped (after it)."""
        ...

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Whatever has to be known before the first round of newly assigned partitions. May raise Retryable."""
        ...

    async def run(self, work: Round[T]) -> None:
        """Load, decide, write, emit. Marks `work.failed` and `work.stopped`; may raise Retryable for all.

        State enters the stage's cache only in `confirmed`.
        """
        ...

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """The round is done for these: its state may enter the cache. What it held of others is dropped."""
        ...

    def forget(self) -> None:
        """All partitions were taken back: drop every state."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Bounds of a worker. The arithmetic: DESIGN law 12 and FIELD-NOTES."""

    log_epoch: int
    session_timeout_ms: int
    round_records: int = 500
    round_bytes: int = 1024 * 1024
    commit_every_ms: int = 250
    spacing: Spacing = field(default_factory=Spacing)
    backoff: Backoff = field(default_factory=lambda: Backoff(first_ms=50, most_ms=1_000))
