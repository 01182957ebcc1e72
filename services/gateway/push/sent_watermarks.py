"""The watermarks that this gateway has sent, so that no frame is lower than an earlier one (G8). Pure.

The receipts service publishes maxima. But a zombie may publish an older one late, and fanout repeats what it had not
committed.
"""

from cachetools import LRUCache

from tidings.wire.deliveries_pb2 import Watermark

# Some 290 bytes each: 15 MB. A late frame is lower than an evicted one only if it is late by 50,000 other watermarks.
MAX_PLACES = 50_000


class SentWatermarks:
    """The maxima by recipient, session and user. The least recently sent is evicted first.

    The recipient is part of the key, because a blocked peer does not get all watermarks that the user's devices get.
    """

    __slots__ = ("_sent",)

    def __init__(self, max_places: int = MAX_PLACES) -> None:
        """`max_places`: the bound of the table."""
        self._sent: LRUCache[tuple[str, str, str], Watermark] = LRUCache(max_places)

    def risen(self, recipient_id: str, moved: Watermark) -> Watermark:
        """The watermark to send: the maximum of each part, with the time of the highest read."""
        place = (recipient_id, moved.session_id, moved.user_id)
        before = self._sent.get(place)
        highest = moved if before is None or _is_reached(before, moved) else _maximum(before, moved)
        self._sent[place] = highest
        return highest


def _is_reached(before: Watermark, moved: Watermark) -> bool:
    """Whether the new watermark already is the maximum of both."""
    is_read = (moved.read_seq, moved.at_ms) == (before.read_seq, before.at_ms) or moved.read_seq > before.read_seq
    return is_read and moved.delivered_seq >= before.delivered_seq


def _maximum(before: Watermark, moved: Watermark) -> Watermark:
    newest = moved if moved.read_seq > before.read_seq else before
    highest = Watermark()
    highest.CopyFrom(newest)
    highest.delivered_seq = max(before.delivered_seq, moved.delivered_seq)
    return highest
