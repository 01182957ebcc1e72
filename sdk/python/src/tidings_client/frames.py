"""The frames of `tidings.v1.json` as types, and their encoding.

Fields follow PROTOCOL.md. Unknown fields are ignored. An optional field without a value is absent or null.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

SUBPROTOCOL = "tidings.v1.json"
MAX_CLIENT_MESSAGE_BYTES = 64 * 1024  # PROTOCOL: a client's WebSocket message with all its lines
CLOSE_NORMAL, CLOSE_TOO_BIG, CLOSE_UNAUTHORIZED, CLOSE_REPLACED = 1000, 1009, 4401, 4409


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a session's log. `at` is in milliseconds since 1970, and `message_id` is an int64 as a string."""

    message_id: str
    session_id: str
    seq: int
    sender_id: str
    client_msg_id: str
    at: int
    kind: str
    body: dict[str, Any]
    reply_to: int | None = None
    mentions: tuple[str, ...] | None = None

    @property
    def text(self) -> str:
        """The text of a text message; empty for any other kind."""
        value = self.body.get("text")
        return value if isinstance(value, str) else ""


class Position(msgspec.Struct, frozen=True):
    """A place in a session's log."""

    session_id: str
    seq: int


class InboxItem(msgspec.Struct, frozen=True, kw_only=True):
    inbox_seq: int
    message: Message


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    frame_bytes: int = MAX_CLIENT_MESSAGE_BYTES
    page: int = 200
    max_retries: int = 8
    messages_per_s: float | None = None
    burst: int | None = None


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A life of the server's tables. `id` names the life. `origin` names the tables and survives a restore from a
    backup. `since` is when the life began; `restored` lists when each life after a restore began."""

    id: str
    origin: str | None = None
    since: int = 0
    restored: tuple[int, ...] = ()


class _ServerFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of the server frames; the JSON field `type` distinguishes them."""


class Welcome(_ServerFrame, frozen=True, kw_only=True, tag="welcome"):
    user_id: str
    device_id: str
    connection_id: str
    server_time: int
    heartbeat_s: float = 20
    limits: Limits = Limits()
    deployment: Deployment | None = None


class Live(_ServerFrame, frozen=True, kw_only=True, tag="live"):
    inbox_seq: int
    heads: tuple[Position, ...] | None = None


class Heartbeat(_ServerFrame, frozen=True, kw_only=True, tag="heartbeat"):
    inbox_seq: int
    heads: tuple[Position, ...] | None = None


class SyncPage(_ServerFrame, frozen=True, kw_only=True, tag="sync_page"):
    after: int
    next: int
    tail: int
    items: tuple[InboxItem, ...] | None = None
    more: bool = False
    truncated: bool = False
    ahead: bool = False


class Push(_ServerFrame, frozen=True, kw_only=True, tag="message"):
    """A delivery. In read diffusion `inbox_seq` is None, and the order is that of `message.seq`."""

    message: Message
    inbox_seq: int | None = None


class SendAck(_ServerFrame, frozen=True, kw_only=True, tag="send_ack"):
    client_msg_id: str
    session_id: str
    message_id: str
    seq: int
    at: int
    duplicate: bool = False


class SendError(_ServerFrame, frozen=True, kw_only=True, tag="send_error"):
    client_msg_id: str
    code: str
    message: str = ""
    session_id: str | None = None
    retryable: bool = False
    retry_after_ms: int | None = None


class Receipt(_ServerFrame, frozen=True, kw_only=True, tag="receipt"):
    session_id: str
    user_id: str
    delivered_seq: int = 0
    read_seq: int = 0
    at: int | None = None


class ReceiptCount(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    delivered: int = 0
    read: int = 0


class GroupReceipt(_ServerFrame, frozen=True, kw_only=True, tag="group_receipt"):
    session_id: str
    counts: tuple[ReceiptCount, ...] = ()


class ServerPing(_ServerFrame, frozen=True, kw_only=True, tag="ping"):
    id: int | str | None = None


class ServerPong(_ServerFrame, frozen=True, kw_only=True, tag="pong"):
    id: int | str | None = None


class GoAway(_ServerFrame, frozen=True, kw_only=True, tag="goaway"):
    reason: str = ""
    reconnect_after_ms: int = 0


class ServerError(_ServerFrame, frozen=True, kw_only=True, tag="error"):
    code: str
    message: str = ""
    fatal: bool = False


ServerFrame = (
    Welcome
    | Live
    | Heartbeat
    | SyncPage
    | Push
    | SendAck
    | SendError
    | Receipt
    | GroupReceipt
    | ServerPing
    | ServerPong
    | GoAway
    | ServerError
)


class _ClientFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of the client frames."""


class Hello(_ClientFrame, frozen=True, kw_only=True, tag="hello"):
    token: str
    device_id: str


class Sync(_ClientFrame, frozen=True, kw_only=True, tag="sync"):
    after: int
    limit: int


class Send(_ClientFrame, frozen=True, kw_only=True, tag="send"):
    client_msg_id: str
    kind: str
    body: dict[str, Any]
    attempt: int
    session_id: str | None = None
    to: str | None = None
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()


class Ack(_ClientFrame, frozen=True, kw_only=True, tag="ack"):
    inbox_seq: int | None = None
    delivered: tuple[Position, ...] = ()


class Read(_ClientFrame, frozen=True, kw_only=True, tag="read"):
    session_id: str
    seq: int


class Pong(_ClientFrame, frozen=True, kw_only=True, tag="pong"):
    id: int | str | None = None


ClientFrame = Hello | Sync | Send | Ack | Read | Pong

_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)
_encoder = msgspec.json.Encoder()


def decode(text: str | bytes) -> Iterator[ServerFrame]:
    """The frames of one WebSocket message. A line of an unknown type or shape is skipped, because a newer server may
    send frames that this client does not support. The protocol depends on no single frame."""
    data = text.encode() if isinstance(text, str) else text
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        if (frame := _decoded(line)) is not None:
            yield frame


def _decoded(line: bytes) -> ServerFrame | None:
    try:
        return _decoder.decode(line)
    except msgspec.MsgspecError:  # also raised for invalid JSON and invalid UTF-8
        pass
    try:
        frame: ServerFrame = msgspec.convert(_without_nulls(msgspec.json.decode(line)), ServerFrame)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return frame


def _without_nulls(value: Any) -> Any:
    """Null means absent (PROTOCOL), also for a field whose default is not None."""
    if isinstance(value, dict):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def encoded_bytes(frame: ClientFrame) -> int:
    """The size of a WebSocket message that holds this frame alone."""
    return len(_encoder.encode(frame))


def encode(frames: Iterable[ClientFrame], max_bytes: int) -> Iterator[str]:
    """WebSocket messages of at most `max_bytes`, several frames in each, in order.
    A single frame above the limit goes alone; `sending` fails messages of that size before."""
    lines: list[bytes] = []
    used = 0
    for frame in frames:
        line = _encoder.encode(frame)
        if lines and used + len(line) + 1 > max_bytes:
            yield b"\n".join(lines).decode()
            lines, used = [], 0
        lines.append(line)
        used += len(line) + 1
    if lines:
        yield b"\n".join(lines).decode()
