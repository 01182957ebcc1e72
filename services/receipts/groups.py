"""Groups as receipts needs them: the users that may have watermarks, and the receipts for the counts.

The log does not decide about a watermark. So the newest versions in the tables decide whether
a user is a member, and not the versions as of a seq. They are not read if the cached group
has the user and has followed the log far enough. The receipts of a group are needed for counts
alone. They are read in a task of their own (`group_receipts_loader`) and then follow the log.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

from cachetools import FIFOCache

from services.receipts.group_receipts import MEMBERS_IN_MEMORY, GroupReceipts, GroupReceiptsCache
from services.receipts.group_receipts_loader import GroupReceiptsLoader
from services.receipts.merge import Claim, UserOfSession
from tidings import ids, metrics
from tidings.store.base import Store
from tidings.store.rows import MODE_READ, NEWEST, GroupRow
from tidings.wire.persisted_pb2 import Persisted

# About 240 bytes each: 12 MB. If a group is evicted here and its members change, its receipts are read twice.
_SEEN_GROUPS = 50_000


class Groups:
    """The groups of the assigned partitions. `permitted` raises StoreUnavailable."""

    def __init__(self, store: Store, most_members: int = MEMBERS_IN_MEMORY) -> None:
        """`most_members`: the bound of all cached groups together (GroupReceiptsCache)."""
        self._store = store
        self._cache = GroupReceiptsCache(most_members)
        self._loads = GroupReceiptsLoader(store, self._cache)
        # The highest seq seen of each group in this assignment. After the first one there is no gap.
        # A message moves its group to the end, and a read does not.
        self._seen: FIFOCache[str, int] = FIFOCache(_SEEN_GROUPS)

    def see(self, persisted: Persisted) -> None:
        """Take in a stored message, whose rows are stored too. Not for repeats: an old one would undo newer changes."""
        session_id = persisted.message.session_id
        if not ids.is_group_session(session_id):
            return
        self._seen[session_id] = max(persisted.message.seq, self._seen.get(session_id, 0))
        if persisted.joined_ids or persisted.left_ids or persisted.dissolves or persisted.mode_to:
            self._cache.follow(persisted)
            self._loads.follow(persisted)
            # Load new members now and not when counts are due, because a growing group would always have some then.
            if (receipts := self._cache.get(session_id)) is not None and receipts.unloaded:
                self._loads.begin(session_id, persisted.message.seq)

    def forget(self) -> None:
        """Drop all state: another process owns the sessions now, and this one misses their changes."""
        self._loads.cancel()
        self._cache.clear()
        self._seen.clear()

    def raise_to(self, pair: UserOfSession, delivered_seq: int, read_seq: int) -> None:
        """Raise the stored watermarks of a member, if the group is in memory."""
        receipts = self._cache.get(pair[0])
        if receipts is not None:
            receipts.raise_to(pair[1], delivered_seq, read_seq)

    def receipts(self, session_id: str) -> GroupReceipts | None:
        """The receipts of a group with all its watermarks. If they are not in memory, begin a load and return None."""
        receipts = self._cache.get(session_id)
        if receipts is not None and not receipts.unloaded:
            return receipts
        self._loads.begin(session_id, self._seen.get(session_id))
        return None

    async def permitted(self, claims: Collection[Claim], heads: Mapping[str, int]) -> list[Claim]:
        """The claims of current members; in read diffusion without `delivered_seq`. All others are dropped.

        `heads`, by session, must be read before the membership check: a user removed before that head must not
        receive updates up to it (G10).
        """
        modes = await self._modes([claim for claim in claims if ids.is_group_session(claim.session_id)], heads)
        kept = []
        for claim in claims:
            mode = modes.get((claim.session_id, claim.user_id))
            if not ids.is_group_session(claim.session_id):
                kept.append(claim)
            elif mode is None:
                metrics.WATERMARKS_DROPPED.labels("not_a_member").inc()
            else:
                kept.append(replace(claim, delivered_seq=0) if mode == MODE_READ else claim)
        return kept

    async def _modes(self, claims: Collection[Claim], heads: Mapping[str, int]) -> dict[UserOfSession, int]:
        """The delivery mode of the group by claim, for users that are members.

        The tables are read for a user that no cached group has. They are also read if the head is above the highest
        seq seen. Then a removal at or below the head may not have come yet, so the cache may be out of date.
        """
        modes: dict[UserOfSession, int] = {}
        asked: dict[str, set[str]] = {}
        for claim in claims:
            receipts = self._cache.get(claim.session_id)
            is_current = heads[claim.session_id] <= self._seen.get(claim.session_id, 0)
            if receipts is not None and is_current and claim.user_id in receipts.watermarks:
                modes[claim.session_id, claim.user_id] = receipts.mode
            else:
                asked.setdefault(claim.session_id, set()).add(claim.user_id)
        rows = await self._store.groups_as_of(dict.fromkeys(asked, NEWEST)) if asked else {}
        living = [row for row in rows.values() if row.member_count > 0]
        for found in await asyncio.gather(*(self._modes_in(row, asked[row.session_id]) for row in living)):
            modes |= found
        return modes

    async def _modes_in(self, group: GroupRow, user_ids: Collection[str]) -> dict[UserOfSession, int]:
        rows = await self._store.members_as_of(group.session_id, NEWEST, user_ids)
        return {(group.session_id, row.user_id): group.mode for row in rows.values() if not row.left_seq}
