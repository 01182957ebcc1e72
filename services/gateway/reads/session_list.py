"""The list of a user's sessions. Its order is cached and updated from the inbox; heads are read for each page."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson

from services.gateway.reads.inbox import InboxReads
from services.gateway.reads.session_cursor import NOTHING_SHOWN, Cursor, Place, Rest, added, decoded, encoded, rest_of
from services.gateway.reads.session_order import SessionOrder, SessionOrders
from services.gateway.reads.sessions import SessionReads, Watermarks
from tidings import metrics
from tidings.clock import Clock
from tidings.errors import Refused
from tidings.store.base import Store
from tidings.store.rows import MODE_READ, InboxRow, MessageRow, UserSessionRow

# With more inbox rows, reading the heads of all sessions is faster: 1,000 rows are one page of the driver.
MAX_ROWS_BEHIND = 1_000


class _RowsSince(NamedTuple):
    """The inbox rows since `after`. `rows` is None if there are too many to read."""

    after: int
    tail: int
    rows: Sequence[InboxRow] | None


class _Page(NamedTuple):
    """The requested page: `limit` sessions after the cursor, or the newest ones without a cursor."""

    limit: int
    cursor: Cursor | None

    def names(self, ats: Mapping[str, int]) -> list[str]:
        """The sessions of the page and the one after it: newest first, or by name if they are shown again."""
        if isinstance(self.cursor, Rest):
            return sorted(filter(self.cursor.holds, ats))[: self.limit + 1]
        newest_first = sorted(zip(ats.values(), ats, strict=True), reverse=True)
        if self.cursor is not None:
            below = (self.cursor.at, self.cursor.session_id)
            newest_first = [place for place in newest_first if place < below]
        return [name for _, name in newest_first[: self.limit + 1]]

    def following(self, names: Sequence[str], ats: Mapping[str, int], shown: Iterable[str]) -> Cursor | None:
        """The cursor of the next page, after this page has shown `shown` of its `names`; None on the last page."""
        has_more = len(names) > self.limit
        last = names[self.limit - 1] if has_more else ""
        match self.cursor:
            case Rest(parts):
                return Rest(parts, last) if has_more else None
            case None if not has_more:
                return None
            case Place() | None:
                sums = added(self.cursor.shown if self.cursor else NOTHING_SHOWN, shown)
                return Place(ats[last], last, sums) if has_more else rest_of(sums, ats.keys())


class _Read(NamedTuple):
    """Rows of sessions that this call has read. `names`: the sessions whose watermarks were read."""

    heads: Mapping[str, MessageRow]
    watermarks: Watermarks
    names: Collection[str]


_NOTHING = _Read({}, {}, ())


class SessionLists:
    """A list includes every message that was acked before the call. Raises StoreUnavailable."""

    def __init__(
        self, store: Store, inbox: InboxReads, sessions: SessionReads, orders: SessionOrders, clock: Clock
    ) -> None:
        """`orders`: the cached orders. Acks of messages that users send through this gateway move them too."""
        self._store = store
        self._inbox = inbox
        self._sessions = sessions
        self._orders = orders
        self._clock = clock

    async def page(self, user_id: str, limit: int, before: str | None) -> bytes:
        """The user's sessions as JSON, newest activity first. Raises Refused for an unknown `before`.

        The cached order chooses the page, and the heads that it shows sort it. Memberships are checked for the page
        alone, after its heads were read (G10).
        """
        asked = _Page(limit, _decoded_cursor(before) if before else None)
        ats, read = await self._ats_and_rows(user_id, asked)
        names = asked.names(ats)
        read = await self._with_missing_rows(user_id, names[:limit], read)
        heads = [read.heads[name] for name in names[:limit] if name in read.heads]
        self._orders.move(user_id, _ats(heads))
        newest_first = sorted(heads, key=lambda head: (head.at, head.session_id), reverse=True)
        described = await self._sessions.described(user_id, newest_first, read.watermarks)
        answer: dict[str, object] = {"sessions": described}
        following = asked.following(names, ats, (str(session["session_id"]) for session in described))
        if following is not None:
            answer["next"] = encoded(following)
        return orjson.dumps(answer)

    async def _ats_and_rows(self, user_id: str, asked: _Page) -> tuple[Mapping[str, int], _Read]:
        """The sessions of a user, each with the `at` that determines its place, and the rows read so far."""
        order = self._orders.get(user_id, self._clock.monotonic_ms())
        rows, (tail, is_followed, read) = await asyncio.gather(
            self._store.user_sessions(user_id), self._tail_and_predicted_rows(user_id, order, asked)
        )
        listed = [row for row in rows if row.left_seq == 0]
        if order is not None and is_followed:
            metrics.SESSION_LISTS.labels("kept").inc()
            return await self._with_heads_outside_inbox(user_id, order, tail, listed, read)
        metrics.SESSION_LISTS.labels("read").inc()
        heads = await self._sessions.heads([row.session_id for row in listed])
        ats = _ats(heads.values())
        self._orders.keep(user_id, tail, ats, self._clock.monotonic_ms())
        return ats, _Read(heads, {}, ())

    async def _tail_and_predicted_rows(
        self, user_id: str, order: SessionOrder | None, asked: _Page
    ) -> tuple[int, bool, _Read]:
        """The tail of the inbox, whether the order could follow it, and the rows of the page that the order predicts.

        Reading the `user_sessions` of a user with 1,000 sessions takes as long as all of this.
        """
        since = await self._rows_since(user_id, order)
        if order is None or since.rows is None or not order.follow(since.after, since.tail, since.rows):
            return since.tail, False, _NOTHING
        # The message of a row is stored. Without this `_with_missing_rows` would read the watermarks twice.
        for row in since.rows:
            self._sessions.known_heads.see(row.session_id, row.seq)
        expected = asked.names(order.ats)[: asked.limit]
        return since.tail, True, await self._with_missing_rows(user_id, expected, _NOTHING)

    async def _rows_since(self, user_id: str, order: SessionOrder | None) -> _RowsSince:
        after = 0 if order is None else order.tail
        if order is not None:
            rows = await self._inbox.newest_rows(user_id, after, MAX_ROWS_BEHIND + 1)
            if rows is not None and len(rows) <= MAX_ROWS_BEHIND:
                return _RowsSince(after, rows[-1].inbox_seq if rows else after, rows)
        tail = max(after, await self._inbox.tail(user_id))
        if order is None or tail - after > MAX_ROWS_BEHIND:
            return _RowsSince(after, tail, None)
        return _RowsSince(after, tail, await self._inbox.rows_after(user_id, after, tail - after))

    async def _with_heads_outside_inbox(
        self, user_id: str, order: SessionOrder, tail: int, listed: Sequence[UserSessionRow], read: _Read
    ) -> tuple[Mapping[str, int], _Read]:
        """The order, with the heads that are not in the inbox: of read-diffusion groups and of new sessions.

        `tail`: a lower bound of the order's tail before the first head was read.
        """
        names = [row.session_id for row in listed]
        known = order.known(names)
        missing = {row.session_id for row in listed if row.mode == MODE_READ or row.session_id not in known}
        heads = await self._sessions.heads(missing - read.heads.keys())
        heads |= {name: head for name, head in read.heads.items() if name in missing}
        ats = _ats(heads.values())
        self._orders.settle(user_id, tail, names, ats)
        moved = known | {name: max(at, known.get(name, at)) for name, at in ats.items()}
        return moved, read._replace(heads={**read.heads, **heads})

    async def _with_missing_rows(self, user_id: str, names: Sequence[str], read: _Read) -> _Read:
        """`read`, completed with the rows of these sessions that are missing in it.

        Watermarks must be read after their head was stored. Otherwise the user's own last message below the head may
        be missing in them (G9). So they are read again if a head is newer than the bound known before the read.
        """
        known = {name: self._sessions.known_heads.get(name) for name in names if name not in read.heads}
        heads, watermarks = await asyncio.gather(
            self._sessions.heads(list(known)),
            self._sessions.watermarks_of(user_id, [name for name in names if name not in read.names]),
        )
        moved = [name for name, head in heads.items() if head.seq > known[name]]
        if moved:
            watermarks |= await self._sessions.watermarks_of(user_id, moved)
        return _Read({**read.heads, **heads}, {**read.watermarks, **watermarks}, {*read.names, *names})


def _ats(heads: Iterable[MessageRow]) -> dict[str, int]:
    return {head.session_id: head.at for head in heads}


def _decoded_cursor(text: str) -> Cursor:
    cursor = decoded(text)
    if cursor is None:
        raise Refused("invalid_frame", "before takes the `next` of an earlier answer, unchanged")
    return cursor
