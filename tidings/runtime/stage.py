"""The interface between a service and the worker, and the worker's bounds."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tidings.broker.base import Record, TopicPartition
from tidings.runtime.backoff import Backoff
from tidings.runtime.pacing import Spacing
from tidings.runtime.round import Round

T = TypeVar("T")


class Stage(Protocol[T]):
    """What a service implements: how to decode a record, and how to process a round of records.

    The worker calls all of it on one event loop. One round runs at a time: `run` is not called again before `confirmed`
    was called for the round before, or the round was dropped. `decode`, `prepare` and `forget` may be called while
    `run` is awaiting.
    """

    name: str

    def decode(self, record: Record) -> T:
        """The content of a record. Called once when it arrives, also while `run` is awaiting; may not block.

        Raises PoisonRecord, for records before the ack: the stage gets the error as the content, and puts it aside.
        Raises PartitionStopped, for records after it: the partition stops until an operator acts.
        """
        ...

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Read what the first round of newly assigned partitions needs.

        Called after `forget`, and repeated with a backoff while it raises Retryable. It may take as long as it needs:
        the partitions are not ready before. It is cancelled when the assignment changes.
        """
        ...

    async def run(self, work: Round[T]) -> None:
        """Load, decide, write, emit, in this order.

        Names a partition that fails in `work.failed`, and one that must stop in `work.stopped`; the others go
        on. Raises Retryable if all partitions have to be repeated. Any other error ends the process: law 9 (fail in
        three words). After each await that may be long, call `work.ensure_still_assigned`: the partitions may have
        been revoked and `forget` called in the meantime. State enters the stage's cache in `confirmed` only. A
        repeated round has to decide from the state before: law 5 (a replay ignores later rows).
        """
        ...

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """Cache the drafts of these partitions, whose round is done. Drop all other drafts.

        Called right after each `run` whose assignment still holds, with no await in between. Never called after a
        dropped round. May not block. The worker commits offset and marks after it.
        """
        ...

    def forget(self) -> None:
        """Drop all state, because the partitions were revoked or newly assigned.

        Called in a rebalance, after the current round has ended or 5 s have passed. So `run` may still be awaiting. Its
        next `ensure_still_assigned` raises, and its round is not confirmed. May not block.
        """
        ...


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Bounds of a worker. Law 12 (everything is bounded); the measurements are in docs/history/FIELD-NOTES.md."""

    log_epoch: int
    session_timeout_ms: int
    # Those of the whole group, for the metric.
    partitions: int = 0
    round_records: int = 500
    round_bytes: int = 1024 * 1024
    commit_every_ms: int = 250
    spacing: Spacing = field(default_factory=Spacing)
    backoff: Backoff = field(default_factory=lambda: Backoff(first_ms=50, most_ms=1_000))
