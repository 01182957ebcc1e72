"""A message as PROTOCOL shows it, encoded once for all receivers. Pure."""

from collections.abc import Collection

import orjson

from tidings.codec import KIND_NAMES
from tidings.store.rows import MessageRow
from tidings.wire.common_pb2 import Message

_KIND_NAMES: dict[int, str] = {int(kind): name for kind, name in KIND_NAMES.items()}


def of_row(row: MessageRow) -> bytes:
    """A stored message as JSON. The bytes of the body are inserted unchanged."""
    fields = _head(row.message_id, row.session_id, row.seq, row.sender_id)
    fields |= _content(row.client_msg_id, row.at, row.kind, row.body)
    return _encoded(fields, row.reply_to, row.mentions)


def of_record(message: Message) -> bytes | None:
    """A message of a record as JSON. None if its body is not JSON on one line, because that would break the frame."""
    if b"\n" in message.body or not _is_json(message.body):
        return None
    fields = _head(message.message_id, message.session_id, message.seq, message.sender_id)
    fields |= _content(message.client_msg_id, message.at_ms, message.kind, message.body)
    return _encoded(fields, message.reply_to, message.mentions)


def kind_name(kind: int) -> str:
    """PROTOCOL's name of a kind; `unknown` for a kind of a later version."""
    return _KIND_NAMES.get(kind, "unknown")


def _head(message_id: int, session_id: str, seq: int, sender_id: str) -> dict[str, object]:
    return {"message_id": str(message_id), "session_id": session_id, "seq": seq, "sender_id": sender_id}


def _content(client_msg_id: str, at_ms: int, kind: int, body: bytes) -> dict[str, object]:
    name = kind_name(kind)
    return {"client_msg_id": client_msg_id, "at": at_ms, "kind": name, "body": orjson.Fragment(body)}


def _encoded(fields: dict[str, object], reply_to: int | None, mentions: Collection[str] | None) -> bytes:
    if reply_to:
        fields["reply_to"] = reply_to
    if mentions:
        fields["mentions"] = list(mentions)
    return orjson.dumps(fields)


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True
