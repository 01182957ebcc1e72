"""The checksum of rows depends on every column and on nothing else."""

from dataclasses import fields, replace
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cold.segments import any_segment, segment_rows
from tidings.cold.checksums import RowsChecksum, rows_sha256
from tidings.store.rows import MessageRow

COLUMNS = [column.name for column in fields(MessageRow)]
HINTS = get_type_hints(MessageRow)
OTHERS: dict[object, list[Any]] = {
    int: [-1, 2**62],
    str: ["", "other", "\x00"],
    bytes: [b"", b"other", b"\x00"],
    int | None: [None, 0, -1],
    tuple[str, ...] | None: [None, (), ("",), ("a", "b"), ("ab",), ("a", "", "b")],
}


@pytest.mark.parametrize("column", COLUMNS)
def test_checksum_covers_every_column_of_each_row(column: str) -> None:
    rows = segment_rows(count=3)
    seen = {rows_sha256(rows)}
    others = [value for value in OTHERS[HINTS[column]] if value != getattr(rows[1], column)]
    for value in others:
        changes: dict[str, Any] = {column: value}
        seen.add(rows_sha256([rows[0], replace(rows[1], **changes), rows[2]]))
    assert len(seen) == 1 + len(others)


@given(rows=any_segment(1), others=any_segment(1))
def test_checksums_are_equal_only_for_equal_rows(rows: list[MessageRow], others: list[MessageRow]) -> None:
    assert (rows_sha256(rows) == rows_sha256(others)) == (rows == others)


@given(rows=any_segment(1, most=12), cuts=st.lists(st.integers(0, 12), max_size=4))
def test_checksum_is_the_same_for_rows_in_any_parts(rows: list[MessageRow], cuts: list[int]) -> None:
    checksum = RowsChecksum()
    ends = [*sorted(cuts), len(rows)]
    for start, end in zip([0, *ends], ends, strict=False):
        checksum.add(rows[start:end])
    assert checksum.digest() == rows_sha256(rows)


def test_text_cannot_move_from_a_column_to_the_next() -> None:
    (row,) = segment_rows(count=1, sender_id="ab", client_msg_id="c")
    assert rows_sha256([row]) != rows_sha256([replace(row, sender_id="a", client_msg_id="bc")])


def test_checksum_depends_on_the_order_of_the_rows() -> None:
    rows = segment_rows(count=2)
    assert rows_sha256(rows) != rows_sha256(rows[::-1])


def test_checksum_of_archived_rows_never_changes() -> None:
    """The directory holds checksums that were made earlier. Another encoding would make all segments damaged."""
    rows = segment_rows(count=2, mentions=("alice", "早"), reply_to=-1)
    assert rows_sha256(rows).hex() == "1020147d100a930200680910908ecbec95ca2a096fed0772682e5a6d90325010"
