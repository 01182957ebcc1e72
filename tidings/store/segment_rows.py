"""The rows of segments: the directory of a session, the same by month, and where the cold ones are."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from tidings.ids import Position

# In a segment. Readers skip segments by it, so it may grow, and may not become less while longer segments exist.
MOST_MESSAGES = 10_000


class ColdPlace(NamedTuple):
    """Where the messages of a cold segment are: `rows` rows of an object, from row `first_row` (0 is the first) on.

    `last_count` and `last_at` are those of the segment's last message. `object_sha256` is of the object's bytes and
    `rows_sha256` of every column of the segment's rows, 32 bytes each. `uncounted`: the messages that are not
    countable, as 2-byte numbers (big-endian) of their places in the segment, ascending. `moved_at`: the time of the
    move (ms), which names it: a segment that is restored and moved again may get an equal object.
    """

    object_key: str
    first_row: int
    rows: int
    last_count: int
    last_at: int
    object_sha256: bytes
    rows_sha256: bytes
    uncounted: bytes
    moved_at: int


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """The directory of a session's segments. `opened_*` are the coordinates of the first message.

    The persister writes the first six columns, and later SegmentClosedRow. The archiver writes the others, which no
    INSERT of this class sets. `purged_*` are the same in all rows of a session: messages up to that seq have reached
    the end of their life, and so many of them were countable.
    """

    table: ClassVar[str] = "segments"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id",)

    session_id: str
    segment: int
    first_seq: int
    month: int
    opened_epoch: int
    opened_offset: int
    last_seq: int | None = None
    last_count: int | None = None
    last_at: int | None = None
    closed_epoch: int | None = None
    closed_offset: int | None = None
    cold: ColdPlace | None = None
    purged_seq: int | None = None
    purged_count: int | None = None

    @property
    def made_at(self) -> Position:
        """The position on messages.inbound of the segment's first message."""
        return Position(self.opened_epoch, self.opened_offset)

    @property
    def closed_at(self) -> Position | None:
        """The position of the command that closed the segment; None if none did."""
        if self.closed_epoch is None or self.closed_offset is None:
            return None
        return Position(self.closed_epoch, self.closed_offset)


@dataclass(frozen=True, slots=True)
class SegmentClosedRow:
    """The end of a quiet session's newest segment, with the session's tail at that point.

    `closed_*` are the coordinates of the command that closed it. A later message opens the next segment.
    """

    table: ClassVar[str] = "segments"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id",)

    session_id: str
    segment: int
    last_seq: int
    last_count: int
    last_at: int
    closed_epoch: int
    closed_offset: int


@dataclass(frozen=True, slots=True)
class SegmentByMonthRow:
    """Finds the segments of a month, for the archiver.

    The archiver sets `dropped_of` when it has deleted the hot rows: the `moved_at` of the place that it deleted them
    for. It means nothing unless the directory names the place of that move.
    """

    table: ClassVar[str] = "segments_by_month"
    partition_key: ClassVar[tuple[str, ...]] = ("month", "shard")

    month: int
    shard: int
    session_id: str
    segment: int
    dropped_of: int | None = None


@dataclass(frozen=True, slots=True)
class ArchivedShardRow:
    """A (month, shard) of which every segment is cold. `object_bytes`: of the objects of all runs.

    `reopenings_seen`: how often the shard had been reopened when the archiver began to look at its segments. The row
    counts only while that is still so.
    """

    table: ClassVar[str] = "archived_shards"

    month: int
    shard: int
    segments: int
    messages: int
    object_bytes: int
    done_at: int
    reopenings_seen: int = 0
