"""Rate limits per user at this gateway: token buckets. Pure but for the table that holds them."""

from cachetools import LRUCache

from tidings.errors import Refused

# A bucket that is dropped starts full again, which only helps its user.
MAX_USERS = 100_000


class RateLimits:
    """`messages_per_s` in the long run, up to `burst` at once."""

    def __init__(self, messages_per_s: int, burst: int, text: str = "") -> None:
        """Everybody may begin with a burst. `text`: what is told to who exceeds it, by default of messages."""
        self._text = text or (
            f"more than {burst} messages and added members at once, or too many a second; "
            "the settings TIDINGS_BURST and TIDINGS_MESSAGES_PER_S decide"
        )
        self._per_ms = messages_per_s / 1000
        self._burst = burst
        self._buckets: LRUCache[str, tuple[float, int]] = LRUCache(MAX_USERS)

    def take(self, user_id: str, messages: int, now_ms: int) -> None:
        """Count messages of a user; raises Refused(`rate_limited`) with the wait, and then counts none.

        One call that counts more than a burst waits for the whole burst: otherwise it would wait for ever.
        """
        messages = min(messages, self._burst)
        left, at_ms = self._buckets.get(user_id, (float(self._burst), now_ms))
        left = min(self._burst, left + (now_ms - at_ms) * self._per_ms)
        if left < messages:
            wait_ms = int((messages - left) / self._per_ms) + 1
            raise Refused("rate_limited", self._text, wait_ms)
        self._buckets[user_id] = (left - messages, now_ms)
