"""Rate limits per user at this gateway, as token buckets. Pure except for their table."""

import math
from typing import NamedTuple

from cachetools import LRUCache

from tidings.errors import Refused

# An evicted bucket starts full again, which only helps its user.
MAX_USERS = 100_000


class RateLimits:
    """`messages_per_s` on average, up to `burst` at once."""

    def __init__(self, messages_per_s: int, burst: int, text: str = "") -> None:
        """Every user may start with a burst. `text`: the text of the refusal, by default for messages."""
        self._text = text or (
            f"more than {burst} messages and added members at once, or too many per second; wait for retry_after_ms"
            " (settings TIDINGS_BURST and TIDINGS_MESSAGES_PER_S)"
        )
        self._per_ms = messages_per_s / 1000
        self._burst = burst
        self._buckets: LRUCache[str, _Bucket] = LRUCache(MAX_USERS)

    def take(self, user_id: str, messages: int, now_ms: int) -> None:
        """Count messages of a user. Raises Refused(`rate_limited`) with the wait, and then counts none.

        A call that counts more than a burst is treated as a burst, because it could never be accepted otherwise.
        """
        messages = min(messages, self._burst)
        bucket = self._filled(user_id, now_ms)
        if bucket.left < messages:
            wait_ms = self._promise(user_id, bucket, messages, now_ms)
            raise Refused("rate_limited", self._text, wait_ms)
        self._buckets[user_id] = bucket._replace(left=bucket.left - messages)

    def wait_ms(self, user_id: str, messages: int, now_ms: int) -> int:
        """The wait until so many more messages are accepted, after the waits of all calls refused before."""
        return self._promise(user_id, self._filled(user_id, now_ms), messages, now_ms)

    def _filled(self, user_id: str, now_ms: int) -> "_Bucket":
        bucket = self._buckets.get(user_id) or _Bucket(float(self._burst), now_ms, now_ms)
        left = min(self._burst, bucket.left + (now_ms - bucket.at_ms) * self._per_ms)
        return bucket._replace(left=left, at_ms=now_ms)

    def _promise(self, user_id: str, bucket: "_Bucket", messages: int, now_ms: int) -> int:
        """Each refused call gets a wait that ends after the waits of calls refused before it.

        With equal waits, only the first call would find tokens. No wait is longer than the time to fill the bucket.
        Otherwise a client that does not wait could block the other devices of its user.
        """
        due_ms = now_ms + (messages - bucket.left) / self._per_ms
        if bucket.promised_ms > now_ms:
            due_ms = max(due_ms, bucket.promised_ms + messages / self._per_ms)
        due_ms = min(due_ms, now_ms + self._burst / self._per_ms)
        self._buckets[user_id] = bucket._replace(promised_ms=due_ms)
        return math.ceil(due_ms - now_ms) + 1


class _Bucket(NamedTuple):
    """The tokens left at `at_ms`. Tokens up to `promised_ms` are promised to refused calls."""

    left: float
    at_ms: int
    promised_ms: float
