"""The client without its socket: frames and ticks in, effects out.

Pure: no clock, no chance, no I/O. `now_ms` is any clock in milliseconds that does not go back; `jitter`
answers a number in −1 … 1. Rules: PROTOCOL. One `Core` lives as long as its client, through every
connection; it owns the order of the parts: sending, receiving, acks.
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

SIGN_IN_MS = 10_000  # twice the 5 s in which the server wants the hello
RENEW_BEFORE_MS = 60_000  # ahead of a token's end, or in the last quarter of a shorter life
RENEW_AFTER_MS = 1_000  # at the earliest: a provider may go on handing out a token that has ended
RENEW_AGAIN_MS = 5_000  # after a renewal that failed
REFUSALS = 3  # fresh tokens refused one after the other before the client gives up …
PATIENCE_MS = 30_000  # … and not before: a token's signer may be ahead of the server by so much


class Core:
    """One device of one user. Every method answers with the effects to carry out, in order."""

    def __init__(
        self,
        device_id: str,
        jitter: Callable[[], float],
        make_id: Callable[[int], str] | None = None,
        *,
        renewable_token: bool = True,
    ) -> None:
        """`make_id` answers an id of a time; None: ids stay as they are, also where the server refuses them."""
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

    # -- what the application does ---------------------------------------------------------------

    def start(self, cursor: Cursor | None, *, from_live: bool = False) -> list[Effect]:
        """`cursor`: where this device stopped. None: it is new, and begins with all of its inbox or,
        with `from_live`, with what comes after the first connection."""
        self._receiving.restore(cursor, from_live=from_live)
        return list(self._connect())

    def open(self, now_ms: int) -> list[Effect]:
        """The application begins to take messages."""
        return list(self._receiving.open(now_ms))

    def submit(self, now_ms: int, draft: Draft) -> list[Effect]:
        """Send a message, now or when there is a connection. ValueError: its id is being sent already."""
        return list(self._outgoing.submit(now_ms, draft))

    def refuse(self, draft: Draft, fault: str) -> list[Effect]:
        """A message that no frame can carry: failed before it was tried."""
        return list(self._outgoing.refuse(draft, fault))

    def recall(self, drafts: Iterable[Draft]) -> None:
        """Messages that failed in an earlier process; they may still turn up."""
        self._outgoing.recall(drafts)

    def kept(self, now_ms: int, client_msg_id: str) -> list[Effect]:
        """The answer to `KeepAs`."""
        return list(self._outgoing.kept(now_ms, client_msg_id))

    def handled(self, now_ms: int, ticket: int) -> list[Effect]:
        """The application is done with a delivery."""
        return list(self._receiving.handled(now_ms, ticket))

    def mark_read(self, now_ms: int, session_id: str, seq: int, *, even_unseen: bool = False) -> list[Effect]:
        """The user has read the session up to `seq`; said once all before it was had by some device of the user,
        or with `even_unseen` at once."""
        return list(self._claims.read(now_ms, session_id, seq, even_unseen=even_unseen))

    def had(self, now_ms: int, session_id: str, first_seq: int, last_seq: int) -> list[Effect]:
        """The application has fetched these messages from history."""
        return list(self._claims.had(now_ms, session_id, first_seq, last_seq))

    def stop(self) -> list[Effect]:
        """The application is leaving: last acks, the cursor, and the close."""
        return list(self._stop())

    # -- what the connection does ----------------------------------------------------------------

    def connected(self, now_ms: int, token: str, expires_in_ms: int | None) -> list[Effect]:
        """The socket is open. `expires_in_ms`: how long the token is good for; None: it does not say."""
        self.link = Link.SIGNING_IN
        self._sign_in_by_ms = now_ms + SIGN_IN_MS
        return [LinkChanged(self.link), *self.token(now_ms, token, expires_in_ms)]

    def token(self, now_ms: int, token: str, expires_in_ms: int | None) -> list[Effect]:
        """A token for this connection, the first or a newer one."""
        self._renew_at_ms = None
        if expires_in_ms is not None and self._renewable:
            last_ms = min(RENEW_BEFORE_MS, expires_in_ms // 4)
            self._renew_at_ms = now_ms + max(RENEW_AFTER_MS, expires_in_ms - last_ms)
        return [SendFrame(frames.Hello(token=token, device_id=self._device_id))]

    def token_failed(self, now_ms: int) -> list[Effect]:
        """The answer to `RenewToken` where there was none to be had: asked for again, while this one holds."""
        if self.link is Link.READY:
            self._renew_at_ms = now_ms + RENEW_AGAIN_MS
        return []

    def closed(self, now_ms: int, code: int | None, reason: str) -> list[Effect]:
        """The socket is gone, or (`code` None) could not be opened."""
        return list(self._closed(now_ms, code, reason))

    def received(self, now_ms: int, frame: frames.ServerFrame) -> list[Effect]:
        return self._in_this_life(self._received(now_ms, frame))

    # -- what the shell fetched --------------------------------------------------------------------

    def history(self, now_ms: int, session_id: str, messages: Iterable[frames.Message], has_more: bool) -> list[Effect]:
        """The answer to `FetchHistory`."""
        return list(self._history(now_ms, session_id, tuple(messages), has_more))

    def history_ahead(self, now_ms: int, session_id: str) -> list[Effect]:
        """The answer to `FetchHistory` where the session ends below what was asked for."""
        return self._in_this_life(self._receiving.history_ahead(now_ms, session_id))

    def history_failed(self, now_ms: int, session_id: str, *, gone: bool) -> list[Effect]:
        """`gone`: the session is closed to this user for good."""
        return list(self._receiving.history_failed(now_ms, session_id, gone, self._jitter()))

    def watermarks(self, session_id: str, delivered_seq: int, read_seq: int) -> list[Effect]:
        """The answer to `FetchWatermarks`, one call a session: the peer's watermarks."""
        return list(self._outgoing.receipts.watermarks(session_id, delivered_seq, read_seq))

    def own_marks(self, now_ms: int, session_id: str, delivered_seq: int, joined_seq: int) -> list[Effect]:
        """The answer to `FetchOwnMarks`, one call a session."""
        return list(self._claims.stored(now_ms, session_id, delivered_seq, joined_seq))

    def own_marks_failed(self, session_id: str, *, gone: bool) -> None:
        """`gone`: the session is closed to this user for good."""
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
        """When `tick` has something to do next, unless something happens before."""
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
        """In another life of the deployment seqs are others, and so are watermarks of peers."""
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
        else:  # sent away: at the time that was told, or sooner where the connection ends before it
            self._connect_at_ms = min(self._connect_at_ms, self._leave_at_ms)
            self._leave_at_ms = None

    def _is_final(self, now_ms: int, code: int | None) -> bool:
        """Replaced by a newer connection of this device, which must not be replaced in turn; or not
        authorised, and no other token to be had."""
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
        self, now_ms: int, session_id: str, messages: tuple[frames.Message, ...], has_more: bool
    ) -> Iterator[Effect]:
        for message in messages:
            yield from self._own(now_ms, message)
        yield from self._receiving.history(now_ms, session_id, messages, has_more)

    def _own(self, now_ms: int, message: frames.Message) -> Iterator[Effect]:
        """A message of ours that comes back is stored, whether its ack has come or not."""
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
        """Receipts are hints; after `live` those that were lost are asked for."""
        newest = self._outgoing.receipts.newest_unread()
        direct = tuple(session_id for session_id in newest if not is_group(session_id))
        if direct:
            yield FetchWatermarks(direct)
        for session_id in newest.keys() - set(direct):
            yield FetchCounts(session_id, newest[session_id])

    def _welcome(self, now_ms: int, welcome: frames.Welcome) -> Iterator[Effect]:
        self._outgoing.server_time(now_ms, welcome.server_time)
        if self.link is not Link.SIGNING_IN:  # a token renewed: the connection goes on as it was
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
