"""In which order users see their sessions, as far as this gateway knows. Pure (ADR 16).

An order holds at least what the rows of the user's inbox up to its tail say: of
each session in it the `at` of the newest message, or of a newer one. Whatever
changes it keeps that true, in whichever turns the calls of one user do so.
"""

from collections.abc import Collection, Mapping, Sequence

from cachetools import LRUCache

from tidings.store.rows import InboxRow

# Of all users together. One is 140 bytes by tracemalloc (id, number, place): 28 MB for the 200 users of 1,000
# sessions, or the 2,000 of 100, who listed theirs last.
MAX_SESSIONS = 200_000
# What an order costs beside its sessions: 300 bytes.
_SESSIONS_WORTH = 3
# Rows of an inbox expire after 100 days; and whatever an order had wrong is right again after an hour.
KEPT_MS = 3_600_000


class SessionOrder:
    """One user's. `tail`: the inbox_seq up to which it has been brought forward; neither that nor an `at` goes back."""

    __slots__ = ("_ats", "read_ms", "tail")

    def __init__(self, tail: int, ats: Mapping[str, int], now_ms: int) -> None:
        """`ats`: by session, of heads that were asked for after the tail had been read."""
        self._ats = dict(ats)
        self.tail = tail
        self.read_ms = now_ms

    def __len__(self) -> int:
        return len(self._ats)

    @property
    def ats(self) -> Mapping[str, int]:
        """By session; of those that were left, too, until `drop_others`."""
        return self._ats

    def known(self, listed: Collection[str]) -> dict[str, int]:
        """The `at` of those among these that are in the order."""
        return {name: self._ats[name] for name in listed if name in self._ats}

    def follow(self, after: int, tail: int, rows: Sequence[InboxRow]) -> bool:
        """Bring it forward by the rows of (after, tail]; False, and nothing, where one of them cannot be read.

        `after` was its tail when the rows were asked for. A session that is not in the order stays out: its
        head is still to be read.
        """
        if [row.inbox_seq for row in rows] != list(range(after + 1, tail + 1)):
            return False
        for row in rows:
            self.move(row.session_id, row.at)
        self.tail = max(self.tail, tail)
        return True

    def move(self, session_id: str, at: int) -> None:
        """A message of this session is known to be stored."""
        if at > self._ats.get(session_id, at):
            self._ats[session_id] = at

    def learn(self, tail: int, ats: Mapping[str, int]) -> None:
        """Heads that were asked for when the order stood at `tail`, or had been read up to there.

        What the rows since then said of a session that was not in the order is forgotten, so such a session
        stays out if there were any.
        """
        for name, at in ats.items():
            if name in self._ats:
                self.move(name, at)
            elif tail >= self.tail:
                self._ats[name] = at

    def read_again(self, tail: int, ats: Mapping[str, int], now_ms: int) -> None:
        """All sessions were read once more, after this tail: the others are in the order no more."""
        if tail >= self.tail:
            self._ats = {name: max(at, self._ats.get(name, at)) for name, at in ats.items()}
            self.tail = tail
            self.read_ms = now_ms
        else:
            self.learn(tail, ats)

    def drop_others(self, listed: Collection[str]) -> None:
        """Only sessions among these stay in the order."""
        self._ats = self.known(listed)


class SessionOrders:
    """Those of the users who asked last."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        """Empty."""
        self._orders: LRUCache[str, SessionOrder] = LRUCache(
            max_sessions, getsizeof=lambda order: len(order) + _SESSIONS_WORTH
        )

    def get(self, user_id: str, now_ms: int) -> SessionOrder | None:
        """The user's order, if there is one that is not too old. It may be used on when it is kept no more."""
        order = self._orders.get(user_id)
        if order is not None and now_ms - order.read_ms >= KEPT_MS:
            del self._orders[user_id]
            return None
        return order

    def keep(self, user_id: str, tail: int, ats: Mapping[str, int], now_ms: int) -> None:
        """All listed sessions of the user were read, after the tail of the inbox."""
        order = self._orders.pop(user_id, None)
        if order is None:
            order = SessionOrder(tail, ats, now_ms)
        else:
            order.read_again(tail, ats, now_ms)
        self._put(user_id, order)

    def settle(self, user_id: str, tail: int, listed: Collection[str], ats: Mapping[str, int]) -> None:
        """Learn these heads, asked for when the order stood at `tail`, and drop what is not listed."""
        order = self._orders.pop(user_id, None)
        if order is not None:
            order.learn(tail, ats)
            order.drop_others(listed)
            self._put(user_id, order)

    def move(self, user_id: str, ats: Mapping[str, int]) -> None:
        """Messages of these sessions are known to be stored: what the user has sent, or has been shown."""
        order = self._orders.get(user_id)
        if order is not None:
            for session_id, at in ats.items():
                order.move(session_id, at)

    def _put(self, user_id: str, order: SessionOrder) -> None:
        if len(order) + _SESSIONS_WORTH <= self._orders.maxsize:
            self._orders[user_id] = order
