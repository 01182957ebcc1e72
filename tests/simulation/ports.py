"""Kafka and Cassandra as one process reaches them: over a network with delays, and not at all once it is dead.

The servers themselves are the memory adapters with faults (tests/faults). Everything that a process writes is seen
here, by parts that the product does not know: `Witness` (no row is ever rewritten) and `Confirmed` (what may be acked).
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import Context
from typing import Any, TypeVar, cast

from tests.faults.broker import FaultyBroker, FaultyProducer, FaultyReader
from tests.faults.drawn import LogFaults, LogRates, StoreFaults, StoreRates
from tests.faults.log import FaultyConsumer
from tests.faults.store import FaultyStore
from tests.simulation.admission import Admission
from tests.simulation.virtual_time import Process, VirtualClock
from tests.simulation.witness import Witness
from tidings.broker.base import AssignmentListener, Broker, Committed, NewRecord, Record, TopicPartition
from tidings.store.base import Store, TaggedRow
from tidings.store.memory_tables import Slot
from tidings.store.rows import GroupRow, InboxRow, KeyRow, MemberRow, MessageRow
from tidings.topics import Group, TopicSizes
from tidings.wire.common_pb2 import KIND_SYSTEM
from tidings.wire.push_pb2 import SendAck

EPOCH = 0
GATEWAYS = 2
SIZES = TopicSizes(session_partitions=2, user_partitions=2, push_partitions=GATEWAYS)
# The other answers arrive at once: a delay on the way there is enough for most orders of events.
_SLOW_ANSWERS = 0.3
# A round that is under way gets 5 s to end before a member rejoins.
_JOIN_S = 12.0
T = TypeVar("T")
# Of a call its name and what it carries. True: the process is stopped before it.
Breakpoint = Callable[[str, Any], bool]


class Servers:
    """The brokers and the tables of one run, the faults of both, and what was seen of all writes."""

    def __init__(self, seed: int, sizes: TopicSizes = SIZES, chance: random.Random | None = None) -> None:
        """`trouble`: how often each fault happens, from never to one call in twelve."""
        self.sizes = sizes
        self.chance = chance or random.Random(seed)
        self.trouble = self.chance.choice((0.0, 0.02, 0.08))
        self.clock = VirtualClock()
        # Write timestamps are those of the clients, which do not jump with the brokers' clock.
        self.tables_clock = VirtualClock()
        self.log_faults, self.store_faults = LogFaults(seed), StoreFaults(seed)
        self.broker = FaultyBroker(self.clock, self.log_faults)
        self.store = FaultyStore(self.tables_clock, self.store_faults)
        self.read_faults = StoreFaults(seed + 1)
        self.read_store = _RepairingStore(self.tables_clock, self.read_faults)
        self.read_store._partitions, self.read_store._block_lists = self.store._partitions, self.store._block_lists
        self.read_store._purged = self.store._purged
        self.read_store.deployment, self.read_store.steady = self.store.deployment, self.store.steady
        self.witness = Witness()
        self.confirmed = Confirmed()
        self.admission = Admission(self.read, sizes.session_partitions)

    def begin_faults(self) -> None:
        """From now on calls fail."""
        rate = self.trouble
        self.log_faults.rates = LogRates(
            produce_lost=rate,
            produce_unconfirmed=rate,
            produce_partial=rate,
            produce_late=rate,
            commit_lost=rate,
            commit_failed=rate,
            commit_unconfirmed=rate,
            coordinator_loading=rate,
        )
        self.store_faults.rates = StoreRates(
            write_lost=rate,
            write_unconfirmed=rate,
            write_flickering=rate,
            write_late=rate,
            read_failed=rate / 2,
        )
        # Gateways write block lists alone.
        self.read_faults.rates = StoreRates(read_failed=rate / 8, write_lost=rate, write_unconfirmed=rate)

    def heal(self) -> None:
        """No more faults; what was late has landed."""
        self.log_faults.rates, self.store_faults.rates, self.read_faults.rates = LogRates(), StoreRates(), StoreRates()
        self.broker.heal()
        self.store.heal()
        self.read_store.heal()

    def read(self, topic: str, partition: int, offset: int = 0) -> list[Record]:
        """All records of a partition from an offset on."""
        return self.broker.partition(TopicPartition(topic, partition)).read(offset, 10**6)

    def end(self, topic: str, partition: int) -> int:
        """The offset after the last record."""
        return self.broker.partition(TopicPartition(topic, partition)).end_offset

    def delay_s(self) -> float:
        """Of one way between a process and a server: mostly short, sometimes long enough for others to overtake."""
        ball = self.chance.random()
        return ball * 0.002 if ball < 0.9 else self.chance.random() * (0.02 if ball < 0.99 else 0.3)


class _RepairingStore(FaultyStore):
    """How gateways see the tables: a quorum has repaired whatever it returned, so no row comes and goes again."""

    def _visible(self, slots: Iterable[Slot], kind: type[Any]) -> Iterator[Any]:
        repaired = list(slots)
        self.steady.update(repaired)
        return super()._visible(repaired, kind)


class Confirmed:
    """What a quorum has confirmed, to be compared with every ack at its moment (laws 6 and 8)."""

    def __init__(self) -> None:
        self._messages: dict[tuple[str, int], MessageRow] = {}
        self._keys: set[tuple[str, str, str, int]] = set()
        self._stored: set[tuple[str, str, str]] = set()
        self._versions: set[tuple[str, int]] = set()
        self._inbox_tails: dict[str, int] = {}

    def has_key(self, session_id: str, sender_id: str, client_msg_id: str) -> bool:
        """Whether a repeat of this message must be acked."""
        return (session_id, sender_id, client_msg_id) in self._stored

    def inbox_tail(self, user_id: str) -> int:
        """The highest confirmed number of an inbox. What is pushed above it may not be stored yet."""
        return self._inbox_tails.get(user_id, 0)

    def see(self, rows: Sequence[TaggedRow], unconfirmed: Collection[int]) -> None:
        """The outcome of one write."""
        for source_partition, row in rows:
            if source_partition in unconfirmed:
                continue
            if isinstance(row, MessageRow):
                self._messages[row.session_id, row.seq] = row
            elif isinstance(row, KeyRow):
                self._keys.add((row.session_id, row.sender_id, row.client_msg_id, row.seq))
                self._stored.add((row.session_id, row.sender_id, row.client_msg_id))
            elif isinstance(row, InboxRow):
                self._inbox_tails[row.user_id] = max(row.inbox_seq, self.inbox_tail(row.user_id))
            elif isinstance(row, GroupRow | MemberRow):
                self._versions.add((row.session_id, row.as_of_seq))

    def check_ack(self, ack: SendAck) -> None:
        """The message and all its side rows are there."""
        place = (ack.session_id, ack.seq)
        if ack.seq == 0:
            return  # no user was added, so nothing is stored
        message = self._messages.get(place)
        assert message is not None, f"G1: {place} is acked before its message is stored"
        key = (ack.session_id, message.sender_id, ack.client_msg_id, ack.seq)
        assert key in self._keys, f"G1, G2: {place} is acked before its key is stored"
        is_versioned = message.kind != KIND_SYSTEM or place in self._versions
        assert is_versioned, f"law 6: {place} is acked before its group and member versions are stored"


class Reach:
    """The way of one process to the servers."""

    def __init__(self, servers: Servers, process: Process) -> None:
        self.servers, self.process = servers, process
        self.consumers: list[SimulatedConsumer] = []
        # Consumer groups whose coordinator never answers this process.
        self.silent_groups: frozenset[str] = frozenset()
        self.is_at_breakpoint = asyncio.Event()
        self._breakpoint: Breakpoint | None = None

    async def call(self, work: Callable[[], Awaitable[T]], name: str, what: object = None) -> T:
        """There and back. A dead process gets no further than here."""
        await self._reaches(name, what)
        if self.process.is_dead:
            raise asyncio.CancelledError
        await asyncio.sleep(self.servers.delay_s())
        answer = await work()
        if self.servers.chance.random() < _SLOW_ANSWERS:
            await asyncio.sleep(self.servers.delay_s())
        return answer

    def stop_before(self, breakpoint: Breakpoint) -> None:
        """SIGSTOP before the next call for which this is true."""
        self._breakpoint = breakpoint
        self.is_at_breakpoint.clear()

    async def _reaches(self, name: str, what: object) -> None:
        if self._breakpoint is not None and self._breakpoint(name, what):
            self._breakpoint = None
            self.process.stop()
            self.is_at_breakpoint.set()
            await asyncio.sleep(0)  # the loop resumes no task of a stopped process

    def broker(self) -> Broker:
        """Implements Broker."""
        return cast(Broker, _BrokerOf(self))

    def store(self, *, of_gateway: bool = False) -> Store:
        """Implements Store."""
        return cast(Store, _StoreOf(self, self.servers.read_store if of_gateway else self.servers.store))


class _BrokerOf:
    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def producer(self, client_id: str) -> "_Producer":
        return _Producer(self._reach, client_id)

    def group_consumer(self, client_id: str, group: Group) -> "SimulatedConsumer":
        consumer = SimulatedConsumer(client_id, group, self._reach)
        self._reach.consumers.append(consumer)
        return consumer

    def reader(self, client_id: str) -> "_Reader":
        return _Reader(self._reach)

    def admin(self) -> Any:
        return self._reach.servers.broker.admin()


class _Producer(FaultyProducer):
    """H36: each target partition has one produce call at a time."""

    def __init__(self, reach: Reach, client_id: str) -> None:
        super().__init__(reach.servers.broker)
        self._reach = reach
        self._busy: set[TopicPartition] = set()
        self._sent_at_s = 0.0
        self._has_hints = client_id.endswith("-hints")

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        target = TopicPartition(topic, partition)
        assert target not in self._busy or self._has_hints, f"H36: two produce calls at once for {target}"
        self._busy.add(target)
        self._reach.servers.witness.produces[target] += 1
        try:
            return await self._reach.call(
                lambda: super(_Producer, self).produce(topic, partition, records), "produce", target
            )
        finally:
            self._busy.discard(target)

    def send(self, topic: str, partition: int, record: NewRecord) -> "asyncio.Future[int]":
        """Appended after a delay, in the order of the calls."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        self._sent_at_s = max(self._sent_at_s + 1e-6, loop.time() + self._reach.servers.delay_s())

        def arrive() -> None:
            super(_Producer, self).send(topic, partition, record).add_done_callback(_passed_on_to(answer))

        loop.call_at(self._sent_at_s, arrive)
        return answer


def _passed_on_to(answer: "asyncio.Future[int]") -> "Callable[[asyncio.Future[int]], None]":
    def pass_on(done: "asyncio.Future[int]") -> None:
        if answer.done():
            return
        error = None if done.cancelled() else done.exception()
        if done.cancelled():
            answer.cancel()
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(done.result())

    return pass_on


class _Reader(FaultyReader):
    def __init__(self, reach: Reach) -> None:
        super().__init__(reach.servers.broker.log)
        self._reach = reach

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        return await self._reach.call(lambda: super(_Reader, self).poll(max_records, timeout_ms), "read")

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self._reach.call(lambda: super(_Reader, self).end_offsets(partitions), "end_offsets")


class SimulatedConsumer(FaultyConsumer):
    """A member whose callbacks run in its process, while the coordinator waits a bounded time for a stopped one."""

    def __init__(self, client_id: str, group: Group, reach: Reach) -> None:
        broker = reach.servers.broker
        super().__init__(client_id, broker.group(group), group.topics, broker.log)
        self.group_name = group.name
        self._reach = reach
        self._is_rejoining = False

    async def start(self, listener: AssignmentListener) -> None:
        if self.group_name in self._reach.silent_groups:
            await asyncio.Event().wait()
        await super().start(listener)

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        return await self._reach.call(lambda: super(SimulatedConsumer, self).poll(max_records, timeout_ms), "poll")

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        return await self._reach.call(lambda: super(SimulatedConsumer, self).committed(partitions), "committed")

    async def commit(self, epoch: int, positions: Mapping[TopicPartition, Committed]) -> bool:
        return await self._reach.call(lambda: super(SimulatedConsumer, self).commit(epoch, positions), "commit")

    async def stop(self) -> None:
        return await self._reach.call(lambda: super(SimulatedConsumer, self).stop(), "stop")

    def lose_session(self) -> None:
        """The coordinator takes the member for gone. The process continues as a zombie until it rejoins."""
        Context().run(self.expire)

    async def rejoin_if_dropped(self) -> None:
        """What the client library does when the answer to a heartbeat says that the member is unknown."""
        if self._is_rejoining or self._listener is None or not self._dropped.is_set():
            return
        self._is_rejoining = True
        while self._dropped.is_set():  # again, where the session was lost while it joined
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_JOIN_S):
                    await self.rejoin()
        self._is_rejoining = False

    async def _unless_dropped(self, step: Awaitable[None]) -> None:
        running = self._reach.process.spawn(cast(Any, step))
        dropped = asyncio.ensure_future(self._dropped.wait())
        await asyncio.wait([running, dropped], return_when=asyncio.FIRST_COMPLETED)
        dropped.cancel()


class _StoreOf:
    def __init__(self, reach: Reach, store: FaultyStore) -> None:
        self._reach, self._store = reach, store
        self.deployment = store.deployment

    async def start(self) -> None:
        await self._store.start()

    async def stop(self) -> None:
        await self._store.stop()

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        async def written() -> frozenset[int]:
            servers = self._reach.servers
            servers.witness.see(rows)
            unconfirmed = await self._store.write(rows)
            servers.confirmed.see(rows, unconfirmed)
            return unconfirmed

        return await self._reach.call(written, "write", rows)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def through(*args: Any, **named: Any) -> Any:
            return await self._reach.call(lambda: method(*args, **named), name, args)

        return through
