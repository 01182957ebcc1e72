"""Measures the time from publishing a message to its answer, for the metric."""

from cachetools import LRUCache

from tidings import metrics

# Newer entries evict those that are never answered.
MAX_UNANSWERED = 10_000


class AckLatency:
    """A bounded table. An evicted entry loses one measurement."""

    def __init__(self) -> None:
        """No command is published yet."""
        self._published: LRUCache[tuple[str, str], int] = LRUCache(MAX_UNANSWERED)

    def published(self, connection_id: str, client_msg_id: str, now_ms: int) -> None:
        """The command was passed to the producer."""
        self._published[connection_id, client_msg_id] = now_ms

    def answered(self, connection_id: str, client_msg_id: str, now_ms: int) -> None:
        """The ack or refusal of the command has arrived."""
        published_ms = self._published.pop((connection_id, client_msg_id), None)
        if published_ms is not None:
            metrics.SEND_SECONDS.observe((now_ms - published_ms) / 1000)
