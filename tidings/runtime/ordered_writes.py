"""Orders the rows of a round so that a crash leaves no row without the rows before it (H10).

Law 2 (what belongs to one key is written in order): the rows of one session or user
are written one mutation at a time. The n-th mutations of all keys share a wave. A
wave begins when the previous wave is confirmed.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tidings.store.base import TaggedRow
from tidings.store.rows import row_bytes

# The largest mutation, measured by `row_bytes`: law 2 (what belongs to one key is written in order).
MUTATION_BYTES = 512 * 1024


# A named tuple, because one is made for every row.
class Mutation(NamedTuple):
    """The adjacent rows of one key that are written at once. `number`: of their segment or bucket, if they have one."""

    kind: Literal["directory", "rows", "versions"]
    number: int = 0


@dataclass(slots=True)
class _Last:
    """The last mutation of a key. `mutation` is None while the key has no rows and only waits for another key."""

    wave: int
    mutation: Mutation | None
    size_bytes: int


class OrderedWrites:
    """Collects the waves of one round."""

    __slots__ = ("_last", "_waves")

    def __init__(self) -> None:
        self._waves: list[list[TaggedRow]] = []
        self._last: dict[Hashable, _Last] = {}

    def append_ordered(self, key: Hashable, mutation: Mutation, row: TaggedRow) -> None:
        """Append the key's next row.

        The row joins the key's last mutation if `mutation` is the same and the
        mutation stays within MUTATION_BYTES. Otherwise it is written after that
        mutation is confirmed.
        """
        last, size_bytes = self._last.get(key), row_bytes(row.row)
        if last is None:
            last = self._last[key] = _Last(0, mutation, 0)
        elif last.mutation != mutation or last.size_bytes + size_bytes > MUTATION_BYTES:
            last.wave, last.mutation, last.size_bytes = last.wave + 1, mutation, 0
        last.size_bytes += size_bytes
        self._wave(last.wave).append(row)

    def start_after(self, key: Hashable, other: Hashable) -> None:
        """Begin the key's rows only when the rows of the other key are confirmed. For a key without rows."""
        before = self._last.get(other)
        if before is not None and key not in self._last:
            self._last[key] = _Last(before.wave, None, 0)

    def append_unordered(self, row: TaggedRow) -> None:
        """Append a row that needs no order. The round still waits for it: law 6 (the round is the commit point)."""
        self._wave(0).append(row)

    def last_wave(self, key: Hashable) -> int:
        """The number of the wave that holds the key's last rows; 0 if it has none."""
        last = self._last.get(key)
        return last.wave if last is not None else 0

    def waves(self) -> Iterator[Sequence[TaggedRow]]:
        """The waves in order. There is at least one, which may be empty."""
        return iter(self._waves or [[]])

    def _wave(self, index: int) -> list[TaggedRow]:
        while len(self._waves) <= index:
            self._waves.append([])
        return self._waves[index]
