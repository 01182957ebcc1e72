"""Uploads: which of them a user may refer to in a message, and which a user may fetch."""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from services.gateway.protocol.media_urls import no_upload
from services.gateway.reads.batching import Batched
from services.gateway.reads.membership import Memberships
from tidings import ids
from tidings.errors import Refused
from tidings.store.base import Store
from tidings.store.media_rows import MediaRefRow, MediaRow

# References in one read. An upload sent to more sessions is looked up by the reader's sessions instead, so many at a
# time.
SESSIONS_READ = 200
# Sessions by reader and upload that a gateway caches: 300 bytes each.
REMEMBERED = 10_000


class MediaReads:
    """Reads rows of uploads and of the messages that refer to them. Raises StoreUnavailable."""

    def __init__(self, store: Store, memberships: Memberships) -> None:
        """Only where a right was found is remembered. Each call reads the right itself, because rights end (G10)."""
        self._store = store
        self._memberships = memberships
        self._rows: Batched[str, MediaRow] = Batched(store.media)
        self._found_in: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def owned(self, user_id: str, media_ids: Collection[str]) -> Mapping[str, MediaRow]:
        """The rows of uploads of this user. Raises Refused(`media_not_found`) if one is missing, of another user, or
        about to be removed."""
        rows, failed = await self._rows.get_some(media_ids)
        for error in failed.values():
            raise error
        for media_id in media_ids:
            row = rows.get(media_id)
            if row is None or row.owner_id != user_id or row.removing_at:
                raise no_upload("url")
        return rows

    async def readable(self, user_id: str, media_id: str) -> MediaRow:
        """The row of an upload that this user may fetch. Raises Refused(`media_not_found`) for any reason.

        The uploader may, and members of the sessions to which the uploader sent it. A member may if a message that
        refers to it is in the part of the history that the member may read now.
        """
        row = await self._rows.get(media_id) if ids.is_media_id(media_id) else None
        if row is None or not (row.owner_id == user_id or await self._was_sent_to(user_id, row)):
            raise Refused("media_not_found", "no such upload, or it was not sent to you")
        return row

    async def _was_sent_to(self, user_id: str, row: MediaRow) -> bool:
        if (user_id, row.media_id) in self._found_in:
            # A browser reads a video in many ranges.
            again = await self._store.media_refs_in(row.media_id, (self._found_in[user_id, row.media_id],))
            if await self._readable_one(user_id, again):
                return True
        refs = await self._store.media_refs(row.media_id, SESSIONS_READ)
        if len(refs) < SESSIONS_READ:
            return await self._readable_one(user_id, refs) is not None
        sessions = [one.session_id for one in await self._store.user_sessions(user_id) if not one.left_seq]
        for start in range(0, len(sessions), SESSIONS_READ):
            refs = await self._store.media_refs_in(row.media_id, sessions[start : start + SESSIONS_READ])
            if found := await self._readable_one(user_id, refs):
                self._remember(user_id, row.media_id, found)
                return True
        return False

    def _remember(self, user_id: str, media_id: str, session_id: str) -> None:
        self._found_in[user_id, media_id] = session_id
        self._found_in.move_to_end((user_id, media_id))
        if len(self._found_in) > REMEMBERED:
            self._found_in.popitem(last=False)

    async def _readable_one(self, user_id: str, refs: Sequence[MediaRefRow]) -> str | None:
        """A session whose message the user may read now."""
        members = await self._memberships.check_many(user_id, [ref.session_id for ref in refs])
        seqs = {
            ref.session_id: ref.seq
            for ref in refs
            if ref.session_id in members and ref.seq >= members[ref.session_id].first_seq
        }
        # A message at the end of its life takes the right to its upload along.
        newest = await self._store.segments(seqs, 1) if seqs else {}
        purged = {name: rows[0].purged_seq or 0 for name, rows in newest.items()}
        return next((name for name, seq in seqs.items() if seq > purged.get(name, 0)), None)
