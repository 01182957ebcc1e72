"""Groups the segments of a shard by their objects, in files, because a shard may have a million segments."""

import pickle
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tidings.cold.objects import ArchivedSegment

# 3 MiB. A row of the directory takes 1 KB, so those of a million segments would not fit into an archiver's memory.
IN_MEMORY = 10_000


class PlacedSegment(NamedTuple):
    """A segment as the directory has it in an object."""

    archived: ArchivedSegment
    object_sha256: bytes


class SegmentsByObject:
    """Takes segments in any order, and gives those of one object after the other. An object has 5,000 at most."""

    def __init__(self, folder: Path, most_in_memory: int = IN_MEMORY) -> None:
        """`folder`: of this instance alone."""
        self._folder = folder
        self._most_in_memory = most_in_memory
        self._waiting: defaultdict[str, list[PlacedSegment]] = defaultdict(list)
        self._waiting_count = 0
        # The keys of objects, each with its file.
        self._files: dict[str, Path] = {}

    def add(self, object_key: str, segment: PlacedSegment) -> None:
        """One more segment of an object."""
        self._waiting[object_key].append(segment)
        self._waiting_count += 1
        if self._waiting_count >= self._most_in_memory:
            self._flush()

    def __contains__(self, object_key: object) -> bool:
        return object_key in self._files or object_key in self._waiting

    def objects(self) -> Iterator[tuple[str, list[PlacedSegment]]]:
        """Each object with all of its segments."""
        self._flush()
        for object_key, path in self._files.items():
            segments: list[PlacedSegment] = []
            with path.open("rb") as file:
                while file.peek(1):
                    segments += pickle.load(file)
            path.unlink()
            yield object_key, segments

    def _flush(self) -> None:
        for object_key, segments in self._waiting.items():
            path = self._files.setdefault(object_key, self._folder / f"{len(self._files)}.segments")
            with path.open("ab") as file:
                pickle.dump(segments, file)
        self._waiting.clear()
        self._waiting_count = 0
