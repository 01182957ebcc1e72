"""One live WebSocket as a pure state machine: frames, pushes and ticks in, frames and effects out.

No socket, no await, no clock. `now_ms` is monotonic time, `wall_ms` the time of day. The rules are those of
PROTOCOL's WebSocket section.
"""
# Above 400 lines and not split: frames, pushes and ticks all share the send queue, the timers and `closing`. A second
# module would need access to all of this state.

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.gateway.protocol.answers import heads_of, send_error, welcome
from services.gateway.protocol.commands import asked_session, checked_draft, usable_client_msg_id
from services.gateway.protocol.connection_state import ConnectionRules, State, first_beat_ms
from services.gateway.protocol.effects import (
    Announce,
    CheckAck,
    Effect,
    HeartbeatDue,
    MoveWatermark,
    Publish,
    ReadInbox,
    SignedIn,
)
from services.gateway.protocol.frames import (
    Ack,
    Frame,
    Hello,
    Malformed,
    Ping,
    Pong,
    Read,
    Send,
    SeqOfSession,
    Sync,
    decode_line,
    encode,
    is_ref,
)
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.limits import MAX_PAGE
from services.gateway.protocol.send_queue import NEVER_MS, REPEAT_AFTER_MS, Full, SendQueue
from tidings import ids
from tidings.close_codes import CloseCode
from tidings.errors import Refused

HELLO_WITHIN_MS = 5_000
INVALID_FRAMES_A_MINUTE = 10
# Presence is repeated until `live` answers it, and renewed well before the topic's 24 h have passed.
ANNOUNCE_EVERY_MS = 5_000
RENEW_EVERY_MS = 8 * 3_600_000


class Connection:
    """`closing` is set once the socket is to be closed. From then on no frame is accepted."""

    __slots__ = (
        "_announce_due_ms",
        "_errors_ms",
        "_expires_ms",
        "_heads",
        "_heartbeat_due_ms",
        "_rules",
        "_send_queue",
        "closing",
        "connection_id",
        "device_id",
        "due_ms",
        "inbox_tail",
        "signed_in_at_ms",
        "state",
        "user_id",
    )

    def __init__(self, connection_id: str, rules: ConnectionRules, now_ms: int) -> None:
        """The connection is open and not signed in."""
        self.connection_id = connection_id
        self.state = State.NEW
        self.user_id = ""
        self.device_id = ""
        self.closing: tuple[CloseCode, str] | None = None
        self.inbox_tail = 0
        self.signed_in_at_ms = 0
        self.due_ms = self._expires_ms = now_ms + HELLO_WITHIN_MS
        self._rules = rules
        self._send_queue = SendQueue(rules.send_queue)
        self._announce_due_ms = NEVER_MS
        self._heartbeat_due_ms = NEVER_MS
        self._errors_ms: tuple[int, ...] = ()
        self._heads: Mapping[str, int] = {}

    @property
    def has_outgoing(self) -> bool:
        """True while there are frames for the socket."""
        return bool(self._send_queue)

    @property
    def buffered_bytes(self) -> int:
        """The bytes that wait for this client, or for its acks."""
        return self._send_queue.buffered_bytes

    def take_outgoing(self) -> str:
        """The next message for the socket; empty if no frame is queued."""
        return self._send_queue.take()

    # --- from the client ---------------------------------------------------------------------------

    def received(self, text: str, now_ms: int, wall_ms: int) -> Sequence[Effect]:
        """A text message of one or more lines, each a frame. Empty lines are ignored."""
        effects: list[Effect] = []
        for line in text.split("\n"):
            if self.state is State.CLOSING:
                break
            if not line.isspace() and line:
                frame = decode_line(line)
                effects.extend(_TABLE[self.state][type(frame)](self, frame, now_ms, wall_ms))
        return effects

    def received_binary(self) -> None:
        """A binary message is fatal."""
        self._fail(Refused("invalid_frame", "send text messages, not binary ones"), CloseCode.BAD_FRAME)

    def _refuse_before_hello(self, frame: Frame, _now_ms: int, _wall_ms: int) -> Sequence[Effect]:
        return self._fatal(Malformed(True, "the first frame is hello", frame.ref))

    def _malformed(self, frame: Malformed, now_ms: int, _wall_ms: int) -> Sequence[Effect]:
        if frame.is_fatal:
            return self._fatal(frame)
        refused = Refused(frame.code, frame.text)
        self._refuse_send(frame.client_msg_id, frame.session_id, refused, frame.ref, now_ms)
        return ()

    def _fatal(self, frame: Malformed) -> Sequence[Effect]:
        close_code = CloseCode.TOO_BIG if frame.code == "too_large" else CloseCode.BAD_FRAME
        return self._fail(Refused(frame.code, frame.text), close_code, frame.ref if is_ref(frame.ref) else None)

    def _hello(self, hello: Hello, now_ms: int, wall_ms: int) -> Sequence[Effect]:
        """Sign in, and schedule presence and heartbeats."""
        identity = self._verified(hello, wall_ms)
        if identity is None:
            return ()
        self.state = State.SIGNED_IN
        self.user_id, self.device_id = identity.user_id, hello.device_id or ""
        self.signed_in_at_ms = wall_ms
        self._announce_due_ms = now_ms + ANNOUNCE_EVERY_MS
        self._heartbeat_due_ms = now_ms + first_beat_ms(self.connection_id, self._rules.heartbeat_s)
        self._welcome(hello.ref, identity, now_ms, wall_ms)
        return (SignedIn(),)

    def _renew(self, hello: Hello, now_ms: int, wall_ms: int) -> Sequence[Effect]:
        """A second hello: the token of the same user and device, with a later end."""
        identity = self._verified(hello, wall_ms)
        if identity is None:
            return ()
        if (self.user_id, self.device_id) != (identity.user_id, hello.device_id):
            text = "a second hello renews the token of the same user and device; open a new connection for another"
            return self._fail(Refused("invalid_frame", text), CloseCode.BAD_FRAME, hello.ref)
        self._welcome(hello.ref, identity, now_ms, wall_ms)
        return ()

    def _verified(self, hello: Hello, wall_ms: int) -> Identity | None:
        """The user of the token; None if the connection has failed."""
        if not hello.device_id or not ids.is_user_id(hello.device_id):
            text = f"device_id is a string of {ids.USER_ID_TEXT}"
            self._fail(Refused("invalid_frame", text), CloseCode.BAD_FRAME, hello.ref)
            return None
        try:
            return self._rules.verify(hello.token or "", wall_ms)
        except Refused as refused:
            self._fail(refused, CloseCode.NOT_AUTHORISED, hello.ref)
            return None

    def _welcome(self, ref: str | None, identity: Identity, now_ms: int, wall_ms: int) -> None:
        rules = self._rules
        self._expires_ms = now_ms + identity.valid_for_ms
        names = {"user_id": self.user_id, "device_id": self.device_id, "connection_id": self.connection_id}
        rates = {"messages_per_s": rules.messages_per_s, "burst": rules.burst}
        self._add(welcome(ref, names, rates, rules.deployment, wall_ms, rules.heartbeat_s))
        self._reschedule()

    def _send(self, send: Send, now_ms: int, wall_ms: int) -> Sequence[Effect]:
        ref = send.ref if is_ref(send.ref) else None
        try:
            draft = checked_draft(self.user_id, send, self._rules.bodies, wall_ms)
        except Refused as refused:
            self._refuse_send(send.client_msg_id, send.session_id, refused, ref, now_ms)
            return ()
        return (Publish(draft, ref),)

    def _refuse_send(
        self, client_msg_id: object, session_id: object, refused: Refused, ref: str | None, now_ms: int
    ) -> None:
        """Answer a malformed `send` by `send_error` if its client_msg_id is valid, otherwise by `error`."""
        usable = usable_client_msg_id(client_msg_id)
        if usable is None:
            self._error(refused, ref, now_ms)
        else:
            is_named = isinstance(session_id, str) and ids.is_session_id(session_id)
            self.refused(usable, str(session_id) if is_named else None, refused, ref)

    def _sync(self, sync: Sync, now_ms: int, _wall_ms: int) -> Sequence[Effect]:
        limit = MAX_PAGE if sync.limit is None else sync.limit
        if limit < 1:
            self._error(Refused("invalid_frame", f"limit is 1-{MAX_PAGE}"), sync.ref, now_ms)
            return ()
        self._send_queue.restart(now_ms)
        return (ReadInbox(sync.after, min(limit, MAX_PAGE), sync.ref),)

    def _ack(self, ack: Ack, now_ms: int, _wall_ms: int) -> Sequence[Effect]:
        moved = self._watermarks(ack.delivered or (), ack.ref, now_ms, is_read=False)
        held = ack.inbox_seq or 0
        self._send_queue.acknowledge(min(held, self.inbox_tail))
        return moved if held <= self.inbox_tail else (CheckAck(held, ack.ref), *moved)

    def _read(self, read: Read, now_ms: int, _wall_ms: int) -> Sequence[Effect]:
        return self._watermarks([SeqOfSession(read.session_id, read.seq)], read.ref, now_ms, is_read=True)

    def _ping(self, ping: Ping, _now_ms: int, _wall_ms: int) -> Sequence[Effect]:
        self._add(encode("pong", ping.ref, id=ping.id))
        return ()

    def _watermarks(
        self, moved: Sequence[SeqOfSession], ref: str | None, now_ms: int, is_read: bool
    ) -> Sequence[Effect]:
        effects: list[Effect] = []
        for place in moved:
            try:
                asked_session(self.user_id, place.session_id, None)
            except Refused as refused:
                self._error(refused, ref, now_ms)
                continue
            effects.append(MoveWatermark(place.session_id, place.seq, place.seq if is_read else 0, ref))
        return effects

    # --- from Kafka and the tables -----------------------------------------------------------------

    def push(self, frame: bytes) -> None:
        """An encoded frame, such as send_ack or receipt."""
        self._add(frame)

    def deliver(self, inbox_seq: int, message_json: bytes, now_ms: int) -> None:
        """A message of this user's inbox, which is repeated until the client acknowledges it."""
        if self.closing:
            return
        try:
            self._send_queue.deliver(inbox_seq, message_json, now_ms)
        except Full:
            self._too_slow("too many deliveries are unacknowledged")
        if inbox_seq > self.inbox_tail:
            self.inbox_tail = inbox_seq
        self.due_ms = min(self.due_ms, now_ms + REPEAT_AFTER_MS[0])

    def refused(self, client_msg_id: str, session_id: str | None, refused: Refused, ref: str | None) -> None:
        """A try of a `send` stored nothing. For `timeout` and `unavailable` the outcome is unknown."""
        self._add(send_error(client_msg_id, session_id, refused, ref))

    def page(self, fields: Mapping[str, object], ref: str | None) -> None:
        """The answer of a sync."""
        self._add(encode("sync_page", ref, **fields))

    def ack_checked(self, held: int, stored_tail: int, ref: str | None) -> None:
        """The tail was read for an ack above the highest inbox_seq that was sent. The ack counts up to the tail.

        Later messages are not acknowledged, because no device can hold them yet.
        """
        self.inbox_tail = max(self.inbox_tail, stored_tail)
        self._send_queue.acknowledge(min(held, self.inbox_tail))
        if held > self.inbox_tail:
            text = f"the inbox ends at {self.inbox_tail}: sync from your cursor, and see PROTOCOL on other lives"
            self.failed(Refused("cursor_ahead", text), ref)

    def failed(self, refused: Refused, ref: str | None) -> None:
        """A sync or watermark could not be served now. The connection stays open."""
        self._add(encode("error", ref, code=refused.code, message=refused.text, fatal=False))

    def went_live(self, inbox_seq: int, heads: Mapping[str, int], now_ms: int) -> None:
        """Fanout has answered presence: messages up to inbox_seq are in the inbox, and later ones are pushed.

        `heads`: the heads of all read-diffusion groups of the user.
        """
        if self.state is State.SIGNED_IN:
            self.state = State.LIVE
        self._announce_due_ms = now_ms + RENEW_EVERY_MS
        self.inbox_tail = max(self.inbox_tail, inbox_seq)
        self._heads = heads
        self._add(encode("live", inbox_seq=inbox_seq, heads=heads_of(heads)))
        self._reschedule()

    def announce_again(self, now_ms: int) -> None:
        """Announce presence at once, because pushes may have been lost. Fanout sends `live` again."""
        if self.state is State.LIVE:
            self.state = State.SIGNED_IN
        self._announce_due_ms = now_ms
        self._reschedule()

    def beat(self, inbox_tail: int, heads: Mapping[str, int]) -> None:
        """A heartbeat with the stored tail of the inbox, or the highest known one if that cannot be read.

        `heads`: the heads of the user's read-diffusion groups. Those that moved since the last heartbeat are sent.
        """
        self.inbox_tail = max(self.inbox_tail, inbox_tail)
        moved = {name: seq for name, seq in heads.items() if seq > self._heads.get(name, 0)}
        self._heads = {**self._heads, **moved} if moved else self._heads
        self._add(encode("heartbeat", inbox_seq=self.inbox_tail, heads=heads_of(moved)))

    def beat_soon(self, now_ms: int) -> None:
        """Send the heads at once, because pushes of a read-diffusion group were not delivered to the user."""
        self._heartbeat_due_ms = min(now_ms, self._heartbeat_due_ms)
        self._reschedule()

    def replaced(self) -> None:
        """A newer connection of the same device has replaced this one."""
        self._close(CloseCode.REPLACED, "replaced by a newer connection of this device")

    def go_away(self, reason: str, reconnect_after_ms: int) -> None:
        """Ask the client to reconnect, to any gateway, after `reconnect_after_ms`."""
        self._add(encode("goaway", reason=reason, reconnect_after_ms=reconnect_after_ms))

    def shut_down(self) -> None:
        """Close, because the gateway stops."""
        self._close(CloseCode.GOING_AWAY, "going away")

    def broke(self) -> None:
        """Close after an internal error of the gateway, so that the client reconnects."""
        self._close(CloseCode.UNAVAILABLE, "internal error of the gateway; connect again")

    # --- time --------------------------------------------------------------------------------------

    def ticked(self, now_ms: int) -> Sequence[Effect]:
        """Run the timers that are due. Cheap before `due_ms`, which may be early and is never late."""
        if now_ms < self.due_ms or self.closing:
            return ()
        if now_ms >= self._expires_ms:
            self._expire()
            return ()
        if not self._send_queue.repeat(now_ms):
            self._too_slow("deliveries were not acknowledged for 45 s")
            return ()
        effects = self._timers(now_ms)
        self._reschedule()
        return effects

    def _expire(self) -> None:
        if self.state is not State.NEW:
            self._fail(Refused("token_expired", "the token is past its exp; get a new one"), CloseCode.NOT_AUTHORISED)
        else:
            self._close(CloseCode.TOO_SLOW, f"no hello within {HELLO_WITHIN_MS // 1000} s")

    def _timers(self, now_ms: int) -> Sequence[Effect]:
        effects: list[Effect] = []
        if now_ms >= self._announce_due_ms:
            self._announce_due_ms = now_ms + ANNOUNCE_EVERY_MS
            effects.append(Announce())
        if now_ms >= self._heartbeat_due_ms:
            self._heartbeat_due_ms = now_ms + self._rules.heartbeat_s * 1000
            effects.append(HeartbeatDue())
        return effects

    def _reschedule(self) -> None:
        timers = (self._expires_ms, self._announce_due_ms, self._heartbeat_due_ms, self._send_queue.due_ms())
        self.due_ms = min(timers)

    # --- ends --------------------------------------------------------------------------------------

    def _add(self, frame: bytes) -> None:
        # `closing` and not `state`, because an enum's member costs 40 ns, a fifth of a push.
        if self.closing:
            return
        try:
            self._send_queue.add(frame)
        except Full:
            self._too_slow("the send queue is full")

    def _error(self, refused: Refused, ref: str | None, now_ms: int) -> None:
        """Answer a frame that has no answer of its own. Ten `invalid_frame` within a minute are fatal."""
        self.failed(refused, ref)
        if refused.code != "invalid_frame":
            return
        self._errors_ms = (*(at for at in self._errors_ms if at > now_ms - 60_000), now_ms)
        if len(self._errors_ms) >= INVALID_FRAMES_A_MINUTE:
            self._fail(Refused("invalid_frame", "ten invalid frames within a minute"), CloseCode.BAD_FRAME)

    def _fail(self, refused: Refused, close_code: CloseCode, ref: str | None = None) -> Sequence[Effect]:
        """Send a fatal error, then close."""
        self._add(encode("error", ref, code=refused.code, message=refused.text, fatal=True))
        self._close(close_code, refused.code)
        return ()

    def _too_slow(self, reason: str) -> None:
        self._send_queue.clear()
        self._close(CloseCode.TOO_SLOW, reason)

    def _close(self, code: CloseCode, reason: str) -> None:
        if self.state is not State.CLOSING:
            self.state = State.CLOSING
            self.closing = (code, reason)
            self.due_ms = NEVER_MS


_Handler = Callable[[Connection, Any, int, int], Sequence[Effect]]

_SIGNED_IN: Mapping[type, _Handler] = {
    Hello: Connection._renew,
    Send: Connection._send,
    Sync: Connection._sync,
    Ack: Connection._ack,
    Read: Connection._read,
    Ping: Connection._ping,
    Pong: lambda *_: (),
    Malformed: Connection._malformed,
}

# The handler of each frame in each state. CLOSING accepts none.
_TABLE: Mapping[State, Mapping[type, _Handler]] = {
    State.NEW: {
        **dict.fromkeys((Send, Sync, Ack, Read, Ping, Pong), Connection._refuse_before_hello),
        Hello: Connection._hello,
        Malformed: lambda self, frame, *_: self._fatal(frame),
    },
    State.SIGNED_IN: _SIGNED_IN,
    State.LIVE: _SIGNED_IN,
    State.CLOSING: {},
}
