"""Push records: hints, sent by a producer of their own so that they never delay a round.

Law 11 (a push is a hint, the tables are the truth).
"""

import asyncio
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from tidings import metrics
from tidings.broker.base import NewRecord, Producer
from tidings.logging import logger
from tidings.runtime.backoff import Backoff
from tidings.topics import PUSH
from tidings.wire.push_pb2 import Push, Resync

_AWAITED_S = 1.0
# The longest time that `stop` takes.
STOP_S = 2 * _AWAITED_S
# From the second failure on, nothing is sent to a partition for this long. Then its gateway gets a `resync`.
_QUIET = Backoff(first_ms=1_000, most_ms=30_000)
# Bounds per gateway; the first one reached counts. Hints above it are lost, and the gateway gets a `resync`.
_QUEUE_RECORDS = 10_000
_QUEUE_BYTES = 16 * 1024 * 1024
_BATCH_RECORDS = 500


@dataclass(slots=True)
class _Lane:
    queue: deque[tuple[int, bytes]] = field(default_factory=deque)
    queued_bytes: int = 0
    is_lossy: bool = False
    failures: int = 0
    quiet_until_s: float = 0.0
    task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        return len(self.queue) >= _QUEUE_RECORDS or self.queued_bytes >= _QUEUE_BYTES

    def put(self, gateway_epoch: int, value: bytes) -> None:
        self.queue.append((gateway_epoch, value))
        self.queued_bytes += len(value)

    def take(self) -> list[tuple[int, bytes]]:
        batch = [self.queue.popleft() for _ in range(min(len(self.queue), _BATCH_RECORDS))]
        self.queued_bytes -= sum(len(value) for _, value in batch)
        return batch


class HintSender:
    """Sends hints with one task per gateway, so that a partition without a leader delays no other gateway (H20)."""

    def __init__(self, producer: Producer, stage: str, gateways: int) -> None:
        """`gateways`: the number of partitions of push. Hints to higher ordinals are dropped and counted."""
        self._producer = producer
        self._stage = stage
        self._gateways = gateways
        self._lanes: dict[int, _Lane] = defaultdict(_Lane)
        self._log = logger(f"tidings.hints.{stage}")

    def send(self, gateway: int, push: Push) -> None:
        """Queue one hint; returns at once. A lost hint is counted and followed by a `resync`."""
        if not 0 <= gateway < self._gateways:
            metrics.HINTS.labels(self._stage, "lost").inc()
            return
        lane = self._lanes[gateway]
        if lane.is_full or time.monotonic() < lane.quiet_until_s:
            self._lose(lane, 1)
            return
        lane.put(push.gateway_epoch, push.SerializeToString())
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._drain(gateway, lane))

    @property
    def waiting(self) -> int:
        """The hints of all gateways that are queued."""
        return sum(len(lane.queue) for lane in self._lanes.values())

    async def stop(self) -> None:
        """Send the queued hints, for at most STOP_S."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _drain(self, gateway: int, lane: _Lane) -> None:
        while lane.queue:
            # For each batch and not for each hint, which are many.
            metrics.HINTS_WAITING.labels(self._stage).set(self.waiting)
            batch = lane.take()
            records = [NewRecord(value) for _, value in batch]
            if lane.is_lossy:
                resync = Push(gateway_epoch=batch[-1][0], resync=Resync())
                records.insert(0, NewRecord(resync.SerializeToString()))
                lane.is_lossy = False
            try:
                await asyncio.wait_for(self._producer.produce(PUSH, gateway, records), _AWAITED_S)
            except Exception as error:  # noqa: BLE001 - after any error the lane continues, and its gateway resyncs
                self._lose(lane, len(batch))
                lane.failures += 1
                # A record that timed out here is still in the producer. Its time-out there resets the producer, and
                # the hints of all other gateways fail with it.
                lane.quiet_until_s = time.monotonic() + _QUIET.wait_ms(lane.failures - 1) / 1000
                self._log.warning("hints lost", gateway=gateway, records=len(batch), reason=repr(error))
            else:
                lane.failures = 0
                metrics.HINTS.labels(self._stage, "sent").inc(len(batch))
        metrics.HINTS_WAITING.labels(self._stage).set(self.waiting)

    def _lose(self, lane: _Lane, records: int) -> None:
        lane.is_lossy = True
        metrics.HINTS.labels(self._stage, "lost").inc(records)
