"""Recent messages of sessions in memory: the head, the count at a seq, and the author. Pure.

They come from `messages.persisted`. What is not in memory is read from the tables.
"""

from collections.abc import Iterable

from cachetools import FIFOCache

from tidings import ids
from tidings.codec import COUNTABLE_KINDS
from tidings.wire.common_pb2 import Message

_SESSIONS = 50_000
# A watermark is mostly at one of the newest messages.
_COUNTS_PER_SESSION = 32
# Counts are published for these messages in both delivery modes. 50 messages of a group take about 10 KB.
_GROUPS = 2_000
_AUTHORS_PER_GROUP = 50


class Heads:
    """Bounded: the least recently written session is evicted first."""

    __slots__ = ("_authors", "_counts")

    def __init__(self, most_sessions: int = _SESSIONS, most_groups: int = _GROUPS) -> None:
        """`most_groups`: the bound of the groups whose authors are in memory."""
        # A write moves a session to the end, and a read does not.
        self._counts: FIFOCache[str, dict[int, int]] = FIFOCache(most_sessions)
        self._authors: FIFOCache[str, dict[int, str]] = FIFOCache(most_groups)

    def see(self, message: Message) -> None:
        """Take in a stored message. It is the head, unless it repeats an older message."""
        self.learn(message.session_id, message.seq, message.count)
        if message.kind in COUNTABLE_KINDS and ids.is_group_session(message.session_id):
            authors = self._authors.get(message.session_id, {})
            authors[message.seq] = message.sender_id
            if len(authors) > _AUTHORS_PER_GROUP:
                del authors[min(authors)]
            self._authors[message.session_id] = authors

    def learn(self, session_id: str, seq: int, count: int) -> None:
        """Cache the count at a seq, from the log or the tables. It never changes."""
        counts = self._counts.get(session_id, {})
        counts[seq] = count
        if len(counts) > _COUNTS_PER_SESSION:
            del counts[min(counts)]
        self._counts[session_id] = counts

    def head(self, session_id: str) -> int:
        """The highest seq in memory, or 0."""
        return max(self._counts.get(session_id, {0: 0}))

    def count_at(self, session_id: str, seq: int) -> int | None:
        """Countable messages up to seq; None if the tables have to be read."""
        return self._counts.get(session_id, {}).get(seq)

    def authors(self, session_id: str, seqs: Iterable[int]) -> dict[int, str]:
        """The author by seq, for the messages of a group that are in memory: the newest countable ones."""
        authors = self._authors.get(session_id, {})
        return {seq: authors[seq] for seq in seqs if seq in authors}
