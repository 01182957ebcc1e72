"""The asyncio client: carries out what the core decides."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack

from websockets.exceptions import WebSocketException

from tidings_client import effects
from tidings_client.alarm import Alarm
from tidings_client.composing import Address, draft_of, fault_of
from tidings_client.core import Core
from tidings_client.cursors import CursorStore, MemoryCursorStore
from tidings_client.drafts import Draft
from tidings_client.effects import Effect, Event, Link
from tidings_client.errors import ApiError, Stopped, Unreachable, stopped_because
from tidings_client.fetching import Fetcher
from tidings_client.frames import Message, Welcome
from tidings_client.group_calls import GroupCalls
from tidings_client.handles import SentMessage
from tidings_client.ids import MessageIds, checked_seq, checked_session, checked_user
from tidings_client.incoming import Events, Incoming
from tidings_client.keeping import Keeper
from tidings_client.outbox import MemoryOutbox, Outbox
from tidings_client.own_messages import OwnMessages, Unsent
from tidings_client.rest import HistoryPage, Rest, http_url_of, ws_url_of
from tidings_client.server_time import ServerTime
from tidings_client.socket import Socket, open_socket
from tidings_client.tokens import TokenProvider, Tokens

MAX_UNSETTLED = 10_000  # messages under way; `send` waits beyond it
REFUSED_IDS = ("conflict", "clock_skew", "too_old")  # refusals of the id, and not of the message
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
        self._time = ServerTime()
        self._tokens = Tokens(token, self._time)
        self._token = ""  # of the connection, the last that was sent
        self._rest = Rest(http_url_of(url), self._tokens, server_time=self._time)
        ids = MessageIds(secrets.randbits)
        self._core = Core(
            checked_user(device_id, "device id"),
            lambda: random.uniform(-1, 1),
            ids.make,
            renewable_token=self._tokens.renewable,
        )
        self._cursors = cursors or MemoryCursorStore()
        self._outbox = outbox or MemoryOutbox()
        self._keeper = Keeper(self._cursors, self._outbox)
        self._from_live = from_live
        self._own = OwnMessages(self._keeper)
        self._make_id: Callable[[], str] = lambda: ids.make(self._time.now_ms())
        # Calls by REST, which raise ApiError and Unreachable; `Rest` says what each does.
        self.groups = GroupCalls(self._rest, self._make_id, self._own_id)
        self.sessions, self.all_sessions = self._rest.sessions, self._rest.all_sessions
        self.session, self.receipts = self._rest.session, self._rest.receipts
        self._incoming = Incoming(self._settled_ticket)
        self._events = Events()
        self._changed = asyncio.Event()
        self._stopped: Stopped | None = None
        self._socket: Socket | None = None
        self._closing: asyncio.Task[None] | None = None
        self._alarm = Alarm(lambda: self._apply(self._core.tick(self._now_ms())))
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._fetcher = Fetcher(self._rest, self._core, self._apply, self._now_ms)

    # -- coming and going --------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        cursor = await self._cursors.load()
        drafts = await self._outbox.load()
        failed = await self._outbox.failed()
        self._own.recall(failed)
        self._core.recall(one.draft for one in failed)
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

    @property
    def device_ahead_ms(self) -> int | None:
        """How far this device's clock is ahead of the server's; None before the first answer."""
        return self._time.device_ahead_ms

    # -- sending -----------------------------------------------------------------------------------

    async def send(self, text: str, **address: Unpack[Address]) -> SentMessage:
        """Sends a text message; returns as soon as the outbox holds it. See `send_body`."""
        return await self.send_body("text", {"text": text}, **address)

    async def send_body(self, kind: str, body: dict[str, Any], **address: Unpack[Address]) -> SentMessage:
        """Sends a message of any kind (PROTOCOL, Message). Messages of one client are tried in the order of
        these calls; one above the server's limit (64 KiB as a frame) fails with `too_large` and is not tried, one
        that JSON cannot hold, or that nests too deep, with `invalid_body`. Waits while 10,000 are under way.
        Raises Stopped, InvalidId, ValueError for an id that is being sent already, OSError if it cannot be kept."""
        draft = draft_of(kind, body, address, self._make_id, is_untried=self._time.known_ms is None)
        await self._until(lambda: self._own.under_way < MAX_UNSETTLED)
        if self._own.is_under_way(draft.client_msg_id):
            raise ValueError(f"client_msg_id {draft.client_msg_id} is already being sent")
        return await self._compose(draft)

    def unsent(self) -> list[Unsent]:
        """Every message that is not stored: failed ones, then pending ones, each in the order of composing. With a
        `FileOutbox` also those of earlier processes. A failed one stays until it is sent again or discarded."""
        return list(self._own.unsent())

    async def resend(self, client_msg_id: str) -> SentMessage:
        """Sends a failed message again: under its id, so that one whose outcome was unknown is stored once; under
        a new one, if its id was refused. KeyError if no such message has failed; otherwise as `send_body`."""
        await self._until(lambda: self._own.under_way < MAX_UNSETTLED)
        failed = self._own.failed(client_msg_id)
        handle = self._own.handle(client_msg_id)
        if failed.code in REFUSED_IDS:
            draft = replace(failed.draft, client_msg_id=self._make_id(), attempt=1, id_is_given=False)
        else:
            draft = replace(failed.draft, attempt=failed.draft.attempt + 1)
        await self._submitted(draft, self._own.keep_as(client_msg_id, draft))
        return handle

    def discard(self, client_msg_id: str) -> None:
        """Forgets a failed message, in the outbox, too. Repeating is harmless."""
        self._own.discard(client_msg_id)

    async def _compose(self, draft: Draft) -> SentMessage:
        handle = self._own.new_handle(draft.client_msg_id)
        if (fault := fault_of(draft)) is not None:
            self._apply(self._core.refuse(draft, fault))
            return handle
        self._own.begin(draft)
        await self._submitted(draft, self._keeper.add(draft))
        return handle

    async def _submitted(self, draft: Draft, kept: asyncio.Future[None]) -> None:
        kept.add_done_callback(partial(self._kept, draft))
        await asyncio.shield(kept)  # a cancelled caller has sent its message all the same

    def _kept(self, draft: Draft, kept: asyncio.Future[None]) -> None:
        if kept.cancelled() or kept.exception() is not None:
            self._own.dropped(draft.client_msg_id)
        elif self._stopped is None:
            self._submit(draft)

    def _submit(self, draft: Draft) -> None:
        self._own.begin(draft)
        self._apply(self._core.submit(self._now_ms(), draft))

    def _kept_as(self, client_msg_id: str, kept: asyncio.Future[None]) -> None:
        if not kept.cancelled() and kept.exception() is None and self._stopped is None:
            self._apply(self._core.kept(self._now_ms(), client_msg_id))

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
        checked_session(session_id)
        self._apply(self._core.mark_read(self._now_ms(), session_id, checked_seq(seq), even_unseen=even_unseen))

    async def events(self) -> AsyncIterator[Event]:
        """What happens, from now on: StatusChanged and IdChanged of own messages, WatermarksMoved, CountsMoved,
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

    # -- carrying out ------------------------------------------------------------------------------

    def _apply(self, todo: list[Effect]) -> None:
        for effect in todo:
            self._carry_out(effect)
        self._alarm.set(self._core.next_tick_ms(self._now_ms()) if self._stopped is None else None)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case effects.SendFrame(frame=frame):
                if self._socket is not None:
                    self._socket.send(frame)
            case effects.Deliver():
                self._incoming.put(effect)
            case effects.PersistCursor(cursor=cursor):
                self._keeper.keep(cursor)
            case effects.KeepAs(was=was, draft=draft):
                self._own.keep_as(was, draft).add_done_callback(partial(self._kept_as, draft.client_msg_id))
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
            self._own.moved(event)
        self._events.put(event)
        if isinstance(event, effects.LinkChanged) and event.link is Link.STOPPED:
            self._stop(stopped_because(event.code, event.reason))
        self._changed.set()

    def _stop(self, error: Stopped, cause: BaseException | None = None) -> None:
        if self._stopped is not None:
            return
        error.__cause__ = cause
        self._stopped = error
        self._own.abandoned(error)
        self._incoming.end(error)
        self._events.put(None)

    async def _converse(self, fresh_token: bool) -> None:
        """One connection, from the token to the close."""
        try:
            token = await self._tokens.get(instead_of=self._token if fresh_token else None)
            socket = await open_socket(self._url)
        except (OSError, WebSocketException, ApiError, Unreachable) as error:
            self._apply(self._core.closed(self._now_ms(), None, f"{type(error).__name__}: {error}"))
            return
        self._socket = socket
        try:
            self._token = token
            self._apply(self._core.connected(self._now_ms(), token, self._tokens.remaining_ms))
            await self._listen(socket)
        finally:
            await socket.close()

    async def _listen(self, socket: Socket) -> None:
        async for batch in socket.received():
            for frame in batch:
                if self._socket is not socket:  # we have hung up; what still comes is another time's
                    return
                if isinstance(frame, Welcome):
                    self._time.learn(frame.server_time)
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
            token = await self._tokens.get(instead_of=self._token)
        except (OSError, ApiError, Unreachable):
            self._apply(self._core.token_failed(self._now_ms()))
            return
        if self._socket is not None:
            self._token = token
            self._apply(self._core.token(self._now_ms(), token, self._tokens.remaining_ms))

    def _settled_ticket(self, ticket: int) -> None:
        self._apply(self._core.handled(self._now_ms(), ticket))

    @staticmethod
    def _now_ms() -> int:
        return int(asyncio.get_running_loop().time() * 1_000)

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
            await asyncio.wait_for(self._until(lambda: not self._own.under_way), LEAVE_S)

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
