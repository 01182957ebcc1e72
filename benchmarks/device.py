"""A minimal device that follows PROTOCOL's client rules: dedupe, hold, sync, ack."""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.socket_client import SocketClient

# PROTOCOL: sync after 200 ms, and again every second until the gap is closed.
_GAP_S = 0.2
_GAP_AGAIN_S = 1.0


class Message(msgspec.Struct):
    """The fields of a message that the generator uses."""

    session_id: str
    seq: int
    sender_id: str
    client_msg_id: str


class Item(msgspec.Struct):
    """An entry of a sync_page."""

    inbox_seq: int
    message: Message


class Head(msgspec.Struct):
    """The newest seq of a group in read diffusion."""

    session_id: str
    seq: int


class Frame(msgspec.Struct):
    """Any frame of the server, with the fields that are used."""

    type: str
    inbox_seq: int | None = None
    message: Any = None
    items: list[Item] = []
    heads: list[Head] = []
    client_msg_id: str = ""
    session_id: str = ""
    seq: int = 0
    code: str = ""
    more: bool = False
    next: int = 0


_decoder = msgspec.json.Decoder(Frame)


class Device:
    """One user's one device."""

    __slots__ = (
        "_acked",
        "_delivered",
        "_gap_since",
        "_held",
        "_synced_at",
        "client",
        "cursor",
        "ends",
        "errors",
        "heads",
        "is_live",
        "on_ack",
        "on_message",
        "read_pushed",
        "seen",
        "user_id",
    )

    def __init__(self, user_id: str, on_ack: Callable[[Frame, float], None]) -> None:
        """`on_ack` is called with send_ack and send_error frames."""
        self.user_id = user_id
        self.client: SocketClient | None = None
        self.on_ack = on_ack
        self.on_message: Callable[[Message, float], None] = _ignore
        self.cursor = 0
        self.is_live = False
        self.seen: dict[str, list[int]] = {}
        # Read diffusion: the seqs pushed without an inbox_seq, and the heads received.
        self.read_pushed: dict[str, set[int]] = {}
        self.heads: dict[str, int] = {}
        self.errors: list[str] = []
        self.ends: list[str] = []
        self._held: dict[int, Message] = {}
        self._delivered: dict[str, int] = {}
        self._acked = 0
        self._gap_since = 0.0
        self._synced_at = 0.0

    def text(self, data: bytes) -> None:
        """A text message of the server: one or more frames."""
        now = time.perf_counter()
        for line in data.split(b"\n"):
            if line:
                self._frame(_decoder.decode(line), now)

    def _frame(self, frame: Frame, now: float) -> None:
        match frame.type:
            case "message":
                message = msgspec.convert(frame.message, Message)
                if frame.inbox_seq is None:
                    self._take_read(message, now)
                else:
                    self._take(frame.inbox_seq, message, now)
            case "send_ack" | "send_error":
                self.on_ack(frame, now)
            case "sync_page":
                for item in frame.items:
                    self._take(item.inbox_seq, item.message, now)
                if frame.more:
                    self.sync(now)
            case "live":
                self.is_live = True
                self._note(frame.heads)
                if (frame.inbox_seq or 0) > self.cursor:
                    self.sync(now)
            case "heartbeat":
                self._note(frame.heads)
                if (frame.inbox_seq or 0) > self.cursor and self._gap_since == 0.0:
                    self._gap_since = now
            case "error" | "goaway":
                self.errors.append(f"{frame.type} {frame.code}")

    def _take(self, inbox_seq: int, message: Message, now: float) -> None:
        if inbox_seq <= self.cursor or inbox_seq in self._held:
            return
        self._held[inbox_seq] = message
        if message.sender_id != self.user_id:
            self.on_message(message, now)
        while (following := self._held.pop(self.cursor + 1, None)) is not None:
            self.cursor += 1
            self.seen.setdefault(following.session_id, []).append(following.seq)
            if following.sender_id != self.user_id:
                self._delivered[following.session_id] = following.seq
        if not self._held:
            self._gap_since = 0.0
        elif self._gap_since == 0.0:
            self._gap_since = now

    def _take_read(self, message: Message, now: float) -> None:
        """Count each message once by (session_id, seq)."""
        pushed = self.read_pushed.setdefault(message.session_id, set())
        if message.seq in pushed:
            return
        pushed.add(message.seq)
        if message.sender_id != self.user_id:
            self._delivered[message.session_id] = max(message.seq, self._delivered.get(message.session_id, 0))
            self.on_message(message, now)

    def _note(self, heads: list[Head]) -> None:
        for head in heads:
            self.heads[head.session_id] = max(head.seq, self.heads.get(head.session_id, 0))

    def tick(self, now: float) -> None:
        """Called every 200 ms: ack the received messages, and sync if there is a gap."""
        if self.client is None:
            return
        if self.cursor > self._acked or self._delivered:
            delivered = [{"session_id": name, "seq": seq} for name, seq in self._delivered.items()]
            self.client.send(msgspec.json.encode({"type": "ack", "inbox_seq": self.cursor, "delivered": delivered}))
            self._acked = self.cursor
            self._delivered.clear()
        if self._gap_since and now - self._gap_since > _GAP_S and now - self._synced_at > _GAP_AGAIN_S:
            self.sync(now)

    def sync(self, now: float) -> None:
        """Request the messages after the cursor."""
        assert self.client is not None
        self._synced_at = now
        self.client.send(msgspec.json.encode({"type": "sync", "after": self.cursor, "limit": 200}))


def _ignore(message: Message, now: float) -> None:
    """The default of `on_message`: drop the message."""
