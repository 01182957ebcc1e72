"""Recent messages of sessions in memory: the head, and the count at a seq. Pure.

Filled from `messages.persisted`; what is not here is read from the tables.
"""

from collections import OrderedDict

from tidings.wire.common_pb2 import Message

_SESSIONS = 50_000
# A watermark is mostly one of the newest messages.
_COUNTS_PER_SESSION = 32


class Heads:
    """Bounded, least recently written session first out."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        """Nothing is known."""
        self._counts: OrderedDict[str, dict[int, int]] = OrderedDict()

    def see(self, message: Message) -> None:
        """A message is stored: it is the head, unless a repeat of an older one."""
        self.learn(message.session_id, message.seq, message.count)

    def learn(self, session_id: str, seq: int, count: int) -> None:
        """The count at a seq, from the log or from the tables: it never changes."""
        counts = self._counts.setdefault(session_id, {})
        counts[seq] = count
        if len(counts) > _COUNTS_PER_SESSION:
            del counts[min(counts)]
        self._counts.move_to_end(session_id)
        if len(self._counts) > _SESSIONS:
            self._counts.popitem(last=False)

    def head(self, session_id: str) -> int:
        """The highest seq known; 0 where nothing is."""
        return max(self._counts.get(session_id, {0: 0}))

    def count_at(self, session_id: str, seq: int) -> int | None:
        """Countable messages up to seq; None where only the tables know."""
        return self._counts.get(session_id, {}).get(seq)
