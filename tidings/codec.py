"""Bytes of the log to records and back, with the checks that every reader relies on. Pure.

A command that cannot be understood is a PoisonRecord: nothing was promised
yet. A record behind the ack that cannot be understood is an UnreadableRecord:
skipping it would lose a message.
"""

import hashlib
from typing import TypeVar

import orjson
from google.protobuf.message import DecodeError, Message

from tidings import ids
from tidings.errors import PoisonRecord, UnknownRules, UnreadableRecord
from tidings.wire.common_pb2 import (
    KIND_CUSTOM,
    KIND_EDIT,
    KIND_FILE,
    KIND_IMAGE,
    KIND_REACTION,
    KIND_RECALL,
    KIND_SYSTEM,
    KIND_TEXT,
    Stamps,
)
from tidings.wire.deliveries_pb2 import Delivery
from tidings.wire.inbound_pb2 import Command, Post
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.receipts_pb2 import Receipt

# The rules that this code decides by, and all that it still knows how to decide by (law 1).
RULES = 1
KNOWN_RULES = frozenset({1})

KIND_NAMES = {
    KIND_TEXT: "text",
    KIND_IMAGE: "image",
    KIND_FILE: "file",
    KIND_CUSTOM: "custom",
    KIND_SYSTEM: "system",
    KIND_RECALL: "recall",
    KIND_EDIT: "edit",
    KIND_REACTION: "reaction",
}
KINDS = {name: kind for kind, name in KIND_NAMES.items()}
# Frames are at most 64 KiB; canonical JSON can be a little longer than what the client wrote.
COMMAND_BYTES = 256 * 1024
POSTABLE_KINDS = frozenset({KIND_TEXT, KIND_IMAGE, KIND_FILE, KIND_CUSTOM})
COUNTABLE_KINDS = frozenset({KIND_TEXT, KIND_IMAGE, KIND_FILE, KIND_CUSTOM})

_M = TypeVar("_M", bound=Message)


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no white space, whole floats as integers: equal values give equal bytes.

    Raises TypeError or ValueError for what JSON or Unicode does not allow.
    """
    return orjson.dumps(_whole_numbers(value), option=orjson.OPT_SORT_KEYS)


def _whole_numbers(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value


def post_digest(post: Post) -> bytes:
    """SHA-256 of the content of a message: kind, body, reply_to, mentions; 32 bytes."""
    content = [int(post.kind), post.reply_to, list(post.mentions)]
    return hashlib.sha256(orjson.dumps(content) + b"\n" + post.body).digest()


def decode_command(value: bytes | None) -> Command:
    """A record of messages.inbound; raises PoisonRecord, or UnknownRules for the code of another day."""
    if value is not None and len(value) > COMMAND_BYTES:
        raise PoisonRecord(f"a command of {len(value)} bytes, above the {COMMAND_BYTES} that a gateway can publish")
    command = _decode(Command, value, PoisonRecord)
    if command.stamps.rules == 0:
        # Not the rules of another day but no command of a gateway: it must not stop the partition.
        raise PoisonRecord("no rules are stamped on it")
    _check_rules(command.stamps)
    problem = _command_problem(command)
    if problem:
        raise PoisonRecord(problem)
    return command


def _command_problem(command: Command) -> str | None:
    if not ids.is_session_id(command.session_id):
        return "session_id is not well-formed"
    if not ids.is_user_id(command.sender_id):
        return "sender_id is not well-formed"
    if not ids.is_client_msg_id(command.client_msg_id):
        return "client_msg_id is not well-formed"
    if len(command.digest) != 32:
        return "digest is not 32 bytes"
    if not _stamps_make_sense(command.stamps):
        return "a stamped limit is missing"
    if command.WhichOneof("action") is None:
        return "no action that this version knows"
    return _post_problem(command.post) if command.HasField("post") else None


def _post_problem(post: Post) -> str | None:
    if post.kind not in POSTABLE_KINDS:
        return "kind is not one that a user can send"
    if post.reply_to < 0:
        return "reply_to is negative"
    try:
        body = orjson.loads(post.body)
    except orjson.JSONDecodeError:
        return "body is not JSON"
    return None if isinstance(body, dict) else "body is not a JSON object"


def _stamps_make_sense(stamps: Stamps) -> bool:
    return min(stamps.segment_messages, stamps.bucket_rows, stamps.recipients_per_part, stamps.month_shards) > 0


def decode_persisted(value: bytes | None) -> Persisted:
    """A record of messages.persisted; raises UnreadableRecord or UnknownRules."""
    persisted = _decode(Persisted, value, UnreadableRecord)
    _check_rules(persisted.stamps)
    if not (persisted.HasField("source") and persisted.message.seq > 0 and persisted.message.session_id):
        raise UnreadableRecord("messages.persisted: coordinates or message are missing")
    return persisted


def decode_delivery(value: bytes | None) -> Delivery:
    """A record of deliveries; raises UnreadableRecord or UnknownRules."""
    delivery = _decode(Delivery, value, UnreadableRecord)
    content = delivery.WhichOneof("content")
    if content is None:
        raise UnreadableRecord("deliveries: no content that this version knows")
    if content == "inbox_item":
        _check_rules(delivery.inbox_item.stamps)
        if not (delivery.inbox_item.HasField("source") and _stamps_make_sense(delivery.inbox_item.stamps)):
            raise UnreadableRecord("deliveries: coordinates or stamped limits are missing")
    return delivery


def decode_receipt(value: bytes | None) -> Receipt:
    """A record of receipts.inbound; raises PoisonRecord."""
    receipt = _decode(Receipt, value, PoisonRecord)
    if not ids.is_session_id(receipt.session_id) or not ids.is_user_id(receipt.user_id):
        raise PoisonRecord("session_id or user_id is not well-formed")
    if min(receipt.delivered_seq, receipt.read_seq) < 0 or max(receipt.delivered_seq, receipt.read_seq) == 0:
        raise PoisonRecord("a watermark is negative, or none is given")
    return receipt


def _decode(kind: type[_M], value: bytes | None, failure: type[Exception]) -> _M:
    if not value:
        raise failure(f"{kind.DESCRIPTOR.name}: empty record")
    try:
        return kind.FromString(value)
    except DecodeError as error:
        raise failure(f"{kind.DESCRIPTOR.name}: not readable: {error}") from error


def _check_rules(stamps: Stamps) -> None:
    if stamps.rules not in KNOWN_RULES:
        raise UnknownRules(
            f"rules {stamps.rules} are not among {sorted(KNOWN_RULES)}: deploy the version that knows them"
        )
