"""Bounds how fast the bytes of one upload or download pass the gateway. Pure.

A client on the same network takes what a core can give: 400 MiB/s. Others then wait for the processor, and their p99
doubles. At 32 MiB/s, which is 270 Mbit/s, a transfer takes a tenth of a core.
"""

MOST_BYTES_PER_S = 32 * 1024 * 1024
# A transfer that was slow catches up by this much at once.
MOST_AHEAD_S = 0.1


class Pace:
    """The pace of one transfer. Times are in seconds of any monotonic clock."""

    def __init__(self, now_s: float, bytes_per_s: float = MOST_BYTES_PER_S) -> None:
        self._bytes_per_s = bytes_per_s
        self._due_s = now_s

    def wait_s(self, passed_bytes: int, now_s: float) -> float:
        """How long to wait after so many more bytes have passed."""
        self._due_s = max(self._due_s, now_s - MOST_AHEAD_S) + passed_bytes / self._bytes_per_s
        return max(0.0, self._due_s - now_s)
