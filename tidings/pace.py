"""Spaces work so that it stays below a rate. Pure."""

# Work that was slow catches up by this much at once.
MOST_AHEAD_S = 0.1


class Pace:
    """At most so many bytes or messages per second. Times are in seconds of any monotonic clock."""

    def __init__(self, now_s: float, per_s: float) -> None:
        """`per_s` 0: no limit."""
        self._per_s = per_s
        self._due_s = now_s

    def wait_s(self, number: int, now_s: float) -> float:
        """How long to wait after so many more have passed."""
        if not self._per_s:
            return 0.0
        self._due_s = max(self._due_s, now_s - MOST_AHEAD_S) + number / self._per_s
        return max(0.0, self._due_s - now_s)
