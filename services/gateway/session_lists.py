"""The list of a user's sessions: in an order that is brought forward by the inbox, with heads read for the page."""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from services.gateway.inbox_reads import InboxReads
from services.gateway.session_orders import SessionOrder, SessionOrders
from services.gateway.session_reads import SessionReads
from tidings import metrics
from tidings.clock import Clock
from tidings.errors import Refused
from tidings.store.base import Store
from tidings.store.rows import MODE_READ, InboxRow, MessageRow, UserSessionRow

# Above that the heads of all sessions are the shorter way: 1,000 rows are one page of the driver.
MAX_ROWS_BEHIND = 1_000


class _News(NamedTuple):
    """What has come into an inbox since; `rows` is None where that is not to be read."""

    after: int
    tail: int
    rows: Sequence[InboxRow] | None


class _Listed(NamedTuple):
    """The sessions a user is in, with the `at` that gives each its place, and the heads that were read for that."""

    ats: Mapping[str, int]
    heads: Mapping[str, MessageRow]


class SessionLists:
    """Every head that is shown holds what was acked before it was asked for. Raises StoreUnavailable."""

    def __init__(
        self, store: Store, inbox: InboxReads, sessions: SessionReads, orders: SessionOrders, clock: Clock
    ) -> None:
        """`orders`: moved by what users send through this gateway, too."""
        self._store = store
        self._inbox = inbox
        self._sessions = sessions
        self._orders = orders
        self._clock = clock

    async def page(self, user_id: str, limit: int, before: str | None) -> bytes:
        """The user's sessions as JSON, newest activity first. Raises Refused for a `before` we did not give.

        The page is chosen by the kept order and sorted by what it shows. Who is still a member is asked of the
        page alone, and after its heads were read (G10).
        """
        below = _decoded_cursor(before) if before else None
        ats, known = await self._listed(user_id)
        places = sorted(((at, name) for name, at in ats.items()), reverse=True)
        if below is not None:
            places = [place for place in places if place < below]
        chosen = [name for _, name in places[:limit]]
        read, watermarks = await asyncio.gather(
            self._sessions.heads([name for name in chosen if name not in known]),
            self._sessions.watermarks_of(user_id, chosen),
        )
        heads = {name: head for name in chosen if (head := known.get(name) or read.get(name))}
        self._orders.move(user_id, _ats(heads))
        newest_first = sorted(heads.values(), key=lambda head: (head.at, head.session_id), reverse=True)
        answer: dict[str, object] = {"sessions": await self._sessions.described(user_id, newest_first, watermarks)}
        if len(places) > limit:
            answer["next"] = _cursor(*places[limit - 1])
        return orjson.dumps(answer)

    async def _listed(self, user_id: str) -> _Listed:
        order = self._orders.get(user_id, self._clock.monotonic_ms())
        rows, news = await asyncio.gather(self._store.user_sessions(user_id), self._news(user_id, order))
        listed = [row for row in rows if row.left_seq == 0]
        if order is not None and news.rows is not None and order.follow(news.after, news.tail, news.rows):
            metrics.SESSION_LISTS.labels("kept").inc()
            return await self._brought_forward(user_id, order, listed)
        metrics.SESSION_LISTS.labels("read").inc()
        heads = await self._sessions.heads([row.session_id for row in listed])
        self._orders.keep(user_id, news.tail, _ats(heads), self._clock.monotonic_ms())
        return _Listed(_ats(heads), heads)

    async def _news(self, user_id: str, order: SessionOrder | None) -> _News:
        after = None if order is None else order.tail
        tail = (await self._inbox.tails((user_id,))).get(user_id, 0)
        if after is None or tail - after > MAX_ROWS_BEHIND:
            return _News(0, tail, None)
        rows = await self._inbox.rows_after(user_id, after, tail - after) if after < tail else ()
        return _News(after, max(after, tail), rows)

    async def _brought_forward(self, user_id: str, order: SessionOrder, listed: Sequence[UserSessionRow]) -> _Listed:
        """The order, and the heads that the inbox does not tell of: of read-diffusion groups and of new sessions."""
        names = [row.session_id for row in listed]
        tail, known = order.tail, order.known(names)
        heads = await self._sessions.heads(
            [row.session_id for row in listed if row.mode == MODE_READ or row.session_id not in known]
        )
        read = _ats(heads)
        self._orders.settle(user_id, tail, names, read)
        return _Listed(known | {name: max(at, known.get(name, at)) for name, at in read.items()}, heads)


def _ats(heads: Mapping[str, MessageRow]) -> dict[str, int]:
    return {name: head.at for name, head in heads.items()}


def _cursor(at: int, session_id: str) -> str:
    return base64.urlsafe_b64encode(f"{at} {session_id}".encode()).decode()


def _decoded_cursor(text: str) -> tuple[int, str]:
    try:
        at, session_id = base64.urlsafe_b64decode(text.encode()).decode().split(" ")
        return int(at), session_id
    except (ValueError, binascii.Error):
        raise Refused("invalid_frame", "before takes the `next` of an earlier answer, unchanged") from None
