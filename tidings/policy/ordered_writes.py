"""Rows of a round in an order that a crash cannot make wrong (law 2, H10).

What belongs to one key (a session, a user) is written one mutation at a time.
The n-th mutations of all keys share a wave; a wave begins when the one before
is confirmed.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence

from tidings.store.base import TaggedRow


class OrderedWrites:
    """Collects the waves of one round."""

    __slots__ = ("_next", "_waves")

    def __init__(self) -> None:
        """No rows yet."""
        self._waves: list[list[TaggedRow]] = []
        self._next: dict[Hashable, int] = {}

    def then(self, key: Hashable, rows: Iterable[TaggedRow]) -> None:
        """One more mutation of this key, after all earlier ones of the key are confirmed."""
        index = self._next.get(key, 0)
        self._next[key] = index + 1
        self._wave(index).extend(rows)

    def beside(self, row: TaggedRow) -> None:
        """A side row, in no order to anything (law 6); the round waits for it all the same."""
        self._wave(0).append(row)

    def waves(self) -> Iterator[Sequence[TaggedRow]]:
        """The waves, first to last."""
        return iter(self._waves)

    def _wave(self, index: int) -> list[TaggedRow]:
        while len(self._waves) <= index:
            self._waves.append([])
        return self._waves[index]
