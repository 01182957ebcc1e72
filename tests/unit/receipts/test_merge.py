"""Watermarks are maxima."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.receipts.merge import Claim, Merged, Watermarks, recipients_of, rows_of
from tidings.store.rows import DeliveredRow, ReadRow, ReceiptRow

PLACE = ("d:alice:bob", "bob")


def claim(delivered: int = 0, read: int = 0, at_ms: int = 1) -> Claim:
    return Claim(*PLACE, delivered, read, at_ms)


def test_reading_implies_delivery() -> None:
    merged = Merged()
    merged.claim(claim(read=5), head_seq=9, published=Watermarks(), stored=Watermarks())
    assert merged.moved[PLACE] == Watermarks(5, 5, 1)


@pytest.mark.promise("G8")
def test_beyond_the_head_counts_as_the_head() -> None:
    merged = Merged()
    merged.claim(claim(delivered=1_000, read=50), head_seq=9, published=Watermarks(), stored=Watermarks())
    assert merged.moved[PLACE] == Watermarks(9, 9, 1)


def test_last_claim_of_a_round_decides_if_the_peer_sees_it() -> None:
    open_claim, hidden = claim(read=5), Claim(*PLACE, 0, 6, 1, is_hidden_from_peer=True)
    for claims, is_hidden in (((open_claim, hidden), True), ((hidden, open_claim), False), ((hidden, hidden), True)):
        merged = Merged()
        for one in claims:
            merged.claim(one, head_seq=9, published=None, stored=Watermarks())
        assert merged.moved[PLACE].read_seq == max(one.read_seq for one in claims)
        assert (PLACE in merged.hidden) is is_hidden
    assert recipients_of(PLACE) == ("alice", "bob")
    assert recipients_of(PLACE, is_hidden_from_peer=True) == ("bob",)
    assert recipients_of(("g:1", "bob"), is_hidden_from_peer=True) == ("bob",)


@pytest.mark.hazard("H26")
def test_late_lower_watermark_moves_nothing() -> None:
    merged = Merged()
    merged.claim(claim(delivered=3, read=2), head_seq=9, published=Watermarks(5, 5, 1), stored=Watermarks())
    assert not merged.moved


@pytest.mark.parametrize("said", [claim(delivered=2), claim(delivered=7, at_ms=9), claim(read=7, at_ms=9)])
def test_new_owner_writes_and_publishes_stored_watermarks_again(said: Claim) -> None:
    """Law 5, and G8: a process that has sent nothing sends the maximum of what is stored and said."""
    merged = Merged()
    merged.claim(said, head_seq=9, published=None, stored=Watermarks.of_row(ReceiptRow(*PLACE, 0, 7, 4, 2)))
    assert merged.moved[PLACE] == Watermarks(7, 7, 2, 4)
    assert list(rows_of(PLACE, merged.moved[PLACE], None, 4)) == [DeliveredRow(*PLACE, 7), ReadRow(*PLACE, 7, 4, 2)]


def test_empty_claim_publishes_nothing() -> None:
    """In read diffusion only `read` counts: an ack of what is delivered must not make a new owner send all again."""
    merged = Merged()
    merged.claim(claim(), head_seq=9, published=None, stored=Watermarks(7, 7, 2, 4))
    assert not merged.moved


def test_rows_carry_the_watermark_as_their_write_timestamp() -> None:
    assert DeliveredRow(*PLACE, 7).write_timestamp == 7
    assert ReadRow(*PLACE, 6, 4, 99).write_timestamp == 6


def test_only_what_rose_is_written() -> None:
    rows = list(rows_of(PLACE, Watermarks(9, 5, 1), Watermarks(5, 5, 1), 0))
    assert rows == [DeliveredRow(*PLACE, 9)]


@pytest.mark.promise("G8")
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1))
def test_any_order_of_repeated_claims_gives_the_same_watermarks(said: list[tuple[int, int]]) -> None:
    def end(claims: list[tuple[int, int]]) -> tuple[int, int]:
        watermarks = Watermarks()
        for delivered, read in claims:
            before = (watermarks.delivered_seq, watermarks.read_seq)
            watermarks.raise_to(delivered, read, 1)
            assert (watermarks.delivered_seq, watermarks.read_seq) >= before
            assert watermarks.read_seq <= watermarks.delivered_seq
        return watermarks.delivered_seq, watermarks.read_seq

    assert end(said) == end(sorted(said)) == end(said + said[::-1])


def test_group_watermark_goes_to_devices_of_its_user_only() -> None:
    assert recipients_of(("g:1", "bob")) == ("bob",)
    assert recipients_of(("d:alice:bob", "bob")) == ("alice", "bob")
