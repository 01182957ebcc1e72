"""Which messages of which sessions are kept in memory, and for how long. Pure (docs/ARCHITECTURE.md, Stages).

A block is 64 consecutive seqs of one session. A message is never changed, so a
full block needs no invalidation; one that is not full is kept as its beginning
without a gap, to be read on from there, and for a few minutes only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from tidings.store.rows import MessageRow

BLOCK_SEQS = 64
PARTIAL_AGE_MS = 5 * 60_000
# A row with its strings and numbers beside the body: 590 by tracemalloc with ids of usual lengths, and its place here.
_ROW_BYTES = 700


def block_of(seq: int) -> int:
    """The number of the block in which a seq stands; blocks begin at seq 1, 65, 129 …"""
    return (seq - 1) // BLOCK_SEQS


def first_of(number: int) -> int:
    """The lowest seq of a block."""
    return number * BLOCK_SEQS + 1


def last_of(number: int) -> int:
    """The highest seq of a block."""
    return (number + 1) * BLOCK_SEQS


@dataclass(frozen=True, slots=True)
class _Block:
    """The beginning of a block, ascending without a gap; `begun_ms`: when its first row was read."""

    rows: tuple[MessageRow, ...]
    size_bytes: int
    begun_ms: int

    def is_void(self, now_ms: int) -> bool:
        return len(self.rows) < BLOCK_SEQS and now_ms - self.begun_ms >= PARTIAL_AGE_MS


class MessageCache:
    """The blocks used last, up to so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        """Empty. With 0 nothing is ever kept."""
        self._blocks: LRUCache[tuple[str, int], _Block] = LRUCache(max_bytes, getsizeof=lambda block: block.size_bytes)

    @property
    def size_bytes(self) -> int:
        """What is kept now."""
        return int(self._blocks.currsize)

    def known(self, session_id: str, number: int, now_ms: int) -> Sequence[MessageRow]:
        """The beginning of a block, as far as it is kept, ascending without a gap."""
        block = self._current(session_id, number, now_ms)
        return block.rows if block is not None else ()

    def keep(self, session_id: str, number: int, rows: Sequence[MessageRow], now_ms: int) -> None:
        """Append rows of a block, ascending, as far as they follow what is kept; others are left out.

        They must stand at or below a head of the session that was read at LOCAL_QUORUM.
        """
        block = self._current(session_id, number, now_ms) or _Block((), 0, now_ms)
        following = _without_gap(rows, first_of(number) + len(block.rows))
        if not following:
            return
        size_bytes = block.size_bytes + sum(_ROW_BYTES + len(row.body) for row in following)
        self._blocks.pop((session_id, number), None)
        if size_bytes <= self._blocks.maxsize:
            self._blocks[session_id, number] = _Block((*block.rows, *following), size_bytes, block.begun_ms)

    def _current(self, session_id: str, number: int, now_ms: int) -> _Block | None:
        block = self._blocks.get((session_id, number))
        if block is not None and block.is_void(now_ms):
            del self._blocks[session_id, number]
            return None
        return block


def _without_gap(rows: Sequence[MessageRow], first_seq: int) -> list[MessageRow]:
    following: list[MessageRow] = []
    for row in rows:
        if row.seq == first_seq + len(following):
            following.append(row)
    return following
