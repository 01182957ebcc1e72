"""Measures the time from publishing a message to its answer, and counts what stays unanswered, for the metrics."""

from collections import OrderedDict

from cachetools import LRUCache

from tidings import metrics

# As long as a client of REST waits.
UNANSWERED_MS = 5_000
# Of each kind, in 20 MB. Newer entries evict older ones.
MAX_ENTRIES = 50_000

_Key = tuple[str, str]


class AckLatency:
    """Bounded tables of what waits for its answer. An evicted entry loses one measurement, and counts as unanswered."""

    def __init__(self) -> None:
        """No command is published yet."""
        self._waiting: OrderedDict[_Key, int] = OrderedDict()
        self._late: LRUCache[_Key, int] = LRUCache(MAX_ENTRIES)

    def published(self, connection_id: str, client_msg_id: str, now_ms: int) -> None:
        """The command was passed to the producer."""
        key = (connection_id, client_msg_id)
        self._waiting[key] = now_ms
        self._waiting.move_to_end(key)
        if len(self._waiting) > MAX_ENTRIES:
            self._give_up()

    def answered(self, connection_id: str, client_msg_id: str, now_ms: int) -> None:
        """The ack or refusal of the command has arrived."""
        key = (connection_id, client_msg_id)
        published_ms = self._waiting.pop(key, None)
        if published_ms is None:
            published_ms = self._late.pop(key, None)
        if published_ms is not None:
            metrics.SEND_SECONDS.observe((now_ms - published_ms) / 1000)

    def look(self, now_ms: int) -> None:
        """Count the commands that have waited for too long. Called on a timer."""
        while self._waiting and now_ms - next(iter(self._waiting.values())) >= UNANSWERED_MS:
            self._give_up()

    def _give_up(self) -> None:
        key, published_ms = self._waiting.popitem(last=False)
        self._late[key] = published_ms
        metrics.SEND_UNANSWERED.inc()
