"""Bounds how many uploads or downloads run at the same time, in all and of one user, and how fast. Pure."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tidings.errors import Refused

BUSY_MS = 1_000
# A client on the same network takes what a core can give: 400 MiB/s. Others then wait for the processor, and their p99
# doubles. At 32 MiB/s, which is 270 Mbit/s, a transfer takes a tenth of a core.
MOST_BYTES_PER_S = 32 * 1024 * 1024


class Places:
    """The places for one kind of transfer."""

    def __init__(self, kind: str, at_once: int, per_user: int) -> None:
        """`kind`: for the texts, as in "uploads"."""
        self._kind = kind
        self._at_once = at_once
        self._per_user = per_user
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, user_id: str) -> Iterator[None]:
        """Hold a place. Raises Refused(`rate_limited`, `unavailable`) without a free one."""
        if self._taken[user_id] >= self._per_user:
            raise Refused("rate_limited", f"{self._per_user} of your {self._kind} are under way; wait for one", BUSY_MS)
        if self._taken.total() >= self._at_once:
            raise Refused("unavailable", f"the gateway has as many {self._kind} as it can serve; retry", BUSY_MS)
        self._taken[user_id] += 1
        try:
            yield
        finally:
            self._taken[user_id] -= 1
            if not self._taken[user_id]:
                del self._taken[user_id]
