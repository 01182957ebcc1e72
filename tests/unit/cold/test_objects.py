"""The format: what is written is read back, by any slice, and no damage gives wrong rows."""

import base64
import contextlib
import random
import subprocess
import sys
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.cold.segments import ANY_SEGMENTS, segment_rows
from tidings.cold.checksums import rows_sha256
from tidings.cold.objects import (
    FORMAT,
    GROUP_ROWS,
    SCHEMA,
    ArchivedSegment,
    ObjectWriter,
    decode,
    decode_groups,
    encode,
    segments_in,
)
from tidings.errors import UnreadableObject
from tidings.store.rows import MessageRow

# The folder is empty again after each example, because the file is overwritten.
_SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object.parquet"


@pytest.mark.parametrize(
    "client_msg_id",
    ["019e807b-64bd-72f8-998c-fee423acc7de", "019E807B-64BD-72F8-998C-FEE423ACC7DE", "019e807b64bd72f8998cfee423acc7de",
     "019e807b-64bd-72f8-998c-fee423acc7d", " 019e807b-64bd-72f8-998c-fee423acc7de", "", "é" * 36,
     "00000000-0000-0000-0000-000000000000", "019e807b-64bd-72f8-998c-fee423acc7de\n",
     "٠19e807b-64bd-72f8-998c-fee423acc7de"],
)  # fmt: skip
def test_ids_that_are_or_look_like_uuids_are_read_back(path: Path, client_msg_id: str) -> None:
    rows = segment_rows(count=3)
    rows[1] = replace(rows[1], client_msg_id=client_msg_id)
    encode(path, [rows])
    assert decode(path, 0, 3) == rows


def test_uuids_take_half_the_space_of_texts(path: Path) -> None:
    draw = random.Random(1)
    texts = [str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(GROUP_ROWS)]
    rows = segment_rows(count=GROUP_ROWS)
    size = encode(path, [[replace(row, client_msg_id=text) for row, text in zip(rows, texts, strict=True)]]).size
    upper = encode(path, [[replace(row, client_msg_id=text.upper()) for row, text in zip(rows, texts, strict=True)]])
    assert upper.size - size > 2 * GROUP_ROWS


def packed() -> list[list[MessageRow]]:
    """Many small segments and a large one, over borders of row groups."""
    small = [segment_rows(f"d:a{n}:b", first_seq=n, count=1 + n % 7, mentions=("a",) * (n % 3)) for n in range(400)]
    return [*small[:200], segment_rows("g:large", 3, 20_001, 2 * GROUP_ROWS + 5), *small[200:]]


@_SHARED_FOLDER
@given(segments=ANY_SEGMENTS)
def test_rows_of_any_values_are_read_back(path: Path, segments: Sequence[list[MessageRow]]) -> None:
    written = encode(path, segments)
    rows = [row for segment in segments for row in segment]
    assert decode(path, 0, len(rows)) == rows
    assert decode(path.read_bytes(), 0, len(rows)) == rows
    assert segments_in(path) == written.segments


@pytest.mark.parametrize("body", [b"", b"\x00" * 24_576, random.Random(1).randbytes(24_576)])
def test_bodies_of_any_size_are_read_back(path: Path, body: bytes) -> None:
    rows = segment_rows(count=70, body=body)
    encode(path, [rows])
    assert decode(path, 0, 70) == rows


def test_absent_and_empty_mentions_stay_different(path: Path) -> None:
    rows = [replace(row, mentions=names) for row, names in zip(segment_rows(count=2), [None, ()], strict=True)]
    encode(path, [rows])
    assert [row.mentions for row in decode(path, 0, 2)] == [None, ()]


def test_index_names_place_and_checksum_of_each_segment(path: Path) -> None:
    segments = packed()
    written = encode(path, segments)
    assert segments_in(path) == written.segments
    first_row = 0
    for archived, rows in zip(written.segments, segments, strict=True):
        expected = (rows[0].session_id, rows[0].segment, rows[0].seq, first_row, len(rows), rows_sha256(rows))
        assert archived == ArchivedSegment(*expected)
        assert decode(path, archived.first_row, archived.rows) == rows
        first_row += len(rows)


@pytest.mark.parametrize("start", [0, 1, 500, GROUP_ROWS - 1, GROUP_ROWS, GROUP_ROWS + 1, 2 * GROUP_ROWS - 1])
@pytest.mark.parametrize("count", [0, 1, 2, 50, GROUP_ROWS, GROUP_ROWS + 1])
def test_slice_at_borders_of_row_groups(path: Path, start: int, count: int) -> None:
    rows = segment_rows(count=3 * GROUP_ROWS + 7)
    encode(path, [rows])
    assert decode(path, start, count) == rows[start : start + count]


def test_row_groups_have_a_fixed_number_of_rows(path: Path) -> None:
    written = encode(path, packed())
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sizes[:-1] == [GROUP_ROWS] * (len(sizes) - 1)
    assert sum(sizes) == sum(segment.rows for segment in written.segments)


def test_only_the_row_groups_of_the_slice_are_read(path: Path) -> None:
    encode(path, [segment_rows(count=3 * GROUP_ROWS)])
    data = bytearray(path.read_bytes())
    middle = pq.read_metadata(path).row_group(1).column(0)
    data[middle.dictionary_page_offset or middle.data_page_offset] ^= 0xFF
    assert len(decode(bytes(data), 2 * GROUP_ROWS, 50)) == 50
    with pytest.raises(UnreadableObject):
        decode(bytes(data), GROUP_ROWS, 50)


def test_groups_come_one_at_a_time(path: Path) -> None:
    rows = segment_rows(count=2 * GROUP_ROWS + 5)
    encode(path, [rows])
    groups = list(decode_groups(path, 10, 2 * GROUP_ROWS - 5))
    assert [len(group) for group in groups] == [GROUP_ROWS - 10, GROUP_ROWS, 5]
    assert [row for group in groups for row in group] == rows[10 : -0 or None][: 2 * GROUP_ROWS - 5]


def test_equal_rows_in_other_parts_give_equal_bytes(tmp_path: Path) -> None:
    segments = packed()
    encode(tmp_path / "one", segments)
    rows = [row for segment in segments for row in segment]
    with ObjectWriter(tmp_path / "two") as writer:
        for start in range(0, len(rows), 777):
            writer.add(rows[start : start + 777])
        written = writer.close()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert written.size == (tmp_path / "two").stat().st_size


def test_other_processes_write_the_same_bytes(path: Path) -> None:
    """No hash seed, clock or address is in the file."""
    program = f"""
from pathlib import Path
from tests.unit.cold.test_objects import packed
from tidings.cold.objects import encode
print(encode(Path({str(path)!r}), packed()).sha256.hex())
"""
    answers = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout
        for _ in range(2)
    }
    assert answers == {encode(path, packed()).sha256.hex() + "\n"}


@pytest.mark.parametrize(
    "rows",
    [
        [*segment_rows(count=2), *segment_rows(first_seq=4, count=1)],
        [*segment_rows(count=2), *segment_rows(first_seq=2, count=1)],
        [*segment_rows(count=2), *segment_rows("d:a:b", count=1), *segment_rows(first_seq=3, count=1)],
    ],
    ids=["a gap", "twice", "in two places"],
)
def test_rows_that_are_no_whole_segment_are_refused(path: Path, rows: list[MessageRow]) -> None:
    with pytest.raises(ValueError, match="d:alice:bob, segment 1"):
        encode(path, [rows])


def test_an_object_that_is_not_finished_cannot_be_read(path: Path) -> None:
    with ObjectWriter(path) as writer:
        writer.add(segment_rows(count=2 * GROUP_ROWS))
        assert (writer.rows, writer.size > 1000) == (2 * GROUP_ROWS, True)
    with pytest.raises(UnreadableObject):
        decode(path, 0, 1)


def test_columns_of_format_1_never_change() -> None:
    """Objects of format 1 are kept. A new column needs another FORMAT, and `decode` must still read this one."""
    assert FORMAT == 1
    assert [field.name for field in fields(MessageRow)] == [
        *("session_id", "segment", "seq", "message_id", "sender_id", "client_msg_id", "kind", "body", "at"),
        *("count", "log_epoch", "log_offset", "reply_to", "mentions"),
    ]


def test_every_cut_is_an_error(path: Path) -> None:
    encode(path, [segment_rows(count=20)])
    data = path.read_bytes()
    for end in [*range(0, len(data), 37), len(data) - 1]:
        with pytest.raises(UnreadableObject):
            decode(data[:end], 0, 20)


def test_no_flipped_byte_of_the_pages_gives_wrong_rows(path: Path) -> None:
    """CRCs find damage of pages. Damage of the footer is found by the SHA-256 of the object, or by its decoding."""
    rows = segment_rows(count=20)
    encode(path, [rows])
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for place in range(4, footer):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        try:
            assert decode(bytes(changed), 0, 20) == rows
        except UnreadableObject:
            continue


@_SHARED_FOLDER
@given(data=st.data())
def test_any_damage_is_the_one_error(path: Path, data: st.DataObject) -> None:
    """Also of the footer, where the rows may be wrong but no other error may come."""
    encode(path, [segment_rows(count=30), segment_rows("g:x", count=9)])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    for read in (lambda: decode(bytes(content), 3, 20), lambda: segments_in(bytes(content))):
        with contextlib.suppress(UnreadableObject):
            read()


def packed_index(json: bytes) -> str:
    return base64.b64encode(zlib.compress(json)).decode()


NO_SEGMENTS = packed_index(b"[]")


def write_parquet(path: Path, schema: Any = SCHEMA, group_rows: int = GROUP_ROWS, **metadata: str | None) -> None:
    """A Parquet file of one row group's size, with metadata like that of an object."""
    rows = segment_rows(count=10)
    missing = {"reactions": 1, "client_msg_uuid": None}
    columns = {field.name: [getattr(row, field.name, missing.get(field.name)) for row in rows] for field in schema}
    with pq.ParquetWriter(path, schema, store_schema=False) as writer:
        writer.write_table(pa.table(columns, schema=schema), row_group_size=group_rows)
        own = {"tidings.format": "1", "tidings.segments": NO_SEGMENTS} | metadata
        writer.add_key_value_metadata({name: value for name, value in own.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tidings.format": "2"}, "its format is 2"),
        ({"tidings.format": None}, "its format is none"),
        ({"tidings.segments": None}, "its format is 1"),
        ({"schema": SCHEMA.append(pa.field("reactions", pa.int64()))}, "its columns are not those of format 1"),
        ({"schema": SCHEMA.remove(3)}, "its columns are not those of format 1"),
        ({"schema": SCHEMA.set(2, pa.field("seq", pa.int32(), nullable=False))}, "its columns are not those"),
        ({"schema": SCHEMA.set(7, pa.field("body", pa.binary()))}, "its columns are not those"),
        ({"group_rows": 4}, "its row groups are not of 1024 rows"),
    ],
)
def test_other_file_is_refused_with_its_reason(path: Path, changes: dict[str, Any], said: str) -> None:
    write_parquet(path)
    assert decode(path, 0, 10) == segment_rows(count=10)
    write_parquet(path, **changes)
    with pytest.raises(UnreadableObject, match=said):
        decode(path, 0, 10)


@pytest.mark.parametrize("index", ["", "!", NO_SEGMENTS[:8], NO_SEGMENTS, packed_index(b"{}"), packed_index(b"[[1]]")])
def test_index_that_is_wrong_is_an_error(path: Path, index: str) -> None:
    changes: dict[str, Any] = {"tidings.segments": index}
    write_parquet(path, **changes)
    with pytest.raises(UnreadableObject):
        segments_in(path)


@pytest.mark.parametrize(("first_row", "rows"), [(-1, 1), (0, 11), (10, 1), (0, -1)])
def test_rows_that_are_not_there_are_an_error(path: Path, first_row: int, rows: int) -> None:
    encode(path, [segment_rows(count=10)])
    with pytest.raises(UnreadableObject, match="it has 10 rows"):
        decode(path, first_row, rows)


def test_missing_file_is_no_damage(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode(path, 0, 1)


def test_objects_need_no_numpy(path: Path) -> None:
    """pyarrow imports numpy if it is there. The image has none."""
    program = f"""
import sys
sys.modules["numpy"] = None
from pathlib import Path
from tests.unit.cold import test_objects
test_objects.test_index_names_place_and_checksum_of_each_segment(Path({str(path)!r}))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
