"""The asyncio client: it executes the effects that the core returns."""

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
from tidings_client.histories import Bounds, Histories, ends_of
from tidings_client.ids import MessageIds, checked_seq, checked_session, checked_user
from tidings_client.incoming import Events, Incoming
from tidings_client.keeping import Keeper
from tidings_client.media import MediaCalls
from tidings_client.outages import Outages
from tidings_client.outbox import MemoryOutbox, Outbox
from tidings_client.own_messages import OwnMessages, Unsent
from tidings_client.rest import HistoryPage, Rest, http_url_of, ws_url_of
from tidings_client.server_time import ServerTime
from tidings_client.socket import Socket, open_socket
from tidings_client.tokens import TokenProvider, Tokens

MAX_UNSETTLED = 10_000  # pending messages; above it `send` waits
REFUSED_IDS = ("conflict", "clock_skew", "too_old")  # the server refused the id and not the message
LEAVE_S = 5.0  # how long leaving waits for unanswered sends


class Client:
    """One device of one user: it retries sends, receives each message exactly once, and resumes after a restart.

    Use it with `async with`. It connects in the background and reconnects. `url` is any address of the server
    (`ws://host:port`, `http://host:port`, with or without `/v1/ws`). `token` is a JWT or an async function that
    returns one. The client calls it again before the token expires or when the server refuses it.
    `device_id` belongs to the cursor in `cursors`: the same pair resumes where it stopped. A device without a cursor
    starts at the beginning of its inbox or, with `from_live`, with the messages after connecting.
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
        self._token = ""  # the last one sent on the connection
        self._rest = Rest(http_url_of(url), self._tokens, server_time=self._time)
        ids = MessageIds(secrets.randbits)
        self._core = Core(
            checked_user(device_id, "device id"),
            lambda: random.uniform(-1, 1),
            ids.make,
            renewable_token=self._tokens.renewable,
        )
        self._cursors, self._outbox = cursors or MemoryCursorStore(), outbox or MemoryOutbox()
        self._keeper = Keeper(self._cursors, self._outbox)
        self._from_live = from_live
        self._own = OwnMessages(self._keeper)
        self._make_id: Callable[[], str] = lambda: ids.make(self._time.now_ms())
        # REST calls; they raise ApiError and Unreachable. `Rest` documents them.
        self.groups = GroupCalls(self._rest, self._make_id, self._own_id)
        self.media = MediaCalls(self._rest, self._make_id)
        self.sessions, self.all_sessions = self._rest.sessions, self._rest.all_sessions
        self.session, self.receipts = self._rest.session, self._rest.receipts
        whole = Histories(self.history)
        self.history_forwards, self.history_backwards = whole.forwards, whole.backwards
        self._incoming = Incoming(self._settled_ticket)
        self._events = Events(Outages(self._url))
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
        """Stop at once: send the last acks, save the cursor, close the socket. Unsent messages stay in the outbox."""
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
        """Wait until the client is signed in. Raises Stopped if the client has stopped."""
        await self._until(lambda: self._core.link is Link.READY)
        return self

    async def _own_id(self) -> str:
        return (await self.connected()).user_id

    @property
    def user_id(self) -> str:
        """The user that the token names; empty before the first connection."""
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
        """Send a text message. Returns as soon as the outbox holds it. Waits and raises as `send_body` does."""
        return await self.send_body("text", {"text": text}, **address)

    async def send_body(self, kind: str, body: dict[str, Any], **address: Unpack[Address]) -> SentMessage:
        """Send a message of any kind (PROTOCOL, Message). Messages are tried in the order of these calls. A message
        above the server's limit (64 KiB as a frame) fails with `too_large` before it is tried. One that JSON cannot
        represent, or that nests too deep, fails with `invalid_body`. Waits while 10,000 messages are pending. Raises
        Stopped, InvalidId, ValueError if the id is being sent already, and OSError if the outbox cannot store it."""
        draft = draft_of(kind, body, address, self._make_id, is_untried=self._time.known_ms is None)
        await self._until(lambda: self._own.under_way < MAX_UNSETTLED)
        if self._own.is_under_way(draft.client_msg_id):
            raise ValueError(f"client_msg_id {draft.client_msg_id} is already being sent")
        return await self._compose(draft)

    def unsent(self) -> list[Unsent]:
        """Every message that is not stored: failed ones, then pending ones, each in the order of composing. A
        `FileOutbox` also has those of earlier processes. A failed message stays until `resend` or `discard`."""
        return list(self._own.unsent())

    async def resend(self, client_msg_id: str) -> SentMessage:
        """Send a failed message again. It keeps its id, so that the server stores it once if the outcome was unknown.
        It gets a new id if the server refused the old one. Raises KeyError if no such message has failed, and
        otherwise as `send_body` does."""
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
        """Forget a failed message, also in the outbox. Safe to repeat."""
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
        await asyncio.shield(kept)  # if the caller is cancelled, the message is sent all the same

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
        """Every message of the user's sessions, own ones included, each exactly once and in the order of its
        session. The client delivers nothing before the first call, and the iterator never ends by itself.

        Taking the next message settles the last one, so that the cursor passes it. With `settle=False` only
        `settle(message)` does that. Raises Stopped (Replaced, NotAuthorized) when the client stops.
        """
        self._apply(self._core.open(self._now_ms()))
        return self._messages(settle)

    async def _messages(self, settle: bool) -> AsyncIterator[Message]:
        while True:
            yield await self._incoming.take(settle=settle)

    def settle(self, message: Message) -> None:
        """The application has handled a message, so it is not delivered again after a restart."""
        self._incoming.settle(message)

    def mark_read(self, session_id: str, seq: int, *, even_unseen: bool = False) -> None:
        """The user has read the session up to `seq`. Cumulative, and repeated on later connections.

        The client sends the watermark once some device of the user has received every message before `seq`, by
        `messages` or `history`. So a device that started in the middle marks nothing as read that no device has
        shown. `even_unseen` sends it at once, for a user that dismisses earlier messages.
        """
        checked_session(session_id)
        self._apply(self._core.mark_read(self._now_ms(), session_id, checked_seq(seq), even_unseen=even_unseen))

    async def events(self) -> AsyncIterator[Event]:
        """Events from now on: StatusChanged and IdChanged of own messages, WatermarksMoved, CountsMoved, LinkChanged,
        Complaint. Ends when the client stops. A reader that is 1,000 events behind loses the oldest ones."""
        reader = self._events.join()
        try:
            while self._stopped is None or not reader.empty():
                event = await reader.get()
                if event is None:
                    return
                yield event
        finally:
            self._events.leave(reader)

    async def history(self, session_id: str, **bounds: Unpack[Bounds]) -> HistoryPage:
        """A page of messages, ascending by seq; the newest ones if no bound is given. Fetched messages count as
        received by this device, so they become *delivered* once no earlier message is missing."""
        page = await self._rest.history(session_id, **bounds)
        if page.messages:
            self._apply(self._core.had(self._now_ms(), session_id, *ends_of(page)))
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
                self._emit(effect)

    def _emit(self, event: Event) -> None:
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
                if self._socket is not socket:  # the client has closed it; later frames are ignored
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
        if error is not None and self._stopped is None:  # from a disk, a token provider, or a bug of this library
            self._stop(Stopped(f"{type(error).__name__}: {error}"), error)
            self._apply(self._core.stop())
