"""One object in the making: the rows of many segments of one shard, in a file on disk."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tidings.codec import COUNTABLE_KINDS
from tidings.cold.objects import ObjectWriter, WrittenObject
from tidings.cold.reading import Ended
from tidings.store.archive_tables import Shard
from tidings.store.history import uncounted_places
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import ColdPlace

# So that the directory of an object of tiny segments is written within a claim.
_MOST_SEGMENTS = 5_000


class IncompleteSegment(Exception):
    """Hot rows of a segment that has ended are missing, so nothing of it may move."""

    def __init__(self, ended: Ended) -> None:
        """The segment."""
        super().__init__(f"{ended.listed.name.session_id} segment {ended.listed.name.segment}: hot rows are missing")
        self.name = ended.listed.name


@dataclass(slots=True)
class _Added:
    """A segment whose rows are being added."""

    ended: Ended
    next_seq: int
    last: MessageRow | None = None
    is_countable: list[bool] = field(default_factory=list)


class Pack:
    """Rows go in one segment after the other."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        """`path`: of the file. `most_bytes`: with so many bytes the object is full."""
        self.path = path
        self._most_bytes = most_bytes
        self._writer = ObjectWriter(path)
        self._added: list[_Added] = []

    @property
    def is_full(self) -> bool:
        """Whether the object is large enough."""
        return self._writer.size >= self._most_bytes or len(self._added) >= _MOST_SEGMENTS

    @property
    def rows(self) -> int:
        """The rows that are in it."""
        return self._writer.rows

    def begin(self, ended: Ended) -> None:
        """The next rows are of this segment."""
        self._added.append(_Added(ended, ended.listed.segment.first_seq))

    def add(self, rows: Sequence[MessageRow]) -> None:
        """The next rows of the segment. IncompleteSegment: they are not; the pack cannot be used any longer."""
        adding = self._added[-1]
        for row in rows:
            if row.seq != adding.next_seq:
                raise IncompleteSegment(adding.ended)
            adding.next_seq += 1
            adding.is_countable.append(row.kind in COUNTABLE_KINDS)
            adding.last = row
        self._writer.add(rows)

    def end(self) -> None:
        """The segment has no more rows. IncompleteSegment: its last ones are missing."""
        if self._added[-1].next_seq != self._added[-1].ended.last_seq + 1:
            raise IncompleteSegment(self._added[-1].ended)

    def close(self) -> WrittenObject:
        """Finish the file."""
        return self._writer.close()

    def places(self, written: WrittenObject, object_key: str, moved_at: int) -> Iterator[tuple[Ended, ColdPlace]]:
        """Where each segment is. `moved_at`: now (ms)."""
        for added, archived in zip(self._added, written.segments, strict=True):
            assert added.last is not None  # a segment has a message
            yield (
                added.ended,
                ColdPlace(
                    object_key=object_key,
                    first_row=archived.first_row,
                    rows=archived.rows,
                    last_count=added.last.count,
                    last_at=added.last.at,
                    object_sha256=written.sha256,
                    rows_sha256=archived.rows_sha256,
                    uncounted=uncounted_places(added.is_countable),
                    moved_at=moved_at,
                ),
            )

    def discard(self) -> None:
        """Remove the file."""
        with self._writer:
            pass
        self.path.unlink(missing_ok=True)


@contextmanager
def pack(work_dir: Path, shard: Shard, most_bytes: int) -> Iterator[Pack]:
    """A new pack, whose file is removed at the end of the block."""
    made = Pack(work_dir / f"{shard.month}-{shard.shard}.parquet", most_bytes)
    try:
        yield made
    finally:
        made.discard()
