"""The cached order of users' session lists. Pure (ADR 16).

An order covers the user's inbox up to its tail. For each session, its `at` is at least that of the newest message in
those rows. Every change preserves this, also if the calls of one user interleave.
"""

from collections.abc import Collection, Mapping, Sequence

from cachetools import LRUCache

from tidings.store.rows import InboxRow

# Sessions of all cached orders. One takes 140 bytes by tracemalloc (id, number, entry): 28 MB for the last 200 users
# with 1,000 sessions each, or 2,000 users with 100.
MAX_SESSIONS = 200_000
# The overhead of an order, in sessions: 300 bytes.
_SESSIONS_WORTH = 3
# Rows of an inbox expire after 100 days. A shorter life also bounds the effect of a wrong order to an hour.
KEPT_MS = 3_600_000


class SessionOrder:
    """The order of one user. `tail`: the inbox_seq up to which rows were applied. Neither it nor an `at` goes back."""

    __slots__ = ("_ats", "read_ms", "tail")

    def __init__(self, tail: int, ats: Mapping[str, int], now_ms: int) -> None:
        """`ats`: by session, from heads that were read after the tail."""
        self._ats = dict(ats)
        self.tail = tail
        self.read_ms = now_ms

    def __len__(self) -> int:
        return len(self._ats)

    @property
    def ats(self) -> Mapping[str, int]:
        """`at` by session. Sessions that the user has left stay until `drop_others`."""
        return self._ats

    def known(self, listed: Collection[str]) -> dict[str, int]:
        """The `at` of these sessions, without those that are not in the order."""
        return {name: self._ats[name] for name in listed if name in self._ats}

    def follow(self, after: int, tail: int, rows: Sequence[InboxRow]) -> bool:
        """Apply the rows of (after, tail]. Does nothing and returns False if one of them is missing.

        `after` was the order's tail when the rows were read. A session that is not in the order stays out, because
        its head must be read first.
        """
        if [row.inbox_seq for row in rows] != list(range(after + 1, tail + 1)):
            return False
        for row in rows:
            self.move(row.session_id, row.at)
        self.tail = max(self.tail, tail)
        return True

    def move(self, session_id: str, at: int) -> None:
        """A message of this session is stored."""
        if at > self._ats.get(session_id, at):
            self._ats[session_id] = at

    def learn(self, tail: int, ats: Mapping[str, int]) -> None:
        """Apply heads that were read when the order's tail was `tail` or higher.

        If rows were applied since, a session that is not in the order stays out, because those rows may have named it.
        """
        for name, at in ats.items():
            if name in self._ats:
                self.move(name, at)
            elif tail >= self.tail:
                self._ats[name] = at

    def read_again(self, tail: int, ats: Mapping[str, int], now_ms: int) -> None:
        """Replace the order: the heads of all sessions were read after this tail."""
        if tail >= self.tail:
            self._ats = {name: max(at, self._ats.get(name, at)) for name, at in ats.items()}
            self.tail = tail
            self.read_ms = now_ms
        else:
            self.learn(tail, ats)

    def drop_others(self, listed: Collection[str]) -> None:
        """Remove the sessions that are not in `listed`."""
        self._ats = self.known(listed)


class SessionOrders:
    """The orders of the users that listed their sessions last."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        """`max_sessions`: the bound for all orders together."""
        self._orders: LRUCache[str, SessionOrder] = LRUCache(
            max_sessions, getsizeof=lambda order: len(order) + _SESSIONS_WORTH
        )

    def get(self, user_id: str, now_ms: int) -> SessionOrder | None:
        """The user's order, if it is cached and not too old. The caller may use it after its eviction."""
        order = self._orders.get(user_id)
        if order is not None and now_ms - order.read_ms >= KEPT_MS:
            del self._orders[user_id]
            return None
        return order

    def keep(self, user_id: str, tail: int, ats: Mapping[str, int], now_ms: int) -> None:
        """Cache an order: the heads of all listed sessions were read after the tail of the inbox."""
        order = self._orders.pop(user_id, None)
        if order is None:
            order = SessionOrder(tail, ats, now_ms)
        else:
            order.read_again(tail, ats, now_ms)
        self._put(user_id, order)

    def settle(self, user_id: str, tail: int, listed: Collection[str], ats: Mapping[str, int]) -> None:
        """Apply these heads, read when the order's tail was `tail`, and drop the sessions that are not listed."""
        order = self._orders.pop(user_id, None)
        if order is not None:
            order.learn(tail, ats)
            order.drop_others(listed)
            self._put(user_id, order)

    def move(self, user_id: str, ats: Mapping[str, int]) -> None:
        """Messages of these sessions are stored: the user has sent or seen them."""
        order = self._orders.get(user_id)
        if order is not None:
            for session_id, at in ats.items():
                order.move(session_id, at)

    def _put(self, user_id: str, order: SessionOrder) -> None:
        if len(order) + _SESSIONS_WORTH <= self._orders.maxsize:
            self._orders[user_id] = order
