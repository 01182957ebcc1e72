"""Lower bounds of session heads, from pushes and reads. Pure."""

from cachetools import FIFOCache

# Some 190 bytes each: 19 MB. An evicted session costs a read of the head.
MAX_SESSIONS = 100_000


class KnownHeads:
    """The least recently seen session is evicted first."""

    __slots__ = ("_seqs",)

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        """No session has a bound yet."""
        # A write moves a session to the end, and `get` does not.
        self._seqs: FIFOCache[str, int] = FIFOCache(max_sessions)

    def see(self, session_id: str, seq: int) -> None:
        """The message of this seq is stored."""
        if seq >= 1:
            self._seqs[session_id] = max(seq, self.get(session_id))

    def get(self, session_id: str) -> int:
        """The lower bound of the head; 0 without one."""
        return self._seqs.get(session_id, 0)
