"""The tables in memory, with faults that tests set."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.faults.drawn import StoreFaults, WriteFault
from tidings.clock import Clock
from tidings.errors import StoreUnavailable
from tidings.store.base import TaggedRow
from tidings.store.memory import MemoryStore
from tidings.store.memory_tables import Partition, PartitionName, Slot, partition_of
from tidings.store.rows import BlockList, Row

R = TypeVar("R")


@dataclass(slots=True)
class _Late:
    """A mutation that lands after `calls` later write calls."""

    rows: Sequence[Row]
    calls: int


class FaultyStore(MemoryStore):
    """A MemoryStore whose writes get lost, flicker or land late, and whose reads fail."""

    def __init__(self, clock: Clock | None = None, faults: StoreFaults | None = None) -> None:
        super().__init__(clock)
        self.faults = faults or StoreFaults()
        # The rows that all replicas have. A read may miss all other rows, and a row never leaves this set.
        self.steady: set[Slot] = set()
        self._late: list[_Late] = []
        self._is_stalled = False

    def stall(self) -> None:
        """Stop answering: reads raise StoreUnavailable, writes are unconfirmed and land at `heal`."""
        self._is_stalled = True

    def heal(self) -> None:
        """End `stall`."""
        self._is_stalled = False
        self.land_late()

    def land_late(self) -> None:
        """Apply all delayed mutations now."""
        late, self._late = self._late, []
        for mutation in late:
            self._apply(mutation.rows)

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        await super().answer("write")
        self._count_down_late()
        mutations: dict[object, list[TaggedRow]] = {}
        for tagged in rows:
            mutations.setdefault(partition_of(tagged.row).key, []).append(tagged)
        unconfirmed: set[int] = set()
        for mutation in mutations.values():
            if not self._mutate([tagged.row for tagged in mutation]):
                unconfirmed.update(tagged.source_partition for tagged in mutation)
        return frozenset(unconfirmed)

    async def replace_block_list(self, changed: BlockList, seen_version: int) -> bool:
        """With every fault the change takes effect now or never, so that it cannot follow a later call."""
        await self.answer("replace_block_list")
        self._check_partition(BlockList.table, changed.user_id)
        fault = self.faults.write()
        is_applied = fault is not WriteFault.LOST and self._replace_block_list(changed, seen_version)
        if fault is not WriteFault.NONE:
            raise StoreUnavailable("replace_block_list: the outcome is unknown")
        return is_applied

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        found = await super().block_lists(user_ids)
        for user_id in user_ids:
            self._check_partition(BlockList.table, user_id)
        return found

    def _mutate(self, rows: Sequence[Row]) -> bool:
        """Apply one mutation, or apply the next fault. Returns whether it is confirmed."""
        if self._is_stalled:
            self._late.append(_Late(rows, -1))
            return False
        fault = self.faults.write()
        if fault is WriteFault.LATE:
            self._late.append(_Late(rows, self.faults.late_writes()))
        elif fault is WriteFault.FLICKERING:
            for row in rows:
                self._put(row)
        elif fault is not WriteFault.LOST:
            self._apply(rows)
        return fault is WriteFault.NONE

    def _apply(self, rows: Sequence[Row]) -> None:
        self.steady.update(self._put(row) for row in rows)

    def _count_down_late(self) -> None:
        for late in tuple(self._late):
            late.calls -= 1
            if late.calls == 0:
                self._late.remove(late)
                self._apply(late.rows)

    async def answer(self, method: str) -> None:
        await super().answer(method)
        if self._is_stalled or self.faults.read_fails():
            raise StoreUnavailable(f"{method}: the tables did not answer")

    def partition(self, table: str, key: Any) -> Partition:
        self._check_partition(table, key)
        return super().partition(table, key)

    def _check_partition(self, table: str, key: Any) -> None:
        """Raise for a partition that cannot be read. It fails the whole call, as with IN."""
        if PartitionName(table, key) in self.faults.unreadable:
            raise StoreUnavailable(f"{table}: the partition {key} cannot be read")

    def _visible(self, slots: Iterable[Slot], kind: type[R]) -> Iterator[R]:
        seen = (slot for slot in slots if slot in self.steady or not self.faults.is_hidden())
        return super()._visible(seen, kind)
