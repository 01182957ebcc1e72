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
    """What a service brings: how to read a record, and what to do with a round of them.

    The worker calls all of it on one event loop. One round runs at a time: `run` is not called again before `confirmed`
    was called for the round before, or the round was dropped. `decode`, `prepare` and `forget` may be called while
    `run` is awaiting.
    """

    name: str

    def decode(self, record: Record) -> T:
        """The content of a record. Called once when it arrives, also while `run` is awaiting; may not block.

        Raises PoisonRecord, for records before the ack: the stage gets the error as the content, and puts it aside.
        Raises PartitionStopped, for records after it: the partition stands still until an operator acts.
        """
        ...

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Read what has to be known before the first round of newly assigned partitions.

        Called after `forget`, and repeated with a backoff while it raises Retryable. It may take as long as it needs:
        the partitions are not ready before. It is cancelled when the assignment changes.
        """
        ...

    async def run(self, work: Round[T]) -> None:
        """Load, decide, write, emit, in this order.

        A partition that fails is named in `work.failed`, one that must stand still in `work.stopped`; the others go
        on. Raises Retryable where all partitions have to be repeated. Any other error ends the process (law 9).
        After each await that may be long, call `work.ensure_still_assigned`: partitions may have been taken back
        meanwhile, and `forget` been called. State enters the stage's cache in `confirmed` only, because a repeated
        round has to decide from the state before (law 5).
        """
        ...

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """The round is done for these partitions: its drafts become the cache. The drafts of others are dropped.

        Called right after each `run` whose assignment still holds, with no await between; never after a dropped round.
        May not block. The worker commits offset and marks after it.
        """
        ...

    def forget(self) -> None:
        """All partitions were taken back, or given anew: drop every state of them.

        Called in a rebalance, after the round in hand has ended or 5 s have passed. So `run` may still be awaiting; its
        next `ensure_still_assigned` raises, and nothing of it is confirmed. May not block.
        """
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
