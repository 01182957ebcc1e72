"""The values that a stage caches from confirmed rounds, and the drafts of the current round. Pure.

Law 5 (a replay ignores later rows) and law 6 (the round is the commit point) keep drafts out of the cache.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Generic, NamedTuple, TypeVar

from tidings.broker.base import TopicPartition

K = TypeVar("K")
D = TypeVar("D")
V = TypeVar("V")


def _one(_value: object) -> int:
    return 1


class Confirmed(NamedTuple, Generic[K, V]):
    """A draft that has become a value. `before`: the value that was cached until then, or None."""

    source_partition: int
    key: K
    before: V | None
    value: V


class PartitionState(Generic[K, D, V]):
    """Values by key. The least recently confirmed value is evicted first.

    A draft belongs to a source partition and becomes a value when the round is confirmed for that partition. All
    other drafts are dropped, so that a repeated round decides from the state before.
    """

    __slots__ = ("_drafts", "_finish", "_most", "_values", "_weigh", "_weight")

    def __init__(self, finish: Callable[[D], V], most: int, weigh: Callable[[V], int] = _one) -> None:
        """`finish` makes a draft's value. `most` bounds the weight of all values together, by default their number.

        Only `finish` may change a value, because the weight is computed when the value is cached.
        """
        self._finish = finish
        self._most = most
        self._weigh = weigh
        # No LRUCache: it evicts at each write, but values that the current round needs must stay until `confirm`.
        self._values: dict[K, V] = {}
        self._drafts: dict[int, dict[K, D]] = {}
        self._weight = 0

    def __contains__(self, key: K) -> bool:
        """Whether a confirmed value is cached."""
        return key in self._values

    def __getitem__(self, key: K) -> V:
        """The confirmed value. KeyError where none is cached."""
        return self._values[key]

    def get(self, key: K) -> V | None:
        """The confirmed value, None where none is cached."""
        return self._values.get(key)

    def learn(self, values: Mapping[K, V]) -> None:
        """Cache values that were read as of a confirmed position. Evicts none, as the current round needs them."""
        for key, value in values.items():
            self._drop(key)
            self._put(key, value)

    def begin(self) -> None:
        """Begin a round without drafts."""
        self._drafts = {}

    def drafts(self, source_partition: int) -> dict[K, D]:
        """The drafts of one partition. The caller may change them."""
        return self._drafts.setdefault(source_partition, {})

    def confirm(self, partitions: Collection[TopicPartition]) -> list[Confirmed[K, V]]:
        """Turn the drafts of these partitions into values, and return them. All other drafts are dropped."""
        done: list[Confirmed[K, V]] = []
        for number in {partition.partition for partition in partitions}:
            for key, draft in self._drafts.pop(number, {}).items():
                before = self._drop(key)
                done.append(Confirmed(number, key, before, self._put(key, self._finish(draft))))
        self._drafts = {}
        while self._weight > self._most and self._values:
            self._drop(next(iter(self._values)))
        return done

    def forget(self) -> None:
        """Drop all values and drafts, because the partitions were revoked."""
        self._values.clear()
        self._drafts = {}
        self._weight = 0

    def _put(self, key: K, value: V) -> V:
        self._values[key] = value
        self._weight += self._weigh(value)
        return value

    def _drop(self, key: K) -> V | None:
        value = self._values.pop(key, None)
        if value is not None:
            self._weight -= self._weigh(value)
        return value
