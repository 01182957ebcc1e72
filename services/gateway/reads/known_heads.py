"""Lower bounds of session heads, from pushes and reads. Pure."""

from collections import OrderedDict

# Some 150 bytes each: 15 MB. An evicted session costs a read of the head.
MAX_SESSIONS = 100_000


class KnownHeads:
    """The least recently seen session is evicted first."""

    __slots__ = ("_max_sessions", "_seqs")

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        """No session has a bound yet."""
        self._seqs: OrderedDict[str, int] = OrderedDict()
        self._max_sessions = max_sessions

    def see(self, session_id: str, seq: int) -> None:
        """The message of this seq is stored."""
        if seq < 1:
            return
        self._seqs[session_id] = max(seq, self._seqs.get(session_id, 0))
        self._seqs.move_to_end(session_id)
        if len(self._seqs) > self._max_sessions:
            self._seqs.popitem(last=False)

    def get(self, session_id: str) -> int:
        """The lower bound of the head; 0 without one."""
        return self._seqs.get(session_id, 0)
