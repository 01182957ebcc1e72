"""Which messages are stored, for rows that name them by session and seq. Over any Store. Raises StoreUnavailable."""

from collections.abc import Collection, Mapping, Sequence

from tidings.store import history
from tidings.store.base import Store
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentRow

# Instead of a message_id, which is never negative.
_ELSEWHERE = -1


class StoredIds:
    """The answer for some places."""

    def __init__(self, ids: Mapping[tuple[str, int], int]) -> None:
        self._ids = ids

    def problem(self, session_id: str, seq: int, message_id: int) -> str:
        """Empty if the message is stored there, archived or at the end of its life."""
        found = self._ids.get((session_id, seq))
        if found is None:
            return f"names {session_id} seq {seq}, which is not stored"
        return "" if found in (message_id, _ELSEWHERE) else f"names another message than {session_id} seq {seq} is"


async def stored_ids(store: Store, wanted: Mapping[str, Collection[int]]) -> StoredIds:
    """Look the seqs of these sessions up. Those of cold segments count as stored if the directory says so."""
    rows = await history.rows_at(store, wanted, _ByDirectory())
    found = {place: row.message_id for place, row in rows.items()}
    missing = [(name, seq) for name, seqs in wanted.items() for seq in seqs if (name, seq) not in found]
    if missing:
        newest = await store.segments({name for name, _ in missing}, 1)
        purged = {name: listed[0].purged_seq or 0 for name, listed in newest.items()}
        found |= {(name, seq): _ELSEWHERE for name, seq in missing if seq <= purged.get(name, 0)}
    return StoredIds(found)


class _ByDirectory:
    """Implements ColdRows without an object: the directory says which seqs of a cold segment are stored."""

    async def messages(self, segment: SegmentRow, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        name = (segment.session_id, segment.segment)
        return [
            MessageRow(*name, seq, _ELSEWHERE, "", "", 0, b"", 0, 0, 0, 0) for seq in range(first_seq, last_seq + 1)
        ]
