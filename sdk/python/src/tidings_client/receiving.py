"""Passes each incoming message to the application exactly once, in the order of its session.

Pure: every call takes `now_ms` and returns effects. Rules: PROTOCOL, *Receiving*. Memory is bounded: a push that does
not fit is dropped, and a sync fetches the message later, because pushes are only hints. The client keeps reading the
socket meanwhile, because the application's own loop may wait for an ack behind those pushes.
"""
# Above 400 lines and not split: pushes, pages, heartbeats and histories all move the same cursor and window. The parts
# with state of their own (groups, lives, acks, claims, progress) are other modules already.

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tidings_client.acks import Acks
from tidings_client.claims import Claims
from tidings_client.effects import Cursor, Deliver, Effect, PersistCursor, SendFrame
from tidings_client.frames import Deployment, Message, Position, Sync, SyncPage
from tidings_client.groups import Found, Gap, Groups, Released
from tidings_client.lives import OTHER_LIFE, Lives
from tidings_client.membership import joins, reads_log_after
from tidings_client.progress import Progress

PATIENCE_MS = 200  # PROTOCOL: wait before syncing a gap
AGAIN_MS = 1_000  # PROTOCOL: wait before syncing the same gap again
AHEAD_AGAIN_MS = 2_000  # the same while the tail is below the cursor
COLD_START_MS = 10_000  # PROTOCOL: the longest wait for `live`
PERSIST_MS = 100  # delay of saving the cursor; after a crash it costs a few repeats
WINDOW = 1_000  # deliveries that the application has not handled yet
MAX_HELD = 1_000  # pushes above a gap
MAX_PAGE = 200
SESSIONS_REMEMBERED = 10_000  # last seq shown; for others, inbox_seq and the groups' logs detect repeats
CLOSED_LOGS_REMEMBERED = 1_000  # above it claims come from the server's watermarks and not from the inbox's order
MAX_STRAYS = 200  # group pushes whose group the inbox has not named yet


@dataclass(slots=True)
class Receiving:
    """Reports held messages to `acks` and shown ones to `claims`. Nothing is delivered before `open()`; until then
    only heads and tails are noted. `life` counts the lives of the deployment."""

    acks: Acks
    claims: Claims
    life: int = 0
    groups: Groups = field(default_factory=Groups)
    page_limit: int = MAX_PAGE
    _user_id: str = ""
    _from_live: bool = False
    _cursor: int | None = None
    _tail: int = 0
    _opened: bool = False
    _connected: bool = False
    _live_by_ms: int | None = None
    _is_live: bool = False
    _due_ms: int | None = None
    _not_before_ms: int = 0
    _forced: bool = False
    _force_at_ms: int | None = None
    _not_forced_before_ms: int = 0
    _persist_at_ms: int | None = None
    _held: dict[int, Message] = field(default_factory=dict)
    _strays: list[Message] = field(default_factory=list)
    _heads: dict[str, int] = field(default_factory=dict)  # of groups, from this connection
    _shown: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _progress: Progress = field(default_factory=Progress)
    # Groups whose history was refused, perhaps before messages that were not had, until the user joins again.
    _closed_logs: dict[str, None] = field(default_factory=dict)
    _lives: Lives = field(default_factory=Lives)

    def restore(self, cursor: Cursor | None, *, from_live: bool) -> None:
        """Set the cursor before the first connection. None: a new device, which starts at the beginning of its inbox
        or, with `from_live`, at the first `live`."""
        self._from_live = from_live and cursor is None
        self._lives.restore(cursor)
        if cursor is not None:
            self._progress.inbox_seq = cursor.inbox_seq
            self._progress.groups.update(cursor.groups)
            self._progress.is_whole = cursor.is_whole
            for session_id, seq in cursor.groups.items():
                self._begin_after(session_id, seq)
                if cursor.is_whole:
                    self.claims.had_before(session_id, seq + 1)
        elif not from_live:
            self._progress.is_whole = True
            self.groups.patience_ms = 0  # a new device has shown nothing, so it cannot show a message twice
        self._cursor = None if self._from_live else self._progress.inbox_seq

    def open(self, now_ms: int) -> Iterator[Effect]:
        """The application starts to take messages."""
        self._opened = True
        yield from self._resume(now_ms)

    def greeted(self, now_ms: int, deployment: Deployment | None) -> Iterator[Effect]:
        """A new connection is signed in, and `welcome` names its life of the deployment."""
        if not self._lives.greeted(deployment):
            return
        if self._cursor is None:
            self._lives.current = deployment  # the device has shown nothing yet
        else:
            yield from self._begin_again(now_ms, deployment)

    def ready(self, now_ms: int, user_id: str) -> None:
        """A new connection is signed in. `live` follows later."""
        self._user_id = user_id
        self.groups.ready(user_id)
        self._connected, self._not_before_ms, self._not_forced_before_ms = True, 0, 0
        self._live_by_ms = now_ms + COLD_START_MS

    def lost(self) -> None:
        self._connected, self._due_ms, self._live_by_ms, self._force_at_ms = False, None, None, None
        self._is_live = False
        self._heads.clear()
        self._lives.trust()

    def tail(self, now_ms: int, inbox_seq: int, heads: Iterable[Position], *, live: bool) -> Iterator[Effect]:
        """`live` or `heartbeat`: the tail of the inbox and heads of groups."""
        if live:
            self._live_by_ms, self._is_live = None, True
            self.claims.live(now_ms)
        if live and self._cursor is None:
            self._begin_with_live(now_ms, inbox_seq, heads)
        self._tail = max(self._tail, inbox_seq)
        for head in heads:
            self._heads[head.session_id] = head.seq
            self.groups.head(now_ms, head.session_id, head.seq, live=live)
        if inbox_seq >= (self._cursor or 0):
            self._lives.prove()
        else:
            self.doubt(now_ms)
        yield from self._resume(now_ms)

    def doubt(self, now_ms: int) -> None:
        """The server states that its tail is below the cursor. Sync, because only a sync page proves it."""
        if self._cursor is not None:
            self._force(now_ms)

    def push(self, now_ms: int, inbox_seq: int | None, message: Message) -> Iterator[Effect]:
        if inbox_seq is None:
            yield from self._push_from_log(now_ms, message)
            return
        self._tail = max(self._tail, inbox_seq)
        fits = self._cursor is not None and self._has_room and len(self._held) < MAX_HELD
        if fits and inbox_seq > (self._cursor or 0):
            self._held[inbox_seq] = message
            yield from self._advance(now_ms)
        elif fits:
            yield from self.acks.held_again(now_ms)
        if not fits:  # ack it, because the server repeats it otherwise and closes the connection after 45 s
            yield from self.acks.held(now_ms, self._tail)
        self._sync_by(now_ms + PATIENCE_MS)

    def page(self, now_ms: int, page: SyncPage) -> Iterator[Effect]:
        if self._cursor is None:
            return
        if page.ahead:
            yield from self._page_ahead(now_ms, page)
            return
        if page.tail >= self._cursor:
            self._lives.prove()
        if self._forced:
            self._not_forced_before_ms = now_ms + AGAIN_MS
        self._not_before_ms, self._due_ms, self._forced, before = 0, None, False, self._cursor
        self._tail = max(self._tail, page.tail)
        for item in page.items or ():
            if item.inbox_seq > self._cursor and self._has_room:
                self._held[item.inbox_seq] = item.message
                if page.truncated:
                    self._skip_to(now_ms, item.inbox_seq - 1)
                yield from self._advance(now_ms)
        if page.truncated and page.next > self._cursor and self._has_room:
            self._skip_to(now_ms, page.next)
            yield from self._advance(now_ms)
        yield from self._settle_strays(now_ms)
        self._sync_by(now_ms if self._cursor > before else now_ms + AGAIN_MS)

    def _page_ahead(self, now_ms: int, page: SyncPage) -> Iterator[Effect]:
        """The tail is below the cursor. Within one life this is temporary: it ends once fanout has written the rows
        that it has pushed, before `live` or soon after."""
        if page.after != self._cursor:  # requested before the cursor moved
            return
        self._due_ms, self._not_before_ms, self._forced = None, 0, True
        self._not_forced_before_ms = now_ms + AHEAD_AGAIN_MS
        if (self._is_live or not self._lives.is_proven) and self._lives.is_over(now_ms):
            yield from self._begin_again(now_ms, None)
            self._tail = page.tail
        self._sync_by(now_ms if self._cursor == 0 else now_ms + AHEAD_AGAIN_MS)

    def _begin_again(self, now_ms: int, deployment: Deployment | None) -> Iterator[Effect]:
        """Begin another life. Drop all state about seqs of the last one."""
        self._lives.begin(deployment, self._progress.cursor, self._shown)
        self.life += 1
        self._from_live, self._cursor, self._tail, self._forced = False, 0, 0, False
        self._held.clear()
        self._strays.clear()
        self._shown.clear()
        self._closed_logs.clear()
        # What a restore has kept is not shown again, also where it was never shown. So this device becomes whole only
        # if nothing was kept.
        self._progress.is_whole |= not self._lives.earlier
        self._progress.begin_again()
        self.groups = Groups(self._user_id, patience_ms=0)
        for session_id, seq in self._heads.items():
            self.groups.head(now_ms, session_id, seq)
        self.claims.forget_all()
        self._persist_soon(now_ms)
        yield OTHER_LIFE

    def history_ahead(self, now_ms: int, session_id: str) -> Iterator[Effect]:
        """The history of a group ends below the last shown seq."""
        if self.groups.ahead(now_ms, session_id):
            yield from self._begin_again(now_ms, None)
            self._forced = True
            self._sync_by(now_ms)

    def history(
        self, now_ms: int, session_id: str, messages: Iterable[Message], has_more: bool, purged_seq: int
    ) -> Iterator[Effect]:
        yield from self._take(now_ms, self.groups.history(now_ms, session_id, messages, has_more, purged_seq))

    def history_failed(self, now_ms: int, session_id: str, gone: bool, jitter: float) -> Iterator[Effect]:
        if gone:
            self._close_log(session_id)
        yield from self._take(now_ms, self.groups.history_failed(now_ms, session_id, gone, jitter))

    def _close_log(self, session_id: str) -> None:
        """Above the bound, forget the oldest log. Its inbox rows would prove too much then, so prove nothing by any."""
        self._closed_logs[session_id] = None
        if len(self._closed_logs) > CLOSED_LOGS_REMEMBERED:
            self._closed_logs.pop(next(iter(self._closed_logs)))
            self._progress.is_whole = False

    def handled(self, now_ms: int, ticket: int) -> Iterator[Effect]:
        """The application has handled a delivery, so the cursor may move."""
        if self._progress.handled(ticket):
            self._persist_soon(now_ms)
        behind = self._cursor is not None and self._cursor < self._tail
        if behind and self._progress.outstanding <= WINDOW // 2:
            yield from self._resume(now_ms)

    def tick(self, now_ms: int) -> Iterator[Effect]:
        if self._live_by_ms is not None and self._live_by_ms <= now_ms:
            self._live_by_ms, self._forced = None, True
            self._sync_by(now_ms)
        if self._force_at_ms is not None and self._force_at_ms <= now_ms:
            self._force(now_ms)
        if self._may_sync and self._due_ms is not None and self._due_ms <= now_ms:
            yield from self._sync(now_ms)
        if (pages := self._log_pages) > 0:
            yield from self.groups.tick(now_ms, pages)
        if self._persist_at_ms is not None and self._persist_at_ms <= now_ms:
            yield from self.flush()

    def flush(self) -> Iterator[Effect]:
        """Save the cursor now, if it has moved."""
        if self._persist_at_ms is not None:
            self._persist_at_ms = None
            yield PersistCursor(self._lives.stamped(self._progress.cursor))

    def next_tick_ms(self) -> int | None:
        times = [self._live_by_ms, self._persist_at_ms, self._force_at_ms]
        if self._may_sync:
            times.append(self._due_ms)
        if self._log_pages > 0:
            times.append(self.groups.next_tick_ms())
        return min((time for time in times if time is not None), default=None)

    @property
    def _room(self) -> int:
        return WINDOW - self._progress.outstanding if self._opened else 0

    @property
    def _has_room(self) -> bool:
        return self._room > 0

    @property
    def _may_sync(self) -> bool:
        return self._connected and self._cursor is not None and self._live_by_ms is None and self._has_room

    @property
    def _log_pages(self) -> int:
        """How many pages of group logs may be fetched: as many as the window has room for, rounded up. The inbox goes
        first, unless the window is full because the inbox itself waits for a log."""
        if not (self._opened and self._connected) or self._cursor is None or self._live_by_ms is not None:
            return 0
        is_level = self._cursor >= self._tail and not self._forced
        if self._has_room and not is_level:
            return 0
        return math.ceil((WINDOW - self._progress.unhandled) / MAX_PAGE) - self.groups.fetching

    def _begin_with_live(self, now_ms: int, inbox_seq: int, heads: Iterable[Position]) -> None:
        self._cursor = self._progress.inbox_seq = inbox_seq
        for head in heads:
            self._progress.groups[head.session_id] = head.seq
            self._begin_after(head.session_id, head.seq)
        self._persist_soon(now_ms)

    def _begin_after(self, session_id: str, seq: int) -> None:
        """Follow a group's log that was handled up to `seq`."""
        self.groups.follow(session_id, seq)
        self._remember(session_id, seq)

    def _resume(self, now_ms: int) -> Iterator[Effect]:
        yield from self._advance(now_ms)
        self._sync_by(now_ms)
        if not self._has_room:
            yield from self.acks.held(now_ms, self._tail)

    def _sync_by(self, at_ms: int) -> None:
        if self._cursor is None or (self._cursor >= self._tail and not self._forced):
            self._due_ms = None
            return
        at_ms = max(at_ms, self._not_before_ms)
        self._due_ms = at_ms if self._due_ms is None else min(self._due_ms, at_ms)

    def _sync(self, now_ms: int) -> Iterator[Effect]:
        self._due_ms = self._not_before_ms = now_ms + AGAIN_MS
        limit = min(self.page_limit, MAX_PAGE, self._room)
        yield SendFrame(Sync(after=self._cursor or 0, limit=limit))

    def _advance(self, now_ms: int) -> Iterator[Effect]:
        """Pass on held messages that have become contiguous."""
        if self._cursor is None:
            return
        while self._has_room and (message := self._held.pop(self._cursor + 1, None)) is not None:
            self._cursor += 1
            ticket = self._progress.issue(self._cursor)
            yield from self._arrived(now_ms, message, ticket)
        if self._opened:
            yield from self.acks.held(now_ms, self._cursor)

    def _skip_to(self, now_ms: int, inbox_seq: int) -> None:
        if self._cursor is not None and inbox_seq > self._cursor:
            self._cursor = inbox_seq
            self._held = {held: message for held, message in self._held.items() if held > inbox_seq}
            self._progress.is_whole = False
            if self._progress.skip(inbox_seq):
                self._persist_soon(now_ms)

    def _push_from_log(self, now_ms: int, message: Message) -> Iterator[Effect]:
        session_id, follows = message.session_id, self.groups.follows(message.session_id)
        if follows and self._has_room:
            yield from self._take(now_ms, self.groups.offer(now_ms, message, None))
        elif follows:
            self.groups.head(now_ms, session_id, message.seq)
        else:
            self.groups.raise_head(session_id, message.seq)
            self._force(now_ms)
            if len(self._strays) < MAX_STRAYS:  # history has the others, once the inbox has named the group
                self._strays.append(message)

    def _force(self, now_ms: int) -> None:
        """Sync although the inbox has no gap, because it may name the group of a push. At most once per AGAIN_MS."""
        at_ms = max(now_ms, self._not_forced_before_ms)
        self._force_at_ms = None if at_ms <= now_ms else at_ms
        if self._force_at_ms is None:
            self._forced = True
            self._sync_by(now_ms)

    def _settle_strays(self, now_ms: int) -> Iterator[Effect]:
        """After a sync, take the pushes of groups that the inbox has named, and drop the others."""
        if self._cursor is None or self._cursor < self._tail:
            return
        strays, self._strays = self._strays, []
        for message in strays:
            if self.groups.follows(message.session_id):
                yield from self._take(now_ms, self.groups.offer(now_ms, message, None))

    def _arrived(self, now_ms: int, message: Message, ticket: int | None) -> Iterator[Effect]:
        if self.groups.follows(message.session_id):
            yield from self._take(now_ms, self.groups.offer(now_ms, message, ticket))
        else:
            yield from self._show(now_ms, message, ticket)

    def _take(self, now_ms: int, found: Iterable[Found]) -> Iterator[Effect]:
        for entry in found:
            match entry:
                case Gap():
                    self._forced = True
                    self._sync_by(now_ms)
                case Released(message=message, ticket=ticket):
                    yield from self._arrived(now_ms, message, ticket)
                case _:
                    yield from self._show(now_ms, entry.message, entry.ticket)

    def _show(self, now_ms: int, message: Message, ticket: int | None) -> Iterator[Effect]:
        session_id, seq = message.session_id, message.seq
        if seq <= self._shown.get(session_id, 0):
            if ticket is not None:
                self._repeated(session_id, ticket)
                yield from self.handled(now_ms, ticket)
            return
        self._remember(session_id, seq)
        if reads_log_after(message, self._user_id) and not self.groups.follows(session_id):
            self.groups.follow(session_id, seq, now_ms)
        ticket = self._progress.issue(None) if ticket is None else ticket
        follows, inbox_seq = self.groups.follows(session_id), self._progress.inbox_seq_of(ticket)
        self._progress.shown(ticket, session_id, seq, in_group_log=follows)
        if joins(message, self._user_id):
            self._closed_logs.pop(session_id, None)
        is_in_order = inbox_seq is not None and not follows and session_id not in self._closed_logs
        if self._progress.is_whole and is_in_order:
            # The inbox has each message of the session once and in order. So this device has had all before this one,
            # also in an earlier process.
            self.claims.had_before(session_id, seq)
        yield from self.claims.shown(now_ms, message, self._user_id, is_read_mode=follows)
        if self._lives.was_shown(inbox_seq, message):
            if self._progress.handled(ticket):
                self._persist_soon(now_ms)
        else:
            yield Deliver(ticket, message)

    def _repeated(self, session_id: str, ticket: int) -> None:
        """The inbox repeats a message that was shown from a log. Its ticket must wait until that one is handled."""
        follows = self.groups.follows(session_id)
        self._progress.shown(ticket, session_id, self._shown[session_id], in_group_log=follows)

    def _remember(self, session_id: str, seq: int) -> None:
        self._shown[session_id] = seq
        self._shown.move_to_end(session_id)
        if len(self._shown) > SESSIONS_REMEMBERED:
            self._shown.popitem(last=False)

    def _persist_soon(self, now_ms: int) -> None:
        if self._persist_at_ms is None:
            self._persist_at_ms = now_ms + PERSIST_MS
