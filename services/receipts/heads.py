"""Recent messages of sessions in memory: the head, the count at a seq, and the author. Pure.

They come from `messages.persisted`. What is not in memory is read from the tables.
"""

from collections import OrderedDict
from collections.abc import Iterable

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

    def __init__(self) -> None:
        self._counts: OrderedDict[str, dict[int, int]] = OrderedDict()
        self._authors: OrderedDict[str, dict[int, str]] = OrderedDict()

    def see(self, message: Message) -> None:
        """Take in a stored message. It is the head, unless it repeats an older message."""
        self.learn(message.session_id, message.seq, message.count)
        if message.kind in COUNTABLE_KINDS and ids.is_group_session(message.session_id):
            authors = self._authors.setdefault(message.session_id, {})
            authors[message.seq] = message.sender_id
            if len(authors) > _AUTHORS_PER_GROUP:
                del authors[min(authors)]
            self._authors.move_to_end(message.session_id)
            if len(self._authors) > _GROUPS:
                self._authors.popitem(last=False)

    def learn(self, session_id: str, seq: int, count: int) -> None:
        """Cache the count at a seq, from the log or the tables. It never changes."""
        counts = self._counts.setdefault(session_id, {})
        counts[seq] = count
        if len(counts) > _COUNTS_PER_SESSION:
            del counts[min(counts)]
        self._counts.move_to_end(session_id)
        if len(self._counts) > _SESSIONS:
            self._counts.popitem(last=False)

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
