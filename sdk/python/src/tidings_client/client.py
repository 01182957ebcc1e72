"""The asyncio client: carries out what the core decides."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack
from weakref import WeakValueDictionary

from websockets.exceptions import WebSocketException

from tidings_client import effects
from tidings_client.composing import Address, draft_of, fault_of
from tidings_client.core import Core
from tidings_client.cursors import CursorStore, MemoryCursorStore
from tidings_client.effects import Effect, Event, Link, Status
from tidings_client.errors import ApiError, Stopped, Unreachable, stopped_because
from tidings_client.fetching import Fetcher
from tidings_client.frames import Message
from tidings_client.group_calls import GroupCalls
from tidings_client.handles import SentMessage
from tidings_client.ids import MessageIds
from tidings_client.incoming import Events, Incoming
from tidings_client.keeping import Keeper
from tidings_client.outbox import MemoryOutbox, Outbox
from tidings_client.rest import HistoryPage, ReceiptPage, Rest, Session, SessionPage, http_url_of, ws_url_of
from tidings_client.sending import Draft
from tidings_client.socket import Socket, open_socket
from tidings_client.tokens import TokenProvider, Tokens, expires_in_ms

MAX_UNSETTLED = 10_000  # messages under way; `send` waits beyond it
LEAVE_S = 5.0  # how long leaving waits for unanswered sends


class Client:
    """One device of one user: sends with retry, receives each message exactly once, resumes after anything.

    Use it with `async with`; it connects in the background and keeps connected. `url` is any address of the
    server (`ws://host:port`, `http://host:port`, with or without `/v1/ws`); `token` a JWT, or an async
    function that returns one and is asked again before it ends or when it is refused.
    `device_id` belongs to the cursor in `cursors`: the same pair resumes where it stopped. A device without
    a cursor begins with everything in its inbox or, with `from_live`, with what comes after connecting.
    """

    def __init__(
        self,
        url: str,
        token: str | TokenProvider,
        *,
        device_id: str = "python",
        cursors: CursorStore | None = None,
        outbox: Outbox | None = None,
        from_live: bool = False,
    ) -> None:
        self._url = ws_url_of(url)
        self._tokens = Tokens(token)
        self._rest = Rest(http_url_of(url), self._tokens)
        self._core = Core(device_id, lambda: random.uniform(-1, 1), renewable_token=self._tokens.renewable)
        self._cursors = cursors or MemoryCursorStore()
        self._outbox = outbox or MemoryOutbox()
        self._keeper = Keeper(self._cursors, self._outbox)
        self._from_live = from_live
        self._ids = MessageIds(secrets.randbits)
        self.groups = GroupCalls(self._rest, self._make_id, self._own_id)  # the calls about groups
        self._incoming = Incoming(self._settled_ticket)
        self._events = Events()
        self._handles: WeakValueDictionary[str, SentMessage] = WeakValueDictionary()
        self._unsettled: set[str] = set()
        self._changed = asyncio.Event()
        self._stopped: Stopped | None = None
        self._socket: Socket | None = None
        self._closing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._fetcher = Fetcher(self._rest, self._core, self._apply, self._now_ms)

    # -- coming and going --------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        cursor = await self._cursors.load()
        drafts = await self._outbox.load()
        self._keeping = self._spawn(self._keeper.run())
        self._apply(self._core.start(cursor, from_live=self._from_live))
        for draft in drafts:
            self._submit(draft)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._incoming.settle_taken()
            await self._drain()
        await self.close()

    async def close(self) -> None:
        """Leave at once: last acks, the cursor, and the socket. What is not stored yet stays in the outbox."""
        if self._stopped is None:
            self._apply(self._core.stop())
        self._keeper.close()
        last = [task for task in (self._keeping, self._closing) if task is not None]
        await asyncio.gather(*last, return_exceptions=True)
        others = list(self._tasks)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._rest.close()

    async def connected(self) -> Self:
        """Waits until the client is signed in. Raises Stopped when it never will be."""
        await self._until(lambda: self._core.link is Link.READY)
        return self

    async def _own_id(self) -> str:
        return (await self.connected()).user_id

    @property
    def user_id(self) -> str:
        """Whom the token names; empty before the first connection."""
        return self._core.user_id

    @property
    def link(self) -> Link:
        return self._core.link

    # -- sending -----------------------------------------------------------------------------------

    async def send(self, text: str, **address: Unpack[Address]) -> SentMessage:
        """Sends a text message; returns as soon as the outbox holds it. See `send_body`."""
        return await self.send_body("text", {"text": text}, **address)

    async def send_body(self, kind: str, body: dict[str, Any], **address: Unpack[Address]) -> SentMessage:
        """Sends a message of any kind (PROTOCOL, Message). Messages of one client are tried in the order of
        these calls; one above the server's limit (64 KiB as a frame) fails with `too_large` and is not tried, one
        that JSON cannot hold, or that nests too deep, with `invalid_body`. Waits while 10,000 are under way.
        Raises Stopped, ValueError for an id that is being sent already, and OSError if the outbox cannot keep it."""
        draft = draft_of(kind, body, address, address.get("client_msg_id") or self._make_id())
        await self._until(lambda: len(self._unsettled) < MAX_UNSETTLED)
        if draft.client_msg_id in self._unsettled:
            raise ValueError(f"client_msg_id {draft.client_msg_id} is already being sent")
        return await self._compose(draft)

    async def _compose(self, draft: Draft) -> SentMessage:
        handle = self._handles[draft.client_msg_id] = SentMessage(draft.client_msg_id)
        if (fault := fault_of(draft)) is not None:
            self._apply(self._core.refuse(draft, fault))
            return handle
        self._unsettled.add(draft.client_msg_id)
        kept = self._keeper.add(draft)
        kept.add_done_callback(partial(self._kept, draft))
        await asyncio.shield(kept)  # a cancelled caller has sent its message all the same
        return handle

    def _kept(self, draft: Draft, kept: asyncio.Future[None]) -> None:
        if kept.exception() is not None:
            self._unsettled.discard(draft.client_msg_id)
        elif self._stopped is None:
            self._submit(draft)

    def _submit(self, draft: Draft) -> None:
        self._unsettled.add(draft.client_msg_id)
        self._apply(self._core.submit(self._now_ms(), draft))

    # -- receiving ---------------------------------------------------------------------------------

    def messages(self, *, settle: bool = True) -> AsyncIterator[Message]:
        """Every message of the user's sessions, their own included, each exactly once and in the order of
        its session, without end. From the first call on; nothing is delivered to a client that never asks.

        Asking for the next message says that the last one is done, and lets the cursor pass it. With
        `settle=False` only `settle(message)` says so. Raises Stopped (Replaced, NotAuthorized) at the end.
        """
        self._apply(self._core.open(self._now_ms()))
        return self._messages(settle)

    async def _messages(self, settle: bool) -> AsyncIterator[Message]:
        while True:
            yield await self._incoming.take(settle=settle)

    def settle(self, message: Message) -> None:
        """The application is done with a message; after a restart it does not come again."""
        self._incoming.settle(message)

    def mark_read(self, session_id: str, seq: int, *, even_unseen: bool = False) -> None:
        """The user has read the session up to `seq`. Cumulative; repeated on later connections.

        It is said once all before it was had by this or another device: shown, or fetched with `history`. So a
        device that began in the middle makes nothing read that was never there to be read. `even_unseen` says it at
        once, for a user who dismisses what came before.
        """
        self._apply(self._core.mark_read(self._now_ms(), session_id, seq, even_unseen=even_unseen))

    async def events(self) -> AsyncIterator[Event]:
        """What happens, from now on: StatusChanged of own messages, WatermarksMoved, CountsMoved,
        LinkChanged, Complaint. Ends when the client stops. A reader 1,000 behind loses the oldest."""
        reader = self._events.join()
        try:
            while self._stopped is None or not reader.empty():
                event = await reader.get()
                if event is None:
                    return
                yield event
        finally:
            self._events.leave(reader)

    # -- asking ------------------------------------------------------------------------------------

    async def sessions(self, limit: int = 50, before: str | int | None = None) -> SessionPage:
        """Newest activity first. This call and the following raise ApiError and Unreachable."""
        return await self._rest.sessions(limit, before)

    async def session(self, session_id: str) -> Session:
        return await self._rest.session(session_id)

    async def history(
        self, session_id: str, *, before_seq: int | None = None, after_seq: int | None = None, limit: int = 50
    ) -> HistoryPage:
        """Ascending by seq; the newest, if neither end is given. This device has had what it fetches, so that it
        counts as delivered once nothing before it is missing."""
        page = await self._rest.history(session_id, before_seq=before_seq, after_seq=after_seq, limit=limit)
        if page.messages:
            ends = page.messages[0].seq, page.messages[-1].seq
            self._apply(self._core.had(self._now_ms(), session_id, *ends))
        return page

    async def receipts(
        self, session_id: str, seq: int, after: str | None = None, limit: int | None = None
    ) -> ReceiptPage:
        """Who has received and read a message of ours; `after` takes the `next` of the page before."""
        return await self._rest.receipts(session_id, seq, after, limit)

    # -- carrying out ------------------------------------------------------------------------------

    def _apply(self, todo: list[Effect]) -> None:
        for effect in todo:
            self._carry_out(effect)
        self._set_timer()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case effects.SendFrame(frame=frame):
                if self._socket is not None:
                    self._socket.send(frame)
            case effects.Deliver():
                self._incoming.put(effect)
            case effects.PersistCursor(cursor=cursor):
                self._keeper.keep(cursor)
            case effects.Connect(fresh_token=fresh):
                self._spawn(self._converse(fresh))
            case effects.LimitMessages(max_bytes=max_bytes):
                if self._socket is not None:
                    self._socket.max_bytes = max_bytes
            case effects.CloseConnection(code=code, reason=reason):
                self._hang_up(code, reason)
            case effects.RenewToken():
                self._spawn(self._renew())
            case effects.FetchHistory() | effects.FetchWatermarks() | effects.FetchOwnMarks() | effects.FetchCounts():
                self._spawn(self._fetcher.answer(effect))
            case _:
                self._tell(effect)

    def _tell(self, event: Event) -> None:
        if isinstance(event, effects.StatusChanged):
            if event.status in (Status.SENT, Status.FAILED):
                self._unsettled.discard(event.client_msg_id)
                self._keeper.settle(event.client_msg_id)
            if (handle := self._handles.get(event.client_msg_id)) is not None:
                handle.moved(event)
        self._events.put(event)
        if isinstance(event, effects.LinkChanged) and event.link is Link.STOPPED:
            self._stop(stopped_because(event.code, event.reason))
        self._changed.set()

    def _stop(self, error: Stopped, cause: BaseException | None = None) -> None:
        if self._stopped is not None:
            return
        error.__cause__ = cause
        self._stopped = error
        for handle in list(self._handles.values()):
            handle.abandoned(error)
        self._incoming.end(error)
        self._events.put(None)

    async def _converse(self, fresh_token: bool) -> None:
        """One connection, from the token to the close."""
        try:
            token = await self._tokens.get(fresh=fresh_token)
            socket = await open_socket(self._url)
        except (OSError, WebSocketException, ApiError, Unreachable) as error:
            self._apply(self._core.closed(self._now_ms(), None, f"{type(error).__name__}: {error}"))
            return
        self._socket = socket
        try:
            self._apply(self._core.connected(self._now_ms(), token, expires_in_ms(token)))
            await self._listen(socket)
        finally:
            await socket.close()

    async def _listen(self, socket: Socket) -> None:
        async for batch in socket.received():
            for frame in batch:
                if self._socket is not socket:  # we have hung up; what still comes is another time's
                    return
                self._apply(self._core.received(self._now_ms(), frame))
        if self._socket is socket:
            self._socket = None
            self._apply(self._core.closed(self._now_ms(), *socket.ending))

    def _hang_up(self, code: int, reason: str) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            self._closing = self._spawn(socket.close(code, reason))

    async def _renew(self) -> None:
        try:
            token = await self._tokens.get(fresh=True)
        except (OSError, ApiError, Unreachable):
            return  # the server will say when the old one has ended, and the next connection asks again
        if self._socket is not None:
            self._apply(self._core.token(self._now_ms(), token, expires_in_ms(token)))

    def _settled_ticket(self, ticket: int) -> None:
        self._apply(self._core.handled(self._now_ms(), ticket))

    def _set_timer(self) -> None:
        at_ms = self._core.next_tick_ms(self._now_ms()) if self._stopped is None else None
        if self._timer is not None:
            if at_ms == self._timer_at_ms:
                return
            self._timer.cancel()
        self._timer, self._timer_at_ms = None, at_ms
        if at_ms is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at((at_ms + 1) / 1_000, self._tick)  # +1: `now_ms` is rounded down

    def _tick(self) -> None:
        self._timer = None
        self._apply(self._core.tick(self._now_ms()))

    @staticmethod
    def _now_ms() -> int:
        return int(asyncio.get_running_loop().time() * 1_000)

    def _make_id(self) -> str:
        offset_ms = self._core.server_offset_ms
        return self._ids.make(int(time.time() * 1_000) if offset_ms is None else self._now_ms() + offset_ms)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while True:
            if self._stopped is not None:
                raise self._stopped
            if holds():
                return
            self._changed.clear()
            await self._changed.wait()

    async def _drain(self) -> None:
        with suppress(TimeoutError, Stopped):
            await asyncio.wait_for(self._until(lambda: not self._unsettled), LEAVE_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._stopped is None:  # a disk, a token provider, or a mistake of ours
            self._stop(Stopped(f"{type(error).__name__}: {error}"), error)
            self._apply(self._core.stop())
