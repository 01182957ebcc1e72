"""Cold segments in memory, and moving hot ones there."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from tidings.errors import ColdUnavailable
from tidings.store.base import SessionSegment, TaggedRow
from tidings.store.history import uncounted_places
from tidings.store.memory import MemoryStore
from tidings.store.memory_archive import MemoryArchiveTables
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import ColdPlace, SegmentClosedRow, SegmentRow

_EVER_US = 2**62


class FakeCold:
    """Implements ColdRows. Segments of the sessions in `away` cannot be read. `reads`: what was asked for."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.reads: list[tuple[str, int, int]] = []
        self._rows: dict[SessionSegment, Sequence[MessageRow]] = {}

    async def messages(self, segment: SegmentRow, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        self.reads.append((segment.session_id, first_seq, last_seq))
        if segment.session_id in self.away:
            raise ColdUnavailable(f"{segment.session_id}: segment {segment.segment} cannot be read now")
        rows = self._rows[SessionSegment(segment.session_id, segment.segment)]
        return [row for row in rows if first_seq <= row.seq <= last_seq]

    async def take(self, store: MemoryStore, session_id: str, *numbers: int) -> None:
        """Do what the archiver does with these segments. The session's newest message also stays hot."""
        tables = MemoryArchiveTables(store)
        directory = {row.segment: row for row in await tables.segments_from(SessionSegment(session_id, 0), 10_000)}
        head_seq = max(row.seq for row in _messages(store, session_id))
        for number in numbers:
            name = SessionSegment(session_id, number)
            rows = [row for row in _messages(store, session_id) if row.segment == number]
            self._rows[name] = rows
            await tables.set_cold(name, _place(directory[number], rows))
            await tables.drop_messages(name, min(rows[-1].seq + 1, head_seq), _EVER_US)


def _messages(store: MemoryStore, session_id: str) -> Iterator[MessageRow]:
    for row in store.rows("messages"):
        if isinstance(row, MessageRow) and row.session_id == session_id:
            yield row


def _place(segment: SegmentRow, rows: Sequence[MessageRow]) -> ColdPlace:
    counts = [rows[0].count - 1, *(row.count for row in rows)]
    uncounted = uncounted_places(after > before for before, after in pairwise(counts))
    last = rows[-1]
    return ColdPlace(
        f"{segment.session_id}/{segment.segment}", 0, len(rows), last.count, last.at, b"", b"", uncounted, 0
    )


async def purge(store: MemoryStore, session_id: str, seq: int) -> None:
    """Do what the archiver does when the messages up to this seq reach the end of their life.

    The newest message is purged only after its segment was closed.
    """
    rows = list(_messages(store, session_id))
    last = rows[-1]
    if seq >= last.seq:
        closed = SegmentClosedRow(session_id, last.segment, last.seq, last.count, last.at, 0, last.log_offset + 1)
        await store.write([TaggedRow(0, closed)])
    tables = MemoryArchiveTables(store)
    await tables.set_purged(session_id, seq, max((row.count for row in rows if row.seq <= seq), default=0))
    for number in {row.segment for row in rows}:
        await tables.drop_messages(SessionSegment(session_id, number), seq + 1, _EVER_US)
