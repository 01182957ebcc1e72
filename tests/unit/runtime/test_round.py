"""How a round writes."""

from collections.abc import Sequence
from typing import cast

import pytest

from tidings.broker.base import TopicPartition
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.runtime.round import Round, RoundDropped
from tidings.store.base import Store, TaggedRow
from tidings.store.rows import DeliveredRow

HALF_THE_SESSION_S = 4.0
# Of a node that is busy with other things.
ROWS_PER_S = 1_000


class SlowStore:
    """Takes its time for every row. The rows chosen to fail are not confirmed."""

    def __init__(self, failing: int = -1) -> None:
        self.now_s = 0.0
        self.written: list[TaggedRow] = []
        self._failing = failing

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        """See Store."""
        self.now_s += len(rows) / ROWS_PER_S
        self.written.extend(rows)
        return frozenset({self._failing} & {source_partition for source_partition, _ in rows})


def writes(count: int) -> OrderedWrites:
    """So many side rows, by turns of the partitions 0 and 1."""
    made = OrderedWrites()
    for number in range(count):
        made.append_unordered(TaggedRow(number % 2, DeliveredRow("d:a:b", f"user{number}", 1)))
    return made


def round_on(store: SlowStore) -> Round[object]:
    """A round that is dropped after an await of more than half the session time-out, as in a worker."""
    alive_s = [0.0]

    def is_still_assigned() -> bool:
        waited_s, alive_s[0] = store.now_s - alive_s[0], store.now_s
        return waited_s <= HALF_THE_SESSION_S

    return Round[object]({TopicPartition("deliveries", 0): ()}, {}, {}, is_still_assigned)


async def test_a_wave_of_any_size_does_not_drop_its_round() -> None:
    store = SlowStore()
    work = round_on(store)
    await work.write(cast(Store, store), writes(31_000))
    work.ensure_still_assigned()
    assert store.now_s > HALF_THE_SESSION_S
    assert [row.row for row in store.written] == [DeliveredRow("d:a:b", f"user{number}", 1) for number in range(31_000)]


async def test_failed_partition_gets_no_further_writes() -> None:
    store = SlowStore(failing=1)
    work = round_on(store)
    await work.write(cast(Store, store), writes(10_000))
    assert work.failed.keys() == {1}
    assert sum(source_partition == 0 for source_partition, _ in store.written) == 5_000
    assert sum(source_partition == 1 for source_partition, _ in store.written) == 1_000


async def test_a_round_of_a_revoked_assignment_writes_nothing_more() -> None:
    store = SlowStore()
    work = Round[object]({}, {}, {}, lambda: not store.written)
    with pytest.raises(RoundDropped):
        await work.write(cast(Store, store), writes(10_000))
    assert len(store.written) == 2_000
