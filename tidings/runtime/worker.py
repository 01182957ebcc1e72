"""The loop that persister, fanout and receipts share (docs/SEMANTICS.md, laws 2-5, 9, 12).

Read `Worker._round` first: gather, run, confirm. `_open` opens the gate of a
partition, intake.py fills its queue, and `_commit_all` commits in the background.
stage.py has the interface that a service implements.
"""

import asyncio
import time
from collections.abc import Collection, Coroutine, Sequence
from typing import Generic, TypeVar

from tidings import metrics
from tidings.broker.base import Committed, GroupConsumer, TopicPartition
from tidings.errors import BrokerUnavailable, Retryable
from tidings.ids import Position
from tidings.logging import logger
from tidings.runtime.backlog import Backlog, Behind
from tidings.runtime.health import Health
from tidings.runtime.intake import Intake
from tidings.runtime.lanes import Arrival, Gate, Lane
from tidings.runtime.marks import Marks
from tidings.runtime.pacing import Pacing, Turns
from tidings.runtime.round import Round
from tidings.runtime.round_request import RoundRequest
from tidings.runtime.stage import Stage, WorkerConfig
from tidings.runtime.start import StoppedEarly, patiently, unless

T = TypeVar("T")

_MEASURE_S = 2.0
# With the longest backoff of 1 s this is half a minute.
_FAILURES_ALARMING = 30
# A running round gets this time to end when partitions are revoked. It is far below the 30 s of a rebalance.
DRAIN_S = 5.0


class Worker(Generic[T]):
    """Runs one stage over all partitions that its consumer group assigns to this process."""

    def __init__(
        self,
        stage: Stage[T],
        consumer: GroupConsumer,
        config: WorkerConfig,
        health: Health,
        request: RoundRequest | None = None,
    ) -> None:
        """No record is read before `run`. `request`: the stage's own requests for rounds, if it makes any."""
        self._stage = stage
        self._consumer = consumer
        self._config = config
        self._health = health
        self._lanes: dict[TopicPartition, Lane[T]] = {}
        self._epoch = -1
        self._is_ending = False
        self._was_failing = False
        self._failure: BaseException | None = None
        self._request = request or RoundRequest()
        self._arrived = self._request.arrived
        self._round_done = asyncio.Event()
        self._round_done.set()
        self._last_alive = time.monotonic()
        self._pacing = Pacing(config.spacing)
        self._turns = Turns()
        self._opening: asyncio.Task[None] | None = None
        self._backlog = Backlog()
        self._intake = Intake(stage, consumer, self._lanes, self._arrived, self._stop)
        self._log = logger(f"tidings.worker.{stage.name}")

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set. Then finish the current round, commit, and leave the group."""
        metrics.PARTITIONS_EXPECTED.labels(self._stage.name).set(self._config.partitions)
        self._health.set_ready(False, "joining the group", self._stage.name)
        try:
            async with unless(stopping):
                await patiently(lambda: self._consumer.start(self), f"group of {self._stage.name}")
        except StoppedEarly:
            await self._consumer.stop()
            return
        steps: list[Coroutine[object, object, object]] = [
            stopping.wait(),
            self._poll(),
            self._rounds(),
            self._commits(),
            self._measure(),
        ]
        tasks = [asyncio.create_task(step) for step in steps]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._end(tasks)

    async def _end(self, tasks: Sequence[asyncio.Task[object]]) -> None:
        self._is_ending = True
        await self._drain()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._consumer.stop()
        self._health.set_ready(False, "stopped", self._stage.name)

    # -- the assignment --------------------------------------------------------------------------

    async def assigned(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        """Make new lanes with closed gates. `_open` opens them when position and marks are read back."""
        self._cancel_opening()
        self._stage.forget()
        self._epoch = epoch
        self._last_alive = time.monotonic()
        self._lanes.clear()
        self._intake.forget()
        self._backlog.forget()
        metrics.REBALANCES.labels(self._stage.name).inc()
        self._lanes.update({partition: Lane(partition, epoch) for partition in partitions})
        self._opening = asyncio.create_task(self._open(epoch, sorted(partitions)))
        self._opening.add_done_callback(self._opened)
        self._report()

    async def revoked(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        """End the current round (within DRAIN_S), commit what is confirmed, and drop all state."""
        self._cancel_opening()
        await self._drain()
        await self._commit_all()
        self._epoch = -1
        self._lanes.clear()
        self._backlog.forget()
        self._stage.forget()
        self._report()

    async def _drain(self) -> None:
        try:
            await asyncio.wait_for(self._round_done.wait(), DRAIN_S)
        except TimeoutError:
            self._log.warning("the current round did not end in time and is dropped")

    def _cancel_opening(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None

    async def _open(self, epoch: int, partitions: Sequence[TopicPartition]) -> None:
        """The ready gate: read back offset and marks in one answer, seek to the offset, then admit records."""
        failures = 0
        while epoch == self._epoch and partitions:
            try:
                await self._stage.prepare(partitions)
                await self._read_back(epoch, partitions)
                break
            except (Retryable, ValueError) as error:
                failures += 1
                self._log.warning("partitions are not ready yet", reason=str(error), failures=failures)
                await asyncio.sleep(self._config.backoff.wait_ms(failures) / 1000)
        self._report()
        self._arrived.set()

    def _opened(self, opening: asyncio.Task[None]) -> None:
        """Keep an error that no retry can fix. It ends the process: law 9 (fail in three words)."""
        if not opening.cancelled():
            self._failure = opening.exception()

    async def _read_back(self, epoch: int, partitions: Sequence[TopicPartition]) -> None:
        committed = await self._consumer.committed(partitions)
        marks = {partition: Marks.decoded(committed[partition].metadata) for partition in partitions}
        ends = await self._consumer.end_offsets(partitions)
        if epoch != self._epoch:
            return
        for partition in partitions:
            lane, offset = self._lanes[partition], committed[partition].offset
            if offset > ends[partition]:
                self._stop(lane, f"committed offset {offset} lies beyond the end {ends[partition]}: a lost log tail")
                continue
            self._consumer.seek(partition, offset)
            lane.open(offset, marks[partition])

    async def _poll(self) -> None:
        while True:
            await self._intake.poll()
            if self._failure is not None:
                raise self._failure
            if self._intake.balance():
                self._report()

    # -- the rounds ------------------------------------------------------------------------------

    async def _rounds(self) -> None:
        while not self._is_ending:
            await self._arrived.wait()
            self._arrived.clear()
            if not self._is_full() and (wait_s := self._pacing.wait_s(time.monotonic())):
                await asyncio.sleep(wait_s)
            if self._request.take() or self._busy():
                self._round_done.clear()
                self._pacing.begin(time.monotonic())
                try:
                    await self._round()
                finally:
                    self._pacing.end(time.monotonic())
                    self._round_done.set()
            if self._busy():
                self._arrived.set()

    def _busy(self) -> list[Lane[T]]:
        now_s = time.monotonic()
        return [lane for lane in self._lanes.values() if lane.has_work(now_s)]

    def _is_full(self) -> bool:
        heads = (lane.head(self._config.round_records, self._config.round_bytes) for lane in self._lanes.values())
        return sum(len(head) for head in heads) >= self._config.round_records

    async def _round(self) -> None:
        """Gather, run, confirm."""
        epoch = self._epoch
        work = self._gather()
        outcome = "confirmed"
        try:
            await self._stage.run(work)
        except Retryable as error:
            outcome = "dropped" if epoch != self._epoch else "repeated"
            work.fail({partition.partition for partition in work.arrivals}, f"{type(error).__name__}: {error}")
        if epoch != self._epoch:
            metrics.ROUNDS.labels(self._stage.name, "dropped").inc()
            return
        metrics.REPEATS.labels(self._stage.name).inc(work.repeat_count)
        if work.arrivals:
            metrics.ROUNDS.labels(self._stage.name, "repeated" if work.failed else outcome).inc()
            self._observe(work, time.monotonic() - self._pacing.began_s)
        self._confirm(work)

    def _observe(self, work: Round[T], took_s: float) -> None:
        metrics.ROUND_SECONDS.labels(self._stage.name).observe(took_s)
        decide_s = max(0.0, took_s - sum(work.step_seconds.values()))
        for step, step_s in (*work.step_seconds.items(), ("decide", decide_s)):
            metrics.ROUND_STEP_SECONDS.labels(self._stage.name, step).observe(step_s)

    def _gather(self) -> Round[T]:
        """Gather the queued records of all partitions, within the bounds of a round and in fair shares."""
        left_records, left_bytes = self._config.round_records, self._config.round_bytes
        arrivals: dict[TopicPartition, Sequence[Arrival[T]]] = {}
        # The shortest queues come first, so that longer queues get the unused part of their shares.
        busy = sorted(self._turns.next(self._busy()), key=lambda lane: lane.queued_records)
        for index, lane in enumerate(busy):
            lanes_left = len(busy) - index
            head = lane.head(max(1, left_records // lanes_left), max(1, left_bytes // lanes_left))
            arrivals[lane.partition] = head
            left_records -= len(head)
            left_bytes -= sum(len(arrival.record.value or b"") for arrival in head)
        if arrivals:
            metrics.ROUND_RECORDS.labels(self._stage.name).observe(sum(map(len, arrivals.values())))
        epoch, patience_s = self._epoch, self._config.session_timeout_ms / 2000
        self._last_alive = time.monotonic()

        def is_still_assigned() -> bool:
            waited_s, self._last_alive = time.monotonic() - self._last_alive, time.monotonic()
            return epoch == self._epoch and waited_s <= patience_s

        marks = {partition: self._lanes[partition].marks for partition in arrivals}
        positions = {
            partition: Position(self._config.log_epoch, lane.confirmed_offset)
            for partition, lane in self._lanes.items()
            if lane.was_opened
        }
        return Round(arrivals, marks, positions, is_still_assigned)

    def _confirm(self, work: Round[T]) -> None:
        """Confirm or repeat each source partition on its own."""
        confirmed = [partition for partition in work.arrivals if not work.has_failed(partition.partition)]
        self._stage.confirmed(confirmed)
        now_ms = time.time() * 1000
        for partition in confirmed:
            arrivals = work.arrivals[partition]
            self._lanes[partition].confirm(len(arrivals), work.marks[partition])
            lag_s = max(0.0, now_ms - arrivals[0].record.at_ms) / 1000
            metrics.LAG_SECONDS.labels(self._stage.name).observe(lag_s)
        for partition, reason in work.stopped.items():
            self._stop(self._lanes[partition], reason)
            self._lanes[partition].abandon()
        self._repeat_later(work)
        if work.failed or self._was_failing:
            self._was_failing = bool(work.failed)
            self._report()

    def _repeat_later(self, work: Round[T]) -> None:
        for partition in work.arrivals:
            lane = self._lanes[partition]
            if not work.has_failed(partition.partition) or partition in work.stopped:
                continue
            lane.failures += 1
            reason = work.failed[partition.partition]
            self._log.warning("round repeated", partition=str(partition), reason=reason, failures=lane.failures)
            wait_s = self._config.backoff.wait_ms(lane.failures) / 1000
            lane.retry_at_s = time.monotonic() + wait_s
            asyncio.get_running_loop().call_later(wait_s + 0.001, self._arrived.set)

    # -- commit, stop, watch ---------------------------------------------------------------------

    async def _commits(self) -> None:
        while True:
            await asyncio.sleep(self._config.commit_every_ms / 1000)
            await self._commit_all()

    async def _commit_all(self) -> None:
        """Commit offset and marks together, for every partition with progress."""
        lanes = [lane for lane in self._lanes.values() if lane.wants_commit]
        if not lanes:
            return
        positions = {lane.partition: Committed(lane.confirmed_offset, lane.marks.encoded()) for lane in lanes}
        try:
            is_current = await self._consumer.commit(lanes[0].epoch, positions)
        except BrokerUnavailable as error:
            metrics.COMMITS.labels(self._stage.name, "failed").inc()
            self._log.warning("commit failed and will be retried", reason=str(error))
            return
        metrics.COMMITS.labels(self._stage.name, "done" if is_current else "fenced").inc()
        if is_current:
            for lane in lanes:
                lane.committed_offset = positions[lane.partition].offset

    def _stop(self, lane: Lane[T], reason: str) -> None:
        """Stop this partition until an operator acts. The others continue: law 9 (fail in three words)."""
        if lane.gate is Gate.STOPPED:
            return
        lane.stop()
        lane.is_paused = True
        self._consumer.pause([lane.partition])
        self._log.error(
            "partition stopped",
            partition=str(lane.partition),
            reason=reason,
            action="nothing is lost or committed; see docs/OPERATIONS.md, Partition stopped",
        )
        self._report()

    async def _measure(self) -> None:
        """Measure the backlog, also while nothing moves and while Kafka is away."""
        while True:
            await asyncio.sleep(_MEASURE_S)
            opened = [lane for lane in self._lanes.values() if lane.was_opened]
            epoch = self._epoch
            try:
                ends = await self._consumer.end_offsets([lane.partition for lane in opened]) if opened else {}
            except BrokerUnavailable:
                ends = {}  # the last ones still count
            if epoch == self._epoch:
                self._backlog.saw_ends(ends)
            self._report_backlog()

    def _report_backlog(self) -> None:
        behind = [
            Behind(lane.partition, lane.confirmed_offset, lane.oldest_at_ms)
            for lane in self._lanes.values()
            if lane.was_opened
        ]
        records, oldest_s = self._backlog.measured(behind, time.time_ns() // 1_000_000)
        metrics.BACKLOG_RECORDS.labels(self._stage.name).set(records)
        metrics.BACKLOG_SECONDS.labels(self._stage.name).set(oldest_s)

    def _report(self) -> None:
        lanes = self._lanes.values()
        for gate in Gate:
            count = sum(lane.gate is gate for lane in lanes)
            metrics.PARTITIONS.labels(self._stage.name, gate.value).set(count)
        repeating = sum(lane.failures >= _FAILURES_ALARMING for lane in lanes)
        metrics.PARTITIONS.labels(self._stage.name, "repeating").set(repeating)
        paused = sum(lane.is_paused and lane.gate is Gate.READY for lane in lanes)
        metrics.PARTITIONS.labels(self._stage.name, "paused").set(paused)
        loading = sum(lane.gate is Gate.LOADING for lane in lanes)
        is_ready = self._epoch >= 0 and not loading
        self._health.set_ready(is_ready, f"{loading} partitions are not read back yet", self._stage.name)
