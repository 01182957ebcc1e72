"""Rows of a round in an order that a crash cannot make wrong (law 2, H10).

What belongs to one key (a session, a user) is written one mutation at a time.
The n-th mutations of all keys share a wave; a wave begins when the one before
is confirmed.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from tidings.store.base import TaggedRow
from tidings.store.rows import row_bytes

# Law 2: the largest mutation, by `row_bytes`.
MUTATION_BYTES = 512 * 1024
# Unlike every mutation's name.
_NOTHING = object()


@dataclass(slots=True)
class _Last:
    wave: int
    mutation: Hashable
    size_bytes: int


class OrderedWrites:
    """Collects the waves of one round."""

    __slots__ = ("_last", "_waves")

    def __init__(self) -> None:
        """No rows yet."""
        self._waves: list[list[TaggedRow]] = []
        self._last: dict[Hashable, _Last] = {}

    def append_ordered(self, key: Hashable, mutation: Hashable, row: TaggedRow) -> None:
        """The key's next row.

        It joins the key's last mutation while `mutation` names the same one
        and it stays within MUTATION_BYTES; otherwise it waits until that one is
        confirmed.
        """
        last, size_bytes = self._last.get(key), row_bytes(row.row)
        if last is None:
            last = self._last[key] = _Last(0, mutation, 0)
        elif last.mutation != mutation or last.size_bytes + size_bytes > MUTATION_BYTES:
            last.wave, last.mutation, last.size_bytes = last.wave + 1, mutation, 0
        last.size_bytes += size_bytes
        self._wave(last.wave).append(row)

    def start_after(self, key: Hashable, other: Hashable) -> None:
        """The key's rows, of which there are none yet, begin only when those of the other key are confirmed."""
        before = self._last.get(other)
        if before is not None and key not in self._last:
            self._last[key] = _Last(before.wave, _NOTHING, 0)

    def append_unordered(self, row: TaggedRow) -> None:
        """A side row, in no order to anything (law 6); the round waits for it all the same."""
        self._wave(0).append(row)

    def last_wave(self, key: Hashable) -> int:
        """The number of the wave that holds the key's last rows, 0 where it has none."""
        last = self._last.get(key)
        return last.wave if last is not None else 0

    def waves(self) -> Iterator[Sequence[TaggedRow]]:
        """The waves, first to last: at least one, which may be empty."""
        return iter(self._waves or [[]])

    def _wave(self, index: int) -> list[TaggedRow]:
        while len(self._waves) <= index:
            self._waves.append([])
        return self._waves[index]
