"""The format of archived messages: one Parquet file with the rows of one large segment, or of many small ones.

- The columns are those of MessageRow, with the same names. Optional columns are nullable. Integers have 64 bits.
- A client_msg_id that is a UUID, in lower case, is in `client_msg_uuid` as 16 bytes, and any other one is a text.
- The rows of a segment are together, in the order of their seqs, without gaps. So the row of a seq is
  `place.first_row + seq - first_seq`, counted over the file.
- A row group has GROUP_ROWS rows, wherever segments begin. Only the last one has fewer. So a row r is in group
  r // GROUP_ROWS, and a page of history reads one group or two.
- The file's metadata has FORMAT under `tidings.format`, and the index of its segments under `tidings.segments`: the
  fields of ArchivedSegment as JSON, compressed by zlib, as base64. So an object describes itself without the directory.
- Pages are compressed by zstd and have CRCs. Nothing in the file depends on the time, so equal rows give equal bytes
  with the same version of pyarrow.

A column that MessageRow gets later needs a new FORMAT, and `decode` has to give it a value in older files.
All calls block, so an event loop makes them in a thread.
"""

import base64
import binascii
import contextlib
import hashlib
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, get_type_hints

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tidings.cold.checksums import RowsChecksum
from tidings.errors import UnreadableObject
from tidings.store.rows import MessageRow

FORMAT = 1
# A page of 50 messages costs the decoding of one group: 1 ms for bodies of 70 bytes. Bodies of 24 KiB make it 24 MiB.
GROUP_ROWS = 1024
# 3 has the size of 9 on chat messages (50 bytes each), at twice the speed. 15 saves 5 % at a sixth of the speed.
_ZSTD_LEVEL = 3
# Between two of pyarrow's checks whether a page has 1 MiB, so that no page of large bodies has 24 MiB.
_ROWS_AT_ONCE = 32
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FORMAT_KEY, _SEGMENTS_KEY = b"tidings.format", b"tidings.segments"
# Of the JSON: 150 bytes for each segment, and an object of 4 MiB has about 5,000 segments of 20 messages.
_MOST_INDEX_BYTES = 256 * 1024 * 1024

_COLUMNS = tuple(column.name for column in fields(MessageRow))
_values = attrgetter(*_COLUMNS)
_TEXTS = pa.list_(pa.field("element", pa.string(), nullable=False))
_TYPES: dict[object, tuple[Any, bool]] = {
    int: (pa.int64(), False),
    str: (pa.string(), False),
    bytes: (pa.binary(), False),
    int | None: (pa.int64(), True),
    tuple[str, ...] | None: (_TEXTS, True),
}
_HINTS = get_type_hints(MessageRow)
_UUIDS = pa.field("client_msg_uuid", pa.binary(16))
_TEXT_IDS = _COLUMNS.index("client_msg_id")
SCHEMA = pa.schema([pa.field(name, *_TYPES[_HINTS[name]]) for name in _COLUMNS])
SCHEMA = SCHEMA.set(_TEXT_IDS, pa.field("client_msg_id", pa.string())).append(_UUIDS)
# Few values in a group.
_DICTIONARY = ["session_id", "sender_id", "kind", "log_epoch"]
# Neighbours differ by little. UUIDs share their first bytes, which are a time, so each byte gets a stream of its own.
_ENCODINGS = {
    **{field.name: "DELTA_BINARY_PACKED" for field in SCHEMA if field.type == pa.int64()},
    "client_msg_id": "DELTA_LENGTH_BYTE_ARRAY",
    _UUIDS.name: "BYTE_STREAM_SPLIT",
    "body": "DELTA_LENGTH_BYTE_ARRAY",
}
_TUPLES = [number for number, field in enumerate(SCHEMA) if field.type == _TEXTS]


class ArchivedSegment(NamedTuple):
    """Where the messages of a segment are in an object. The seqs are first_seq … first_seq + rows - 1."""

    session_id: str
    segment: int
    first_seq: int
    first_row: int
    rows: int
    rows_sha256: bytes


class WrittenObject(NamedTuple):
    """A finished object. `size` in bytes; `sha256` of all its bytes."""

    segments: Sequence[ArchivedSegment]
    size: int
    sha256: bytes


class ObjectWriter:
    """Writes one object to a local file, in the memory of one row group. After an error the file is incomplete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = pa.OSFile(str(path), "wb")
        self._parquet: Any = pq.ParquetWriter(
            self._file,
            SCHEMA,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=_DICTIONARY,
            column_encoding={name: how for name, how in _ENCODINGS.items() if name not in _DICTIONARY},
            write_batch_size=_ROWS_AT_ONCE,
            write_statistics=False,
            write_page_checksum=True,
            store_schema=False,
        )
        self._segments: dict[tuple[str, int], _OpenSegment] = {}
        self._last: tuple[str, int] | None = None
        self._waiting: list[MessageRow] = []
        self._rows = 0

    @property
    def size(self) -> int:
        """The bytes written so far. Up to a row group and the index are still to come."""
        return int(self._file.tell())

    @property
    def rows(self) -> int:
        """The rows added so far."""
        return self._rows

    def add(self, rows: Sequence[MessageRow]) -> None:
        """The next rows: of the same segment as the last ones, or the beginning of another segment.

        ValueError: a seq is not the next one, or the rows of a segment are not together. The file is no object then.
        """
        for name, group in itertools.groupby(rows, key=lambda row: (row.session_id, row.segment)):
            part = list(group)
            if name != self._last:
                if name in self._segments:
                    raise ValueError(f"{name[0]}, segment {name[1]}: its rows are not together")
                self._segments[name] = _OpenSegment(*name, part[0].seq, self._rows)
                self._last = name
            self._segments[name].add(part)
            self._rows += len(part)
            self._waiting += part
            self._write_groups()

    def close(self) -> WrittenObject:
        """Finish the file."""
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []
        segments = [segment.archived() for segment in self._segments.values()]
        self._parquet.add_key_value_metadata({_FORMAT_KEY: str(FORMAT), _SEGMENTS_KEY: _packed(segments)})
        self._parquet.close()
        self._file.close()
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        return WrittenObject(segments, self._path.stat().st_size, digest)

    def __enter__(self) -> "ObjectWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, if `close` has not done so. It is incomplete then."""
        if not self._file.closed:
            with contextlib.suppress(pa.ArrowException, OSError):
                self._parquet.close()
            self._file.close()

    def _write_groups(self) -> None:
        while len(self._waiting) >= GROUP_ROWS:
            self._write(self._waiting[:GROUP_ROWS])
            del self._waiting[:GROUP_ROWS]

    def _write(self, rows: Sequence[MessageRow]) -> None:
        values = [*zip(*map(_values, rows), strict=True)]
        uuids = [_uuid_of(text) for text in values[_TEXT_IDS]]
        values[_TEXT_IDS] = tuple(None if uuid else text for text, uuid in zip(values[_TEXT_IDS], uuids, strict=True))
        columns = [
            pa.array(column, type=field.type, from_pandas=False)
            for field, column in zip(SCHEMA, [*values, uuids], strict=True)
        ]
        self._parquet.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=GROUP_ROWS)


class _OpenSegment:
    """A segment while its rows are written."""

    def __init__(self, session_id: str, number: int, first_seq: int, first_row: int) -> None:
        self.session_id = session_id
        self.number = number
        self._first_seq = first_seq
        self._first_row = first_row
        self._rows = 0
        self._checksum = RowsChecksum()

    def add(self, rows: Sequence[MessageRow]) -> None:
        for row in rows:
            expected = self._first_seq + self._rows
            if row.seq != expected:
                raise ValueError(
                    f"{self.session_id}, segment {self.number}: seq {row.seq} comes where {expected} should"
                )
            self._rows += 1
        self._checksum.add(rows)

    def archived(self) -> ArchivedSegment:
        digest = self._checksum.digest()
        return ArchivedSegment(self.session_id, self.number, self._first_seq, self._first_row, self._rows, digest)


def encode(path: Path, segments: Sequence[Sequence[MessageRow]]) -> WrittenObject:
    """Write the segments to a file as one object. `ObjectWriter` does it with less memory."""
    with ObjectWriter(path) as writer:
        for rows in segments:
            writer.add(rows)
        return writer.close()


def decode(source: Path | bytes, first_row: int, rows: int) -> list[MessageRow]:
    """So many rows of an object from `first_row` on. Only their row groups are read.

    UnreadableObject: the object is damaged, of another format, or has no such rows. OSError: of the file system.
    """
    return [row for group in decode_groups(source, first_row, rows) for row in group]


def decode_groups(source: Path | bytes, first_row: int, rows: int) -> Iterator[list[MessageRow]]:
    """As `decode`, one row group at a time, in the memory of one."""
    with _opened(source) as file:
        if first_row < 0 or rows < 0 or first_row + rows > file.metadata.num_rows:
            raise UnreadableObject(f"it has {file.metadata.num_rows} rows, and {first_row} + {rows} are wanted")
        row, end = first_row, first_row + rows
        while row < end:
            group = row // GROUP_ROWS
            stop = min(end, (group + 1) * GROUP_ROWS)
            yield _rows_of(_group(file, group), row % GROUP_ROWS, stop - row)
            row = stop


def segments_in(source: Path | bytes) -> list[ArchivedSegment]:
    """The index of an object. Raises as `decode` does."""
    with _opened(source) as file:
        segments = _unpacked(file.metadata.metadata[_SEGMENTS_KEY])
        ends = [0, *itertools.accumulate(segment.rows for segment in segments)]
        if [*(segment.first_row for segment in segments), file.metadata.num_rows] != ends:
            raise UnreadableObject(f"its index is not of its {file.metadata.num_rows} rows")
        return segments


@contextlib.contextmanager
def _opened(source: Path | bytes) -> Iterator[Any]:
    """The file, after a check of what its metadata says."""
    # Not memory-mapped, because a read error of the disk would then end the process. It is not faster either.
    with _reading(), contextlib.ExitStack() as stack:
        opened = stack.enter_context(pa.OSFile(str(source)) if isinstance(source, Path) else pa.BufferReader(source))
        file = stack.enter_context(pq.ParquetFile(opened, page_checksum_verification=True, pre_buffer=False))
        _check(file)
        yield file


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn what pyarrow raises for damaged files into UnreadableObject. It has no error of its own for them."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file system; pyarrow's own have no number
        raise UnreadableObject(f"it cannot be decoded: {str(error)[:200]}") from error


def _check(file: Any) -> None:
    metadata = file.metadata
    own = metadata.metadata or {}
    if own.get(_FORMAT_KEY) != str(FORMAT).encode() or _SEGMENTS_KEY not in own:
        shown = own.get(_FORMAT_KEY, b"")[:20].decode(errors="replace") or "none"
        raise UnreadableObject(f"its format is {shown}, and this version of Tidings reads {FORMAT}")
    if not file.schema_arrow.equals(SCHEMA):
        raise UnreadableObject(f"its columns are not those of format {FORMAT}: {', '.join(file.schema_arrow.names)}")
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    if groups != _group_sizes(metadata.num_rows):
        raise UnreadableObject(f"its row groups are not of {GROUP_ROWS} rows")


def _group_sizes(rows: int) -> list[int]:
    whole, rest = divmod(rows, GROUP_ROWS)
    return [GROUP_ROWS] * whole + ([rest] if rest else [])


def _group(file: Any, number: int) -> Any:
    table = file.read_row_group(number, use_threads=False)
    if table.num_rows != file.metadata.row_group(number).num_rows:
        raise UnreadableObject(f"row group {number} has {table.num_rows} rows and promises others")
    return table


def _rows_of(table: Any, start: int, count: int) -> list[MessageRow]:
    columns = [column.to_pylist() for column in table.slice(start, count).columns]
    for number in _TUPLES:
        columns[number] = [texts if texts is None else tuple(texts) for texts in columns[number]]
    uuids = columns.pop()
    columns[_TEXT_IDS] = [
        text if uuid is None else _text_of(uuid) for text, uuid in zip(columns[_TEXT_IDS], uuids, strict=True)
    ]
    if None in columns[_TEXT_IDS]:
        raise UnreadableObject("it lacks ids of messages")
    for field, column in zip(SCHEMA, columns, strict=False):
        if not field.nullable and None in column:
            raise UnreadableObject(f"its column {field.name} lacks values")
    return [MessageRow(*values) for values in zip(*columns, strict=True)]


def _uuid_of(text: str) -> bytes | None:
    return bytes.fromhex(text.replace("-", "")) if _UUID.fullmatch(text) else None


def _text_of(uuid: bytes) -> str:
    text = uuid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _packed(segments: Sequence[ArchivedSegment]) -> bytes:
    return base64.b64encode(zlib.compress(msgspec.json.encode(segments)))


def _unpacked(text: bytes) -> list[ArchivedSegment]:
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text, validate=True), _MOST_INDEX_BYTES)
        if not inflate.eof or inflate.unconsumed_tail:
            raise UnreadableObject("its index is cut off")
        return msgspec.json.decode(data, type=list[ArchivedSegment])
    except (binascii.Error, zlib.error, msgspec.MsgspecError) as error:
        raise UnreadableObject(f"its index cannot be decoded: {error}") from error
