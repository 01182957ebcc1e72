"""Acks and reads of clients on their way to Kafka. Only they use cached memberships, for at most 4 s."""

from collections.abc import Mapping

from cachetools import LRUCache

from services.gateway.protocol.commands import session_not_found
from services.gateway.protocol.effects import MoveWatermark
from services.gateway.reads.membership import Memberships
from services.gateway.reads.sessions import SessionReads
from services.gateway.submit.publisher import Publisher
from tidings import ids
from tidings.clock import Clock
from tidings.errors import StoreUnavailable
from tidings.wire.receipts_pb2 import Receipt

# A watermark of a recently removed member reveals nothing, and a table read per ack would cost more than the ack.
MAX_AGE_MS = 4_000
MAX_MEMBERS = 50_000


# By session, the seq up to which a claim counts. None if the tables are needed and unavailable. Sessions that the user
# is not a member of have no entry.
Bounds = Mapping[str, int | None]


class WatermarkMoves:
    """Publishes claims that certainly count at once, and others after a `look`."""

    def __init__(self, publisher: Publisher, memberships: Memberships, sessions: SessionReads, clock: Clock) -> None:
        """No membership is cached yet."""
        self._publisher = publisher
        self._memberships = memberships
        self._sessions = sessions
        self._clock = clock
        # By (user, session), the time in ms until which the user counts as a member.
        self._members: LRUCache[tuple[str, str], int] = LRUCache(MAX_MEMBERS)

    def is_certain(self, user_id: str, session_id: str, seq: int) -> bool:
        """Whether the claim counts unchanged, without a `look`."""
        return seq <= self.known_head(user_id, session_id)

    def known_head(self, user_id: str, session_id: str) -> int:
        """The seq up to which a claim counts without a `look`; 0 for a user without a cached membership."""
        is_known = self._is_known(user_id, session_id, self._clock.monotonic_ms())
        return self._sessions.known_heads.get(session_id) if is_known else 0

    async def look(self, user_id: str, claims: Mapping[str, int]) -> Bounds:
        """For each session of which the user is a member (or was within 4 s), the claimed seq or the head if lower.

        The current head bounds a claim, so that it does not cover messages that are stored later. Memberships are
        checked before heads are read, because the response time would reveal a head to non-members (G11). Does not
        raise StoreUnavailable.
        """
        bounds = await self._of_members(user_id, claims)
        if beyond := self._beyond(bounds):
            # After a start of the gateway, most reconnecting clients repeat watermarks that are stored.
            await self._sessions.learn_heads_of_marks(user_id, beyond)
            beyond = self._beyond(bounds)
        if not beyond:
            return bounds
        try:
            heads, unread = await self._sessions.readable_head_seqs(beyond)
            # Checked again, because a member removed before this head was read must not get it (G10).
            members = await self._memberships.check_many(user_id, beyond)
        except StoreUnavailable:
            return {**bounds, **dict.fromkeys(beyond)}
        found = {
            name: None if name in unread else min(claims[name], heads.get(name, 0))
            for name in beyond
            if name in members
        }
        return {name: seq for name, seq in bounds.items() if name not in beyond} | found

    def _beyond(self, bounds: Bounds) -> list[str]:
        known_heads = self._sessions.known_heads
        return [name for name, seq in bounds.items() if seq is not None and seq > known_heads.get(name)]

    def move(self, user_id: str, move: MoveWatermark, bound: int | None) -> None:
        """Publish the claim up to the bound within GATHER_S. Raises Refused if the bound is None (not a member)."""
        if bound is None:
            raise session_not_found()
        delivered_seq, read_seq = min(move.delivered_seq, bound), min(move.read_seq, bound)
        if delivered_seq or read_seq:
            session_id = move.session_id
            receipt = Receipt(session_id=session_id, user_id=user_id, delivered_seq=delivered_seq, read_seq=read_seq)
            self._publisher.watermark_soon(receipt)

    async def _of_members(self, user_id: str, claims: Mapping[str, int]) -> dict[str, int | None]:
        now_ms = self._clock.monotonic_ms()
        known = {name for name in claims if self._is_known(user_id, name, now_ms)}
        unknown = claims.keys() - known
        try:
            found = await self._memberships.check_many(user_id, unknown) if unknown else {}
        except StoreUnavailable:
            return {name: seq if name in known else None for name, seq in claims.items()}
        for name in found:
            self._members[user_id, name] = now_ms + MAX_AGE_MS
        return {name: seq for name, seq in claims.items() if name in known or name in found}

    def _is_known(self, user_id: str, session_id: str, now_ms: int) -> bool:
        if not ids.is_group_session(session_id):
            return user_id in ids.direct_users(session_id)
        return bool(self._members.get((user_id, session_id), 0) > now_ms)
