"""Marks, backoff, ordered writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.store.making import message
from tidings.runtime.backoff import Backoff
from tidings.runtime.marks import METADATA_MAX_BYTES, Marks, fits_metadata
from tidings.runtime.ordered_writes import MUTATION_BYTES, OrderedWrites
from tidings.store.base import TaggedRow
from tidings.store.rows import DeliveredRow, row_bytes
from tidings.wire.common_pb2 import Coordinates


def at(offset: int, part: int = 0, epoch: int = 0, partition: int = 0) -> Coordinates:
    return Coordinates(epoch=epoch, partition=partition, offset=offset, part=part)


@pytest.mark.hazard("H28")
def test_at_or_below_the_mark_is_a_repeat() -> None:
    marks = Marks()
    marks.advance(at(5, part=1))
    assert marks.is_repeat(at(5, part=1))
    assert marks.is_repeat(at(5, part=0))
    assert marks.is_repeat(at(4, part=9))
    assert not marks.is_repeat(at(5, part=2))
    assert not marks.is_repeat(at(6))


def test_a_higher_epoch_is_never_a_repeat() -> None:
    marks = Marks()
    marks.advance(at(1_000))
    assert not marks.is_repeat(at(0, epoch=1))


def test_source_partitions_have_marks_of_their_own() -> None:
    marks = Marks()
    marks.advance(at(5, partition=1))
    assert not marks.is_repeat(at(5, partition=2))


def test_a_round_works_on_a_copy() -> None:
    marks = Marks()
    marks.copy().advance(at(5))
    assert not marks.is_repeat(at(5))


@pytest.mark.hazard("H18")
@pytest.mark.parametrize("metadata", ["", "!", "AAAA", "bm90IG1hcmtz"])
def test_metadata_without_marks_is_an_error(metadata: str) -> None:
    with pytest.raises(ValueError, match="commit metadata"):
        Marks.decoded(metadata)


def test_no_marks_at_all_are_written_out() -> None:
    assert Marks().encoded()
    assert not Marks.decoded(Marks().encoded()).is_repeat(at(0))


@given(
    st.dictionaries(st.integers(0, 95), st.tuples(st.integers(0, 63), st.integers(0, 2**47 - 1), st.integers(0, 99)))
)
def test_marks_survive_the_way_through_a_commit(highest: dict[int, tuple[int, int, int]]) -> None:
    encoded = Marks(dict(highest)).encoded()
    assert len(encoded) <= METADATA_MAX_BYTES
    back = Marks.decoded(encoded)
    for partition, (epoch, offset, part) in highest.items():
        assert back.is_repeat(at(offset, part, epoch, partition))
        assert not back.is_repeat(at(offset, part + 1, epoch, partition))


def test_metadata_that_does_not_fit_is_known_in_advance() -> None:
    assert fits_metadata(96)
    assert not fits_metadata(1_000)


def test_backoff_doubles_up_to_its_bound() -> None:
    backoff = Backoff(first_ms=50, most_ms=300)
    assert [backoff.wait_ms(failures) for failures in (0, 1, 2, 3, 4, 99)] == [0, 50, 100, 200, 300, 300]


def row(name: str) -> TaggedRow:
    return TaggedRow(0, DeliveredRow(name, name, 1))


@pytest.mark.promise("G3")
@pytest.mark.hazard("H10")
def test_mutations_of_a_key_are_ordered_and_keys_share_waves() -> None:
    writes = OrderedWrites()
    writes.append_ordered("a", 1, row("a1"))
    writes.append_ordered("a", 1, row("a1+"))
    writes.append_ordered("a", 2, row("a2"))
    writes.append_ordered("b", 1, row("b1"))
    writes.append_unordered(row("side"))
    assert [list(wave) for wave in writes.waves()] == [[row("a1"), row("a1+"), row("b1"), row("side")], [row("a2")]]


@pytest.mark.hazard("H24")
def test_no_mutation_grows_past_the_largest() -> None:
    writes = OrderedWrites()
    for number in range(5):
        body = bytes(MUTATION_BYTES // 2 - row_bytes(message("a", 1, body=b"")))
        writes.append_ordered("a", 1, TaggedRow(0, message("a", number, body=body)))
    assert [len(list(wave)) for wave in writes.waves()] == [2, 2, 1]
