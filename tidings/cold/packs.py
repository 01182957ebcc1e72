"""One object in the making: the rows of many segments of one shard in a file on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidings.cold.objects import ObjectWriter
from tidings.cold.reading import Ended
from tidings.store.archive_tables import Shard
from tidings.store.rows import ColdPlace, MessageRow

# With ids alone an object of 4 MiB would have more segments than a directory write takes in a minute.
_MOST_SEGMENTS = 4_000


@dataclass(frozen=True, slots=True)
class Packed:
    """A segment in the object, without the object's name. `last_*` are those of its last message."""

    ended: Ended
    place: ColdPlace


@dataclass(slots=True)
class Pack:
    """`path`: the file. `read_at_us`: a time before the first of its rows was read (µs)."""

    shard: Shard
    path: Path
    read_at_us: int
    packed: list[Packed] = field(default_factory=list)
    rows: int = 0
