"""Processes of the pipeline as a test sees them: real stages in real workers, to be paused at any call.

A crash is a pause that never ends: a process that is paused before a call has
done nothing more than one that died there.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, cast

from services.persister.sequence import KEY_LIFE_MS
from tests.faults.log import FaultyConsumer
from tidings.broker.base import AssignmentListener, Committed, NewRecord, Producer, Record, TopicPartition
from tidings.runtime.health import Health
from tidings.runtime.hints import HintSender
from tidings.runtime.stage import Stage, WorkerConfig
from tidings.runtime.worker import Worker
from tidings.store.base import Store, TaggedRow
from tidings.store.rows import (
    BucketRow,
    DeliveredRow,
    GroupRow,
    InboxRow,
    KeyRow,
    MemberRow,
    MessageRow,
    ReadRow,
    Row,
    SegmentRow,
    SentRow,
)

Breakpoint = Callable[[str, Any], bool]


class Gate:
    """Every call that a process makes to the outside goes through here."""

    def __init__(self) -> None:
        self.is_reached = asyncio.Event()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._is_dead = False
        self._breakpoint: Breakpoint | None = None

    async def passed(self, call: str, what: Any = None) -> None:
        """Returns when the process runs; never, if it was killed."""
        if self._breakpoint is not None and self._breakpoint(call, what):
            self._breakpoint = None
            self.close()
            self.is_reached.set()
        await self._is_open.wait()
        if self._is_dead:
            raise asyncio.CancelledError

    def pause_before(self, breakpoint: Breakpoint) -> None:
        """Pause before the next call for which this is true."""
        self._breakpoint = breakpoint

    def close(self) -> None:
        """Pause at the next call."""
        self._is_open.clear()

    @property
    def is_open(self) -> bool:
        """Calls pass."""
        return self._is_open.is_set()

    def open(self) -> None:
        """Go on."""
        self._is_open.set()

    def bury(self) -> None:
        """The end of the test: whoever still waits here gets an end."""
        self._is_dead = True
        self._is_open.set()


class Witness:
    """Sees all that processes write. Laws 1 and 7: whoever writes a row, and however often, writes the same bytes."""

    def __init__(self) -> None:
        self.rewritten: list[tuple[Row, Row]] = []
        self.mutation_bytes: list[int] = []
        self.produces: Counter[TopicPartition] = Counter()
        self._first: dict[object, Row] = {}

    def see(self, rows: Sequence[TaggedRow]) -> None:
        """Compare with what was written before under the same primary key."""
        bodies: Counter[object] = Counter()
        for _, row in rows:
            if isinstance(row, MessageRow):
                bodies[row.session_id, row.segment] += len(row.body)
            if isinstance(row, DeliveredRow | ReadRow | SentRow):
                continue  # maxima, written with themselves as timestamp
            before = self._first.setdefault((row.table, _primary_key(row)), row)
            if before != row:
                self.rewritten.append((before, row))
        self.mutation_bytes.extend(bodies.values())


def _primary_key(row: Row) -> object:
    match row:
        case MessageRow():
            return row.session_id, row.segment, row.seq
        case InboxRow():
            return row.user_id, row.bucket, row.inbox_seq
        case SegmentRow():
            return row.session_id, row.segment
        case GroupRow():
            return row.session_id, row.as_of_seq
        case MemberRow():
            return row.session_id, row.user_id, row.as_of_seq
        case BucketRow():
            return row.user_id, row.bucket
        case KeyRow():
            # A key may be stored again after 91 days of log time: then with another `at`.
            return row.session_id, row.sender_id, row.client_msg_id, row.at // KEY_LIFE_MS
        case _:
            return row


class GatedStore:
    """A store as one process reaches it."""

    def __init__(self, store: Store, gate: Gate, witness: Witness) -> None:
        self._store = store
        self._gate = gate
        self._witness = witness

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        """See Store."""
        await self._gate.passed("write", rows)
        self._witness.see(rows)
        return await self._store.write(rows)

    def __getattr__(self, name: str) -> Any:
        read = getattr(self._store, name)

        async def gated(*args: Any) -> Any:
            await self._gate.passed(name, args)
            answer = await read(*args)
            await self._gate.passed("answer", name)
            return answer

        return gated


class GatedProducer:
    """A producer as one process reaches it. H36: one caller per target partition at a time."""

    def __init__(self, producer: Producer, gate: Gate, witness: Witness) -> None:
        self._producer = producer
        self._gate = gate
        self._witness = witness
        self._busy: set[TopicPartition] = set()

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """See Producer."""
        target = TopicPartition(topic, partition)
        assert target not in self._busy, f"two produce calls at once for {target}"
        self._busy.add(target)
        self._witness.produces[target] += 1
        try:
            await self._gate.passed("produce", target)
            return await self._producer.produce(topic, partition, records)
        finally:
            self._busy.discard(target)


class GatedConsumer:
    """A group's member as one process reaches it."""

    def __init__(self, consumer: FaultyConsumer, gate: Gate) -> None:
        self.inner = consumer
        self._gate = gate

    async def start(self, listener: AssignmentListener) -> None:
        """See GroupConsumer."""
        await self.inner.start(listener)

    async def stop(self) -> None:
        """See GroupConsumer."""
        await self._gate.passed("stop")
        await self.inner.stop()

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """See GroupConsumer."""
        await self._gate.passed("poll")
        return await self.inner.poll(max_records, timeout_ms)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See GroupConsumer."""
        self.inner.seek(partition, offset)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See GroupConsumer."""
        self.inner.pause(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See GroupConsumer."""
        self.inner.resume(partitions)

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """See GroupConsumer."""
        await self._gate.passed("committed")
        return await self.inner.committed(partitions)

    async def commit(self, epoch: int, positions: Mapping[TopicPartition, Committed]) -> bool:
        """See GroupConsumer."""
        await self._gate.passed("commit", positions)
        return await self.inner.commit(epoch, positions)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """See GroupConsumer."""
        return await self.inner.end_offsets(partitions)


class Ports:
    """What a stage is built from: everything behind one gate."""

    def __init__(self, store: Store, producer: Producer, hints_producer: Producer, witness: Witness) -> None:
        self.gate = Gate()
        self.store = cast(Store, GatedStore(store, self.gate, witness))
        self.producer = cast(Producer, GatedProducer(producer, self.gate, witness))
        self.hints_producer = cast(Producer, GatedProducer(hints_producer, self.gate, witness))


class Owner:
    """One process with one stage."""

    def __init__(self, stage: Stage[Any], consumer: FaultyConsumer, ports: Ports, config: WorkerConfig) -> None:
        self.stage = stage
        self.gate = ports.gate
        self.consumer = consumer
        self.worker = Worker(stage, GatedConsumer(consumer, ports.gate), config, Health())
        self.hints: HintSender | None = None
        self.beside: list[asyncio.Task[None]] = []
        self.is_member = True
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> "Owner":
        """Join the group and work."""
        self._running = asyncio.create_task(self.worker.run(self._stopping))
        return self

    def check(self) -> None:
        """Raises what ended the process."""
        for task in (self._running, *self.beside):
            if task is not None and task.done():
                task.result()

    async def stop(self) -> None:
        """A clean stop: the round in hand ends, its progress is committed."""
        self._stopping.set()
        if self._running is not None:
            await self._running
        if self.hints is not None:
            await self.hints.stop()
        self.is_member = False

    def expire(self) -> None:
        """The session ran out: others get the partitions, and the process, a zombie now, does not know."""
        self.is_member = False
        self.consumer.expire()

    def kill(self) -> None:
        """Nothing more is heard of it, and the group learns that."""
        self.gate.close()
        self.expire()

    def pause_before(self, breakpoint: Breakpoint) -> None:
        """The process is stopped (SIGSTOP) before the next such call."""
        self.gate.pause_before(breakpoint)

    async def paused(self) -> None:
        """Returns when it stands there."""
        async with asyncio.timeout(600):
            await self.gate.is_reached.wait()

    def resume(self) -> None:
        """SIGCONT."""
        self.gate.open()

    @property
    def is_running(self) -> bool:
        """Neither paused, nor killed, nor stopped."""
        return self.gate.is_open and not self._stopping.is_set()

    async def rejoin(self) -> None:
        """After `expire`: it learns of it, gives up what it held, and joins anew."""
        self.is_member = True
        await self.consumer.rejoin()

    async def bury(self) -> None:
        """Leave nothing behind; what it raised is raised here."""
        self.check()
        self.gate.bury()
        tasks = [task for task in (self._running, *self.beside) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def writes_of(kind: type) -> Breakpoint:
    """Before a write that has such a row in it."""
    return lambda call, rows: call == "write" and any(isinstance(tagged.row, kind) for tagged in rows)


def produces_to(topic: str) -> Breakpoint:
    """Before a produce call to that topic."""
    return lambda call, target: call == "produce" and target.topic == topic


def second(breakpoint: Breakpoint) -> Breakpoint:
    """Not at the first such call, but at the next."""
    hits = itertools.count(1)
    return lambda call, what: breakpoint(call, what) and next(hits) == 2


def slow(read: Callable[..., Awaitable[object]], delay_s: float) -> Callable[..., Awaitable[object]]:
    """A read of the tables that takes so long."""

    async def late(*arguments: object) -> object:
        await asyncio.sleep(delay_s)
        return await read(*arguments)

    return late
