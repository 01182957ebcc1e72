"""How long a message takes from its publishing to its answer, for the metric."""

from cachetools import LRUCache

from tidings import metrics

# What is never answered is pushed out by newer ones.
MAX_UNANSWERED = 10_000


class AckLatency:
    """A bounded table; losing an entry loses one measurement."""

    def __init__(self) -> None:
        """Empty."""
        self._published: LRUCache[tuple[str, str], int] = LRUCache(MAX_UNANSWERED)

    def published(self, connection_id: str, client_msg_id: str, now_ms: int) -> None:
        """The command was handed to the log."""
        self._published[connection_id, client_msg_id] = now_ms

    def answered(self, connection_id: str, client_msg_id: str, now_ms: int) -> None:
        """Its ack or refusal has come back."""
        published_ms = self._published.pop((connection_id, client_msg_id), None)
        if published_ms is not None:
            metrics.SEND_SECONDS.observe((now_ms - published_ms) / 1000)
