"""Acks and reads of clients on their way to the log. A membership is remembered for these alone, and for 4 s."""

from collections.abc import Collection

from cachetools import LRUCache

from services.gateway.commands import session_not_found
from services.gateway.membership import Memberships
from services.gateway.publishing import Publisher
from tidings import ids
from tidings.clock import Clock
from tidings.errors import Refused, StoreUnavailable
from tidings.wire.receipts_pb2 import Receipt

# A watermark of somebody just removed tells nobody anything, and one table read per ack would cost more than the ack.
MAX_AGE_MS = 4_000
MAX_MEMBERS = 50_000


class WatermarkMoves:
    """`look` first, then `move`."""

    def __init__(self, publisher: Publisher, memberships: Memberships, clock: Clock) -> None:
        """Nothing is remembered."""
        self._publisher = publisher
        self._memberships = memberships
        self._clock = clock
        # Until when somebody counts as a member.
        self._members: LRUCache[tuple[str, str], int] = LRUCache(MAX_MEMBERS)

    async def look(self, user_id: str, session_ids: Collection[str]) -> Collection[str] | None:
        """The sessions among these of which the user is (or was within 4 s) a member; None without the tables."""
        now_ms = self._clock.monotonic_ms()
        named = set(session_ids)
        known = {name for name in named if self._is_known(user_id, name, now_ms)}
        unknown = named - known
        if not unknown:
            return known
        try:
            found = await self._memberships.check_many(user_id, unknown)
        except StoreUnavailable:
            return None
        for name in found:
            self._members[user_id, name] = now_ms + MAX_AGE_MS
        return known.union(found)

    def move(self, receipt: Receipt, allowed: Collection[str] | None) -> None:
        """Publish soon, if `look` allows the session; raises Refused."""
        if allowed is None:
            raise Refused("unavailable", "the tables do not answer; send the ack or read again")
        if receipt.session_id not in allowed:
            raise session_not_found()
        self._publisher.watermark_soon(receipt)

    def _is_known(self, user_id: str, session_id: str, now_ms: int) -> bool:
        if not ids.is_group_session(session_id):
            return user_id in ids.direct_users(session_id)
        return bool(self._members.get((user_id, session_id), 0) > now_ms)
