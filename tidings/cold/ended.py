"""Which segments have ended, so that they can be moved. Pure."""

from tidings.ids import Position
from tidings.store.segment_rows import SegmentRow


def last_seq_of(segment: SegmentRow, following: SegmentRow | None, confirmed: Position) -> int | None:
    """The last seq of a segment that has ended, or None.

    A segment ends where the next one begins, or where a command closed it. The persister must have confirmed that
    record. `confirmed` is the first position that it has not. Until then a replay may load the session as of a position
    before the end, and it reads the hot rows: law 5 (a replay ignores later rows).
    """
    if following is not None:
        return following.first_seq - 1 if following.made_at < confirmed else None
    if segment.closed_at is not None and segment.closed_at < confirmed:
        return segment.last_seq
    return None


def kept_from(segment: SegmentRow, following: SegmentRow | None, confirmed: Position) -> int | None:
    """The lowest seq whose hot row stays: that of the session's newest message, which heads and previews show.

    A next segment that is not confirmed may have no message yet (H8).
    """
    return segment.last_seq if following is None or following.made_at >= confirmed else None
