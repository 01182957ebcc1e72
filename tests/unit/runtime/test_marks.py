"""Marks: which coordinates are repeats, and how they survive a commit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.runtime.marks import METADATA_MAX_BYTES, Marks, fits_metadata
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
