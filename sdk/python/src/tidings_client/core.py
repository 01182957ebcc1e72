"""The client without its socket: frames and ticks in, effects out.

Pure: no clock, no randomness, no I/O. `now_ms` is any clock in milliseconds that does not go back. `jitter`
returns a number in −1 … 1. Rules: PROTOCOL. One `Core` lives as long as its client, across all connections.
It calls its parts (sending, receiving, acks) in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tidings_client import backoff, frames
from tidings_client.acks import Acks
from tidings_client.claims import Claims
from tidings_client.drafts import Draft
from tidings_client.effects import (
    CloseConnection,
    Complaint,
    Connect,
    CountsMoved,
    Cursor,
    Effect,
    FetchCounts,
    FetchWatermarks,
    LimitMessages,
    Link,
    LinkChanged,
    RenewToken,
    SendFrame,
    WatermarksMoved,
)
from tidings_client.frames import CLOSE_NORMAL, CLOSE_REPLACED, CLOSE_TOO_BIG, CLOSE_UNAUTHORIZED
from tidings_client.ids import is_group, peer_of
from tidings_client.receipts import Receipts
from tidings_client.receiving import Receiving
from tidings_client.sending import Outgoing

SIGN_IN_MS = 10_000  # twice the 5 s that the server waits for the hello
RENEW_BEFORE_MS = 60_000  # before a token expires; a token of less than 4 min is renewed in its last quarter
RENEW_AFTER_MS = 1_000  # at the earliest, because a provider may keep returning an expired token
RENEW_AGAIN_MS = 5_000  # after a renewal that failed
REFUSALS = 3  # fresh tokens refused in a row before the client stops …
PATIENCE_MS = 30_000  # … and at least this long, because the clock of a token's signer may be ahead by so much


class Core:
    """One device of one user. Every method returns the effects to execute, in order."""

    def __init__(
        self,
        device_id: str,
        jitter: Callable[[], float],
        make_id: Callable[[int], str] | None = None,
        *,
        renewable_token: bool = True,
    ) -> None:
        """`make_id` returns an id for a time. With None, ids never change, even if the server refuses them."""
        self.link = Link.OFFLINE
        self.user_id = ""
        self._device_id = device_id
        self._jitter = jitter
        self._renewable = renewable_token
        self._acks = Acks()
        self._claims = Claims(self._acks)
        self._receiving = Receiving(self._acks, self._claims)
        self._outgoing = Outgoing(make_id)
        self._attempts = 0
        self._refusals = 0
        self._refused_since_ms: int | None = None
        self._fresh_token = False
        self._connect_at_ms: int | None = None
        self._sign_in_by_ms: int | None = None
        self._heartbeat_ms = 20_000
        self._heartbeat_by_ms: int | None = None
        self._renew_at_ms: int | None = None
        self._leave_at_ms: int | None = None

    # -- called for the application ----------------------------------------------------------------

    def start(self, cursor: Cursor | None, *, from_live: bool = False) -> list[Effect]:
        """Connect. `cursor` is where this device stopped. None: a new device, which starts at the beginning of its
        inbox or, with `from_live`, at the first `live`."""
        self._receiving.restore(cursor, from_live=from_live)
        return list(self._connect())

    def open(self, now_ms: int) -> list[Effect]:
        """The application starts to take messages."""
        return list(self._receiving.open(now_ms))

    def submit(self, now_ms: int, draft: Draft) -> list[Effect]:
        """Send a message, now or once connected. Raises ValueError if its id is being sent already."""
        return list(self._outgoing.submit(now_ms, draft))

    def refuse(self, draft: Draft, fault: str) -> list[Effect]:
        """Fail a message that no frame can carry, before it is tried."""
        return list(self._outgoing.refuse(draft, fault))

    def recall(self, drafts: Iterable[Draft]) -> None:
        """Messages that failed in an earlier process. They may still be stored."""
        self._outgoing.recall(drafts)

    def kept(self, now_ms: int, client_msg_id: str) -> list[Effect]:
        """The answer to `KeepAs`."""
        return list(self._outgoing.kept(now_ms, client_msg_id))

    def handled(self, now_ms: int, ticket: int) -> list[Effect]:
        """The application has handled a delivery."""
        return list(self._receiving.handled(now_ms, ticket))

    def mark_read(self, now_ms: int, session_id: str, seq: int, *, even_unseen: bool = False) -> list[Effect]:
        """The user has read the session up to `seq`. The frame is sent once some device of the user has received all
        messages before it, or with `even_unseen` at once."""
        return list(self._claims.read(now_ms, session_id, seq, even_unseen=even_unseen))

    def had(self, now_ms: int, session_id: str, first_seq: int, last_seq: int) -> list[Effect]:
        """The application has fetched these messages from history."""
        return list(self._claims.had(now_ms, session_id, first_seq, last_seq))

    def stop(self) -> list[Effect]:
        """The application stops the client: last acks, the cursor, and the close."""
        return list(self._stop())

    # -- called for the connection -----------------------------------------------------------------

    def connected(self, now_ms: int, token: str, expires_in_ms: int | None) -> list[Effect]:
        """The socket is open. `expires_in_ms`: how long the token is valid; None if it does not expire."""
        self.link = Link.SIGNING_IN
        self._sign_in_by_ms = now_ms + SIGN_IN_MS
        return [LinkChanged(self.link), *self.token(now_ms, token, expires_in_ms)]

    def token(self, now_ms: int, token: str, expires_in_ms: int | None) -> list[Effect]:
        """The first token of this connection, or a renewed one."""
        self._renew_at_ms = None
        if expires_in_ms is not None and self._renewable:
            last_ms = min(RENEW_BEFORE_MS, expires_in_ms // 4)
            self._renew_at_ms = now_ms + max(RENEW_AFTER_MS, expires_in_ms - last_ms)
        return [SendFrame(frames.Hello(token=token, device_id=self._device_id))]

    def token_failed(self, now_ms: int) -> list[Effect]:
        """The provider did not answer `RenewToken`. It is called again while the old token is valid."""
        if self.link is Link.READY:
            self._renew_at_ms = now_ms + RENEW_AGAIN_MS
        return []

    def closed(self, now_ms: int, code: int | None, reason: str) -> list[Effect]:
        """The socket is closed, or (`code` None) could not be opened."""
        return list(self._closed(now_ms, code, reason))

    def received(self, now_ms: int, frame: frames.ServerFrame) -> list[Effect]:
        return self._in_this_life(self._received(now_ms, frame))

    # -- answers to Fetch effects ------------------------------------------------------------------

    def history(
        self, now_ms: int, session_id: str, messages: Iterable[frames.Message], has_more: bool, purged_seq: int = 0
    ) -> list[Effect]:
        """The answer to `FetchHistory`."""
        return list(self._history(now_ms, session_id, tuple(messages), has_more, purged_seq))

    def history_ahead(self, now_ms: int, session_id: str) -> list[Effect]:
        """The answer to `FetchHistory` if the session's head is below `after_seq`."""
        return self._in_this_life(self._receiving.history_ahead(now_ms, session_id))

    def history_failed(self, now_ms: int, session_id: str, *, gone: bool) -> list[Effect]:
        """`FetchHistory` failed. `gone`: this user can no longer read the session."""
        return list(self._receiving.history_failed(now_ms, session_id, gone, self._jitter()))

    def watermarks(self, session_id: str, delivered_seq: int, read_seq: int) -> list[Effect]:
        """The answer to `FetchWatermarks`, one call per session: the peer's watermarks."""
        return list(self._outgoing.receipts.watermarks(session_id, delivered_seq, read_seq))

    def own_marks(self, now_ms: int, session_id: str, delivered_seq: int, first_seq: int) -> list[Effect]:
        """The answer to `FetchOwnMarks`, one call per session. `first_seq`: the lowest seq that the user may have."""
        return list(self._claims.stored(now_ms, session_id, delivered_seq, first_seq))

    def own_marks_failed(self, session_id: str, *, gone: bool) -> None:
        """`FetchOwnMarks` failed. `gone`: this user can no longer read the session."""
        if gone:
            self._claims.forget(session_id)
        else:
            self._claims.not_stored(session_id)

    def counts(self, session_id: str, seq: int, delivered: int, read: int) -> list[Effect]:
        """The answer to `FetchCounts`."""
        return list(self._outgoing.receipts.count(session_id, seq, delivered, read))

    # -- time ------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> list[Effect]:
        return list(self._tick(now_ms))

    def next_tick_ms(self, now_ms: int) -> int | None:
        """When to call `tick` next. Any other call may change this time."""
        times = [
            self._connect_at_ms,
            self._sign_in_by_ms,
            self._heartbeat_by_ms,
            self._renew_at_ms,
            self._leave_at_ms,
            self._acks.next_tick_ms(),
            self._claims.next_tick_ms(),
            self._receiving.next_tick_ms(),
            self._outgoing.next_tick_ms(now_ms),
        ]
        return min((time for time in times if time is not None), default=None)

    # ----------------------------------------------------------------------------------------------

    def _in_this_life(self, effects: Iterator[Effect]) -> list[Effect]:
        """Run `effects`. Drop the peers' watermarks if another life of the deployment begins."""
        life, done = self._receiving.life, list(effects)
        if self._receiving.life != life:
            self._outgoing.receipts = Receipts()
        return done

    def _connect(self) -> Iterator[Effect]:
        self._connect_at_ms = None
        self.link = Link.CONNECTING
        yield LinkChanged(self.link)
        yield Connect(fresh_token=self._fresh_token)

    def _stop(self, code: int | None = None, reason: str = "") -> Iterator[Effect]:
        was_ready, open_before = self.link is Link.READY, self.link in (Link.READY, Link.SIGNING_IN)
        self.link = Link.STOPPED
        if was_ready:
            yield from self._acks.flush()
        yield from self._receiving.flush()
        self._forget_connection()
        self._connect_at_ms = self._leave_at_ms = None
        if open_before:
            yield CloseConnection(CLOSE_NORMAL, "goodbye")
        yield LinkChanged(self.link, code, reason)

    def _forget_connection(self) -> None:
        self._sign_in_by_ms = self._heartbeat_by_ms = self._renew_at_ms = None
        self._acks.lost()
        self._receiving.lost()

    def _closed(self, now_ms: int, code: int | None, reason: str) -> Iterator[Effect]:
        if self.link is Link.STOPPED:
            return
        self._forget_connection()
        yield from self._outgoing.lost(too_big=code == CLOSE_TOO_BIG)
        if self._is_final(now_ms, code):
            self.link = Link.OFFLINE
            yield from self._stop(code, reason)
            return
        self.link = Link.OFFLINE
        self._fresh_token = code == CLOSE_UNAUTHORIZED
        yield LinkChanged(self.link, code, reason)
        self._connect_at_ms = now_ms + backoff.delay_ms(self._attempts, self._jitter())
        if self._leave_at_ms is None:
            self._attempts += 1
        else:  # after `goaway`: at the time it gave, or sooner if the connection ended before
            self._connect_at_ms = min(self._connect_at_ms, self._leave_at_ms)
            self._leave_at_ms = None

    def _is_final(self, now_ms: int, code: int | None) -> bool:
        """True if the client must not reconnect. A newer connection of this device has replaced it, or the server
        refuses every token."""
        if code == CLOSE_UNAUTHORIZED:
            self._refusals += 1
            if self._refused_since_ms is None:
                self._refused_since_ms = now_ms
            is_over = self._refusals >= REFUSALS and now_ms - self._refused_since_ms >= PATIENCE_MS
            return is_over or not self._renewable
        return code == CLOSE_REPLACED

    def _received(self, now_ms: int, frame: frames.ServerFrame) -> Iterator[Effect]:
        match frame:
            case frames.Push():
                yield from self._pushed(now_ms, frame)
            case frames.SendAck():
                yield from self._outgoing.stored(
                    now_ms, frame.client_msg_id, frame.session_id, frame.seq, frame.message_id
                )
            case frames.SendError():
                yield from self._outgoing.refused(now_ms, frame, self._jitter())
            case frames.SyncPage():
                for item in frame.items or ():
                    yield from self._own(now_ms, item.message)
                yield from self._receiving.page(now_ms, frame)
            case frames.Receipt() | frames.GroupReceipt():
                yield from self._receipt(frame)
            case _:
                yield from self._about_the_connection(now_ms, frame)

    def _about_the_connection(self, now_ms: int, frame: frames.ServerFrame) -> Iterator[Effect]:
        match frame:
            case frames.Welcome():
                yield from self._welcome(now_ms, frame)
            case frames.Live(inbox_seq=inbox_seq, heads=heads):
                yield from self._receiving.tail(now_ms, inbox_seq, heads or (), live=True)
                yield from self._ask_for_statuses()
            case frames.Heartbeat(inbox_seq=inbox_seq, heads=heads):
                self._heartbeat_by_ms = now_ms + 2 * self._heartbeat_ms
                yield from self._receiving.tail(now_ms, inbox_seq, heads or (), live=False)
            case frames.ServerPing(id=ping_id):
                yield SendFrame(frames.Pong(id=ping_id))
            case frames.GoAway(reconnect_after_ms=wait_ms):
                self._leave_at_ms = now_ms + wait_ms
            case frames.ServerError(code="cursor_ahead"):
                self._receiving.doubt(now_ms)
            case frames.ServerError(code=code, message=message):
                yield Complaint(code, message)

    def _pushed(self, now_ms: int, push: frames.Push) -> Iterator[Effect]:
        yield from self._own(now_ms, push.message)
        yield from self._receiving.push(now_ms, push.inbox_seq, push.message)

    def _history(
        self, now_ms: int, session_id: str, messages: tuple[frames.Message, ...], has_more: bool, purged_seq: int
    ) -> Iterator[Effect]:
        for message in messages:
            yield from self._own(now_ms, message)
        yield from self._receiving.history(now_ms, session_id, messages, has_more, purged_seq)

    def _own(self, now_ms: int, message: frames.Message) -> Iterator[Effect]:
        """An own message that the server sends is stored, even if its ack was lost."""
        if message.sender_id == self.user_id:
            yield from self._outgoing.stored(
                now_ms, message.client_msg_id, message.session_id, message.seq, message.message_id
            )

    def _receipt(self, frame: frames.Receipt | frames.GroupReceipt) -> Iterator[Effect]:
        receipts, session_id = self._outgoing.receipts, frame.session_id
        if isinstance(frame, frames.GroupReceipt):
            for count in frame.counts:
                yield from receipts.count(session_id, count.seq, count.delivered, count.read)
                yield CountsMoved(session_id, count.seq, count.delivered, count.read)
            return
        if frame.user_id == peer_of(session_id, self.user_id):
            yield from receipts.watermarks(session_id, frame.delivered_seq, frame.read_seq)
        yield WatermarksMoved(session_id, frame.user_id, frame.delivered_seq, frame.read_seq)

    def _ask_for_statuses(self) -> Iterator[Effect]:
        """Fetch statuses after `live`, because receipts are hints and some may be lost."""
        newest = self._outgoing.receipts.newest_unread()
        direct = tuple(session_id for session_id in newest if not is_group(session_id))
        if direct:
            yield FetchWatermarks(direct)
        for session_id in newest.keys() - set(direct):
            yield FetchCounts(session_id, newest[session_id])

    def _welcome(self, now_ms: int, welcome: frames.Welcome) -> Iterator[Effect]:
        self._outgoing.server_time(now_ms, welcome.server_time)
        if self.link is not Link.SIGNING_IN:  # the answer to a renewed token changes nothing else
            return
        self.link, self.user_id = Link.READY, welcome.user_id
        self._attempts = self._refusals = 0
        self._refused_since_ms = None
        self._fresh_token, self._sign_in_by_ms = False, None
        self._heartbeat_ms = int(welcome.heartbeat_s * 1_000)
        self._heartbeat_by_ms = now_ms + 2 * self._heartbeat_ms
        self._receiving.page_limit = welcome.limits.page
        yield LimitMessages(min(welcome.limits.frame_bytes, frames.MAX_CLIENT_MESSAGE_BYTES))
        yield LinkChanged(self.link)
        yield from self._receiving.greeted(now_ms, welcome.deployment)
        yield from self._acks.ready()
        self._receiving.ready(now_ms, welcome.user_id)
        yield from self._outgoing.ready(now_ms, welcome.user_id, welcome.limits)

    def _tick(self, now_ms: int) -> Iterator[Effect]:
        if _due(self._connect_at_ms, now_ms):
            yield from self._connect()
        if _due(self._sign_in_by_ms, now_ms):
            yield from self._drop(now_ms, "no welcome in time")
        if _due(self._heartbeat_by_ms, now_ms):
            yield from self._drop(now_ms, "no heartbeat in time")
        if _due(self._leave_at_ms, now_ms):
            self._leave_at_ms = now_ms
            yield from self._drop(now_ms, "asked to go away")
        if _due(self._renew_at_ms, now_ms):
            self._renew_at_ms = None
            yield RenewToken()
        yield from self._acks.tick(now_ms)
        yield from self._claims.tick(now_ms)
        yield from self._receiving.tick(now_ms)
        yield from self._outgoing.tick(now_ms, self._jitter())

    def _drop(self, now_ms: int, reason: str) -> Iterator[Effect]:
        yield CloseConnection(CLOSE_NORMAL, reason)
        yield from self._closed(now_ms, None, reason)


def _due(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and at_ms <= now_ms
