"""Sends `live` and the heads of read-diffusion groups, which it reads from the tables."""

import asyncio
from collections.abc import Collection, Mapping

from services.gateway.connections.link import Link
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.large_groups.heads import GroupHeads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.sessions import SessionReads
from tidings import ids, metrics
from tidings.clock import Clock
from tidings.errors import StoreUnavailable
from tidings.store.base import Store
from tidings.store.rows import MODE_READ
from tidings.wire.push_pb2 import Live

# After a mass reconnect other users wait. The users of one round share the batches of reads.
USERS_AT_ONCE = 64
# Memberships that one round of heartbeats may read; there are at most ten rounds in a second. While pushes are late, as
# after a takeover of fanout, every active group is unverified. Heads are hints and must not overload the tables then.
MEMBERSHIPS_ASKED = 100

_LIVE_FRAMES = metrics.FRAMES.labels("out", "live")


class LiveAnswers:
    """Handles fanout's `live`. One task at a time, which runs only while connections wait."""

    def __init__(
        self, registry: ConnectionRegistry, store: Store, memberships: Memberships, sessions: SessionReads, clock: Clock
    ) -> None:
        """No connection waits yet."""
        self._registry = registry
        self._store = store
        self._memberships = memberships
        self._sessions = sessions
        self._clock = clock
        self._heads = GroupHeads(registry.group_tracker, sessions, memberships)
        self._waiting: dict[Link, int] = {}
        self._again: set[str] = set()
        self._running: asyncio.Task[None] | None = None
        self._missed: dict[str, set[str]] = {}
        registry.on_missed_groups = self.load

    def take(self, live: Live) -> None:
        """Let the connection go live once its groups are read. If the read fails, its presence is repeated."""
        link = self._registry.get(live.connection_id)
        if link is None or link.connection.user_id != live.user_id:
            return
        self._waiting[link] = max(live.inbox_seq, self._waiting.get(link, 0))
        self._begin()

    def reload(self, user_ids: Collection[str]) -> None:
        """Read the groups of these users again, because a push was missed, and send them the heads.

        If the read fails, presence is announced at once, as after a loss, and `live` leads to another read.
        """
        self._again.update(user_ids)
        self._begin()

    def load(self, user_id: str, session_ids: Collection[str]) -> None:
        """Read these groups of a user, and send their heads. If the read fails, presence is announced at once."""
        self._missed.setdefault(user_id, set()).update(session_ids)
        self._begin()

    async def heads(self, user_ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        """The readable heads of each user's read-diffusion groups, for a heartbeat."""
        return (await self._heads.of_users(user_ids, MEMBERSHIPS_ASKED))[0]

    def _begin(self) -> None:
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._waiting or self._again or self._missed:
            await self._load_missed()
            again = [self._again.pop() for _ in range(min(USERS_AT_ONCE, len(self._again)))]
            links = list(self._waiting)[:USERS_AT_ONCE]
            seqs = {link: self._waiting.pop(link) for link in links}
            users = {link.connection.user_id for link in links}
            generations = {user_id: self._registry.group_tracker.generation(user_id) for user_id in users}
            learned = await self._learn_all(users.union(again))
            self._beat_soon(learned.intersection(again))
            self._announce(set(again) - learned)
            heads, unread = await self._heads.of_users(users & learned)
            for link, inbox_seq in seqs.items():
                user_id = link.connection.user_id
                if user_id not in heads or user_id in unread:
                    continue
                if self._registry.group_tracker.generation(user_id) != generations[user_id]:
                    # Pushes were lost during the read, so its result is ignored. Presence is due and leads to another.
                    continue
                link.connection.went_live(inbox_seq, heads[user_id], self._clock.monotonic_ms())
                _LIVE_FRAMES.inc()
                self._registry.settle(link)

    async def _load_missed(self) -> None:
        missed = {user_id: self._missed.pop(user_id) for user_id in list(self._missed)[:USERS_AT_ONCE]}
        for user_id, session_ids in missed.items():
            try:
                await self._load(user_id, self._registry.group_tracker.generation(user_id), session_ids)
            except StoreUnavailable:
                self._announce((user_id,))
            else:
                self._beat_soon((user_id,))

    def _announce(self, user_ids: Collection[str]) -> None:
        """Announce presence again. Evicted users have no views left, so no later push can trigger a reload.

        Connections that wait for `live` repeat their presence by themselves.
        """
        now_ms = self._clock.monotonic_ms()
        for user_id in user_ids:
            for link in self._registry.of_user(user_id):
                link.connection.announce_again(now_ms)

    def _beat_soon(self, user_ids: Collection[str]) -> None:
        """Send the heads, because pushes were held back while the membership was unverified."""
        now_ms = self._clock.monotonic_ms()
        for user_id in user_ids:
            for link in self._registry.of_user(user_id):
                link.connection.beat_soon(now_ms)

    async def _learn_all(self, user_ids: Collection[str]) -> set[str]:
        """Read the groups of these users. Returns the users for which that succeeded."""
        tried = list(user_ids)
        outcomes = await asyncio.gather(*map(self._learn, tried), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, StoreUnavailable):
                raise outcome
        return {user_id for user_id, outcome in zip(tried, outcomes, strict=True) if outcome is None}

    async def _learn(self, user_id: str) -> None:
        """Read the groups of one user into the tracker. Raises StoreUnavailable."""
        groups = self._registry.group_tracker
        generation = groups.generation(user_id)
        rows = await self._store.user_sessions(user_id)
        listed = {row.session_id for row in rows if row.left_seq == 0 and row.mode == MODE_READ}
        asked = {name for name in listed.union(groups.tracked_sessions(user_id)) if ids.is_group_session(name)}
        await self._load(user_id, generation, asked)

    async def _load(self, user_id: str, generation: int, asked: Collection[str]) -> None:
        groups = self._registry.group_tracker
        groups.begin_load(generation, user_id, asked)
        # Read before the versions, so that the versions hold at least up to these heads.
        heads = await self._sessions.head_seqs(asked)
        versions = await self._memberships.versions(user_id, asked)
        groups.apply_versions(generation, versions.values(), heads)
