"""Writes of a round, in waves."""

import pytest

from tests.builders import message
from tidings.runtime.ordered_writes import MUTATION_BYTES, Mutation, OrderedWrites
from tidings.store.base import TaggedRow
from tidings.store.rows import DeliveredRow, row_bytes


def row(name: str) -> TaggedRow:
    return TaggedRow(0, DeliveredRow(name, name, 1))


@pytest.mark.promise("G3")
@pytest.mark.hazard("H10")
def test_mutations_of_a_key_are_ordered_and_keys_share_waves() -> None:
    writes = OrderedWrites()
    writes.append_ordered("a", Mutation("rows", 1), row("a1"))
    writes.append_ordered("a", Mutation("rows", 1), row("a1+"))
    writes.append_ordered("a", Mutation("rows", 2), row("a2"))
    writes.append_ordered("b", Mutation("rows", 1), row("b1"))
    writes.append_unordered(row("side"))
    assert [list(wave) for wave in writes.waves()] == [[row("a1"), row("a1+"), row("b1"), row("side")], [row("a2")]]


@pytest.mark.hazard("H24")
def test_no_mutation_grows_past_the_largest() -> None:
    writes = OrderedWrites()
    for number in range(5):
        body = bytes(MUTATION_BYTES // 2 - row_bytes(message("a", 1, body=b"")))
        writes.append_ordered("a", Mutation("rows", 1), TaggedRow(0, message("a", number, body=body)))
    assert [len(list(wave)) for wave in writes.waves()] == [2, 2, 1]
