"""The world of one run: a loop that never waits, a clock that only the schedule moves, log and tables with faults."""

import asyncio
import random
import selectors
from collections.abc import Callable, Collection, Coroutine, Hashable, Sequence
from typing import Any, cast

from tests.unit.hazards.owners import Witness
from tidings.broker.base import Committed, NewRecord, Record, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.broker.memory_faults import FaultRates as LogRates
from tidings.broker.memory_faults import Faults as LogFaults
from tidings.runtime.marks import Marks
from tidings.store.base import TaggedRow
from tidings.store.memory import MemoryStore
from tidings.store.memory_faults import FaultRates as StoreRates
from tidings.store.memory_faults import Faults as StoreFaults
from tidings.store.memory_faults import WriteFault
from tidings.store.rows import GroupRow, InboxRow, KeyRow, MemberRow, MessageRow
from tidings.topics import GROUPS, Group, TopicSizes, declared
from tidings.wire.common_pb2 import KIND_SYSTEM
from tidings.wire.push_pb2 import SendAck

# 2026-11-23 12:00 UTC.
NOON_MS = 1_795_435_200_000
EPOCH = 0
GATEWAYS = 2
SIZES = TopicSizes(session_partitions=2, user_partitions=2, push_partitions=GATEWAYS)
_TURNS_AT_MOST = 20_000


class _NoSelector(selectors.SelectSelector):
    """Where others would ask the system and sleep, this one moves the loop's own time on."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        self.now_s += timeout
        return []


class _Loop(asyncio.SelectorEventLoop):
    """Without system calls, so that a step costs microseconds."""

    def __init__(self) -> None:
        self._never = _NoSelector()
        # Timers of the stages follow the schedule's clock.
        self.clock = Clock()
        super().__init__(self._never)

    def time(self) -> float:
        return self._never.now_s + self.clock.now_ms / 1000


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run one scenario; what nobody looked at fails it too."""
    unseen: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
        await scenario()

    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(main())
    assert not unseen, unseen


class Clock:
    """The broker's clock; `now_ms` moves by the schedule alone, `jumped_ms` is what it is wrong by."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.jumped_ms = 0

    def wall_ms(self) -> int:
        """See Clock."""
        return NOON_MS + self.now_ms + self.jumped_ms

    def monotonic_ms(self) -> int:
        """See Clock."""
        return self.now_ms


class _NoFaults:
    """How clients see the tables: a quorum has repaired whatever one of them read (read_repair BLOCKING)."""

    unreadable: frozenset[tuple[str, Hashable]] = frozenset()

    def write(self) -> WriteFault:
        return WriteFault.NONE

    def read_fails(self) -> bool:
        return False

    def is_hidden(self) -> bool:
        return False


class World:
    """Everything outside the processes."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.trouble = self.chance.choice((0.0, 0.02, 0.08))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _Loop)
        self.clock = loop.clock
        self.log_faults = LogFaults(seed, _log_rates(self.trouble))
        self.store_faults = StoreFaults(seed, _store_rates(self.trouble))
        self.broker = MemoryBroker(self.clock, self.log_faults)
        self.store = MemoryStore(self.clock, self.store_faults)
        self.witness = Witness()
        self.confirmed = Confirmed()
        for topic in declared(SIZES):
            self.broker.log.create(topic)
        self.groups = {group.name: Commits(group, self.log_faults) for group in GROUPS}
        self.read_store = MemoryStore(self.clock, cast(StoreFaults, _NoFaults()))
        self.read_store._partitions = self.store._partitions

    def append(self, topic: str, partition: int, value: bytes, key: bytes | None = None) -> int:
        """A record that has arrived; its offset."""
        return self.broker.log.append(TopicPartition(topic, partition), [NewRecord(value, key)])

    def read(self, topic: str, partition: int, offset: int, most: int = 10_000) -> list[Record]:
        """Records from an offset on."""
        return self.broker.partition(TopicPartition(topic, partition)).read(offset, most)

    def end(self, topic: str, partition: int) -> int:
        """The offset after the last record."""
        return self.broker.partition(TopicPartition(topic, partition)).end_offset

    def heal(self) -> None:
        """No more faults; what was late has landed."""
        self.log_faults.rates, self.store_faults.rates = LogRates(), StoreRates()
        self.broker.land_late()
        self.store.heal()


class Confirmed:
    """What a quorum has confirmed, to be asked at the moment of an ack (laws 6 and 8)."""

    def __init__(self) -> None:
        self._messages: dict[tuple[str, int], MessageRow] = {}
        self._keys: set[tuple[str, str, str, int]] = set()
        self._versions: set[tuple[str, int]] = set()
        self._inbox_tails: dict[str, int] = {}

    def inbox_tail(self, user_id: str) -> int:
        """The highest place of an inbox that is confirmed; whatever is pushed above it may not be stored yet."""
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
            elif isinstance(row, InboxRow):
                self._inbox_tails[row.user_id] = max(row.inbox_seq, self.inbox_tail(row.user_id))
            elif isinstance(row, GroupRow | MemberRow):
                self._versions.add((row.session_id, row.as_of_seq))

    def check_ack(self, ack: SendAck) -> None:
        """The message and all its side rows are there."""
        place = (ack.session_id, ack.seq)
        if ack.seq == 0:
            return  # nobody was added: nothing is stored
        message = self._messages.get(place)
        assert message is not None, f"G1: {place} is acked before its message is stored"
        key = (ack.session_id, message.sender_id, ack.client_msg_id, ack.seq)
        assert key in self._keys, f"G1, G2: {place} is acked before its key is stored"
        is_versioned = message.kind != KIND_SYSTEM or place in self._versions
        assert is_versioned, f"law 6: {place} is acked before its group and member versions are stored"


class Commits:
    """What a consumer group's coordinator keeps: offsets with marks, taken from the current generation alone."""

    def __init__(self, group: Group, faults: LogFaults) -> None:
        self.group = group
        self.generation = 0
        names = [(topic.name, topic.partitions) for topic in declared(SIZES) if topic.name in group.topics]
        self.partitions = [TopicPartition(name, number) for name, count in names for number in range(count)]
        self.stored = {partition: Committed(0, Marks().encoded()) for partition in self.partitions}
        self.faults = faults

    def commit(self, generation: int, positions: dict[TopicPartition, Committed]) -> bool:
        """Whether the member was told that it is done."""
        if generation != self.generation:
            return False
        fault = self.faults.commit()
        if fault.name in ("NONE", "UNCONFIRMED"):
            self.stored.update(positions)
        return fault.name in ("NONE", "LOST")


async def pumped(is_done: Callable[[], bool]) -> None:
    """Let tasks run until it is so."""
    for _ in range(_TURNS_AT_MOST):
        if is_done():
            return
        await asyncio.sleep(0)
    raise AssertionError("a round never ends")


def _log_rates(trouble: float) -> LogRates:
    return LogRates(
        produce_lost=trouble,
        produce_unconfirmed=trouble,
        produce_partial=trouble,
        produce_late=trouble,
        commit_lost=trouble,
        commit_failed=trouble,
        commit_unconfirmed=trouble,
        coordinator_loading=trouble,
    )


def _store_rates(trouble: float) -> StoreRates:
    return StoreRates(
        write_lost=trouble,
        write_unconfirmed=trouble,
        write_flickering=trouble,
        write_late=trouble,
        read_failed=trouble / 2,
    )
