"""Rate limits per user at this gateway: token buckets. Pure but for the table that holds them."""

import math
from typing import NamedTuple

from cachetools import LRUCache

from tidings.errors import Refused

# A bucket that is dropped starts full again, which only helps its user.
MAX_USERS = 100_000


class RateLimits:
    """`messages_per_s` in the long run, up to `burst` at once."""

    def __init__(self, messages_per_s: int, burst: int, text: str = "") -> None:
        """Every user may begin with a burst. `text`: of the refusal, by default for messages."""
        self._text = text or (
            f"more than {burst} messages and added members at once, or too many a second; "
            "the settings TIDINGS_BURST and TIDINGS_MESSAGES_PER_S decide"
        )
        self._per_ms = messages_per_s / 1000
        self._burst = burst
        self._buckets: LRUCache[str, _Bucket] = LRUCache(MAX_USERS)

    def take(self, user_id: str, messages: int, now_ms: int) -> None:
        """Count messages of a user; raises Refused(`rate_limited`) with the wait, and then counts none.

        One call that counts more than a burst waits for the whole burst: otherwise it would wait for ever.
        """
        messages = min(messages, self._burst)
        bucket = self._filled(user_id, now_ms)
        if bucket.left < messages:
            wait_ms = self._promise(user_id, bucket, messages, now_ms)
            raise Refused("rate_limited", self._text, wait_ms)
        self._buckets[user_id] = bucket._replace(left=bucket.left - messages)

    def wait_ms(self, user_id: str, messages: int, now_ms: int) -> int:
        """The wait after which so many more are taken, beside all that were refused before."""
        return self._promise(user_id, self._filled(user_id, now_ms), messages, now_ms)

    def _filled(self, user_id: str, now_ms: int) -> "_Bucket":
        bucket = self._buckets.get(user_id) or _Bucket(float(self._burst), now_ms, now_ms)
        left = min(self._burst, bucket.left + (now_ms - bucket.at_ms) * self._per_ms)
        return bucket._replace(left=left, at_ms=now_ms)

    def _promise(self, user_id: str, bucket: "_Bucket", messages: int, now_ms: int) -> int:
        """Each refused call gets a wait that ends after the waits of calls refused before it.

        All of them at once would find tokens for the first alone. No wait is longer than a whole bucket takes
        to fill, so that a client that does not wait cannot make the other devices of its user wait for ever.
        """
        due_ms = now_ms + (messages - bucket.left) / self._per_ms
        if bucket.promised_ms > now_ms:
            due_ms = max(due_ms, bucket.promised_ms + messages / self._per_ms)
        due_ms = min(due_ms, now_ms + self._burst / self._per_ms)
        self._buckets[user_id] = bucket._replace(promised_ms=due_ms)
        return math.ceil(due_ms - now_ms) + 1


class _Bucket(NamedTuple):
    """Tokens left at a time, and up to when those to come are promised to calls that were refused."""

    left: float
    at_ms: int
    promised_ms: float
