"""What users of this gateway were told of watermarks: a frame is never lower than one before (G8). Pure.

Receipts tells maxima, but an owner that has lost its partition may tell an
older one late, and fanout repeats what it had not committed.
"""

from collections import OrderedDict

from tidings.wire.deliveries_pb2 import Watermark

# Some 250 bytes each: 12 MB. For a frame to be lower than one that is forgotten here, it has to be late by as many
# watermarks of other places.
MAX_PLACES = 50_000


class ToldWatermarks:
    """The maxima by recipient, session and user, the least recently told first out.

    By recipient, since a peer who is blocked is not told what the user's own devices are.
    """

    __slots__ = ("_max_places", "_told")

    def __init__(self, max_places: int = MAX_PLACES) -> None:
        """Nothing was told."""
        self._told: OrderedDict[tuple[str, str, str], Watermark] = OrderedDict()
        self._max_places = max_places

    def risen(self, recipient_id: str, moved: Watermark) -> Watermark:
        """What is to be told instead: the maximum of each part, with the time of the highest read."""
        place = (recipient_id, moved.session_id, moved.user_id)
        before = self._told.get(place)
        told = moved if before is None or _is_reached(before, moved) else _maximum(before, moved)
        self._told[place] = told
        self._told.move_to_end(place)
        if len(self._told) > self._max_places:
            self._told.popitem(last=False)
        return told


def _is_reached(before: Watermark, moved: Watermark) -> bool:
    """Whether the new one is the maximum as it is."""
    is_read = (moved.read_seq, moved.at_ms) == (before.read_seq, before.at_ms) or moved.read_seq > before.read_seq
    return is_read and moved.delivered_seq >= before.delivered_seq


def _maximum(before: Watermark, moved: Watermark) -> Watermark:
    newest = moved if moved.read_seq > before.read_seq else before
    told = Watermark()
    told.CopyFrom(newest)
    told.delivered_seq = max(before.delivered_seq, moved.delivered_seq)
    return told
