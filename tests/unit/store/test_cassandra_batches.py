"""How rows become batches."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import message, segment
from tidings.runtime.ordered_writes import Mutation, OrderedWrites
from tidings.store.base import TaggedRow
from tidings.store.cassandra_batches import BATCH_BYTES, BATCH_ROWS, batches
from tidings.store.rows import MessageRow, Row

_LARGEST_MUTATION = 512 * 1024

rows_of_sessions = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 5000)), max_size=400
)  # session, length of the body


def _replica_set(row: Row) -> int:
    return len(getattr(row, "session_id", "")) % 3


def _tagged(shape: list[tuple[int, int]]) -> list[TaggedRow]:
    return [
        TaggedRow(number % 4, message("d:" + "x" * session, number, body=bytes(length)))
        for number, (session, length) in enumerate(shape)
    ]


@given(rows_of_sessions)
def test_every_row_is_in_one_batch_and_no_mutation_is_cut(shape: list[tuple[int, int]]) -> None:
    tagged = _tagged(shape)
    made = list(batches(tagged, _replica_set))
    assert Counter(row for batch in made for row in batch) == Counter(tagged)
    sessions = [{row.row.session_id for row in batch if isinstance(row.row, MessageRow)} for batch in made]
    sizes = Counter(session for session, _ in shape)
    bodies: Counter[int] = Counter()
    for session, length in shape:
        bodies[session] += length + 400
    uncut = {"d:" + "x" * session for session in sizes if bodies[session] <= _LARGEST_MUTATION}
    seen = Counter(session for names in sessions for session in names & uncut)
    assert all(count == 1 for count in seen.values())


@given(rows_of_sessions)
def test_a_batch_is_bounded_unless_one_mutation_is_larger(shape: list[tuple[int, int]]) -> None:
    for batch in batches(_tagged(shape), _replica_set):
        body_bytes = sum(len(tagged.row.body) for tagged in batch if isinstance(tagged.row, MessageRow))
        keys = {tagged.row for tagged in batch if isinstance(tagged.row, MessageRow)}
        if len({row.session_id for row in keys}) > 1:
            assert len(batch) <= BATCH_ROWS
            assert body_bytes <= BATCH_BYTES
        assert body_bytes < 1024 * 1024
        assert len({_replica_set(tagged.row) for tagged in batch}) == 1


def test_a_partition_above_the_largest_mutation_is_cut() -> None:
    tagged = [TaggedRow(0, message("d:a:b", seq, body=bytes(100_000))) for seq in range(1, 21)]
    made = list(batches(tagged, _replica_set))
    assert [row for batch in made for row in batch] == tagged
    assert max(len(batch) for batch in made) == 7


def test_rows_of_two_tables_with_one_partition_key_stay_together() -> None:
    tagged = [TaggedRow(0, segment(f"d:a:{number}", 1, 1)) for number in range(99)]
    tagged += [TaggedRow(0, segment("d:a:b", 1, 1)), TaggedRow(0, segment("d:a:b", 2, 9))]
    made = list(batches(tagged, lambda row: 0))
    assert [len(batch) for batch in made] == [99, 2]


@pytest.mark.hazard("H24")
@given(st.integers(1, 900), st.integers(0, 8_000), st.integers(0, 50), st.sampled_from([1, 64]))
def test_ordered_rows_are_never_split_whatever_their_size(
    count: int, body_bytes: int, mentions: int, id_length: int
) -> None:
    """Batches of one write are sent at once: of a session in two of them, a crash may leave the later part alone."""
    writes = OrderedWrites()
    for seq in range(1, count + 1):
        row = replace(message("d:a:b", seq, body=bytes(body_bytes)), mentions=("x" * id_length,) * mentions)
        writes.append_ordered("d:a:b", Mutation("rows", 0), TaggedRow(0, row))
    for wave in writes.waves():
        assert len(list(batches(wave, _replica_set))) == 1
