"""The cache of messages, in blocks of 64 consecutive seqs of one session. Pure (ARCHITECTURE, Stages).

A message never changes, so a full block needs no invalidation. Of a partial block the rows before the first gap are
cached, for a few minutes only, and later reads continue from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from tidings.store.rows import MessageRow

BLOCK_SEQS = 64
PARTIAL_AGE_MS = 5 * 60_000
# A row without its body: 590 by tracemalloc with ids of usual lengths, plus its entry in this cache.
_ROW_BYTES = 700


def block_of(seq: int) -> int:
    """The number of the block that contains a seq. Blocks begin at seq 1, 65, 129 …"""
    return (seq - 1) // BLOCK_SEQS


def first_of(number: int) -> int:
    """The lowest seq of a block."""
    return number * BLOCK_SEQS + 1


def last_of(number: int) -> int:
    """The highest seq of a block."""
    return (number + 1) * BLOCK_SEQS


@dataclass(frozen=True, slots=True)
class _Block:
    """The first rows of a block, ascending without a gap. `begun_ms`: when the first row was read."""

    rows: tuple[MessageRow, ...]
    size_bytes: int
    begun_ms: int

    def is_void(self, now_ms: int) -> bool:
        return len(self.rows) < BLOCK_SEQS and now_ms - self.begun_ms >= PARTIAL_AGE_MS


class MessageCache:
    """The most recently used blocks, up to `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        """With `max_bytes` 0 nothing is cached."""
        self._blocks: LRUCache[tuple[str, int], _Block] = LRUCache(max_bytes, getsizeof=lambda block: block.size_bytes)

    @property
    def size_bytes(self) -> int:
        """The size of the cached blocks."""
        return int(self._blocks.currsize)

    def known(self, session_id: str, number: int, now_ms: int) -> Sequence[MessageRow]:
        """The cached first rows of a block, ascending without a gap."""
        block = self._current(session_id, number, now_ms)
        return block.rows if block is not None else ()

    def keep(self, session_id: str, number: int, rows: Sequence[MessageRow], now_ms: int) -> None:
        """Append rows of a block, in ascending order. Rows that do not follow the cached ones are ignored.

        Their seqs must be at or below a head of the session that was read at LOCAL_QUORUM.
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
