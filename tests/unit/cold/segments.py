"""Rows of archived segments, drawn by hypothesis or made up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.stored_rows import message_row
from tidings.cold.objects import ArchivedSegment, WrittenObject, encode
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import ColdPlace, SegmentRow

INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["", "\x00", "👩‍👩‍👧", "早"])


def segment_rows(
    session_id: str = "d:alice:bob", segment: int = 1, first_seq: int = 1, count: int = 3, **changes: Any
) -> list[MessageRow]:
    """Some messages of one segment."""
    seqs = range(first_seq, first_seq + count)
    return [message_row(seq, session_id, segment=segment, **changes) for seq in seqs]


@st.composite
def any_segment(draw: st.DrawFn, number: int, most: int = 6) -> list[MessageRow]:
    """Rows with any value that a column can have. `number` makes the segment a different one from others."""
    session_id, first_seq = draw(TEXTS), draw(st.integers(-(2**40), 2**40))
    integers = dict.fromkeys(("message_id", "kind", "at", "count", "log_epoch", "log_offset"), INTEGERS)
    others: dict[str, st.SearchStrategy[Any]] = {
        "sender_id": TEXTS,
        "client_msg_id": TEXTS,
        "body": st.binary(max_size=40),
        "reply_to": st.none() | INTEGERS,
        "mentions": st.none() | st.lists(TEXTS, max_size=3).map(tuple),
    }
    columns: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({**integers, **others})
    drawn = draw(st.lists(columns, min_size=1, max_size=most))
    return [MessageRow(session_id, number, first_seq + place, **values) for place, values in enumerate(drawn)]


ANY_SEGMENTS = st.integers(1, 5).flatmap(lambda count: st.tuples(*map(any_segment, range(count))))


def cold_segment(written: WrittenObject, archived: ArchivedSegment, object_key: str) -> SegmentRow:
    """The row of the directory that names the object of a segment."""
    place = ColdPlace(
        object_key,
        archived.first_row,
        archived.rows,
        last_count=archived.rows,
        last_at=0,
        object_sha256=written.sha256,
        rows_sha256=archived.rows_sha256,
        uncounted=b"",
        moved_at=0,
    )
    return SegmentRow(archived.session_id, archived.segment, archived.first_seq, 202608, 0, 0, cold=place)


def written_object(path: Path, segments: Sequence[Sequence[MessageRow]], key: str) -> tuple[bytes, list[SegmentRow]]:
    """The bytes of an object, and the directory's rows of its segments."""
    written = encode(path, segments)
    return path.read_bytes(), [cold_segment(written, archived, key) for archived in written.segments]
