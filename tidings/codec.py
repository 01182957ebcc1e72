"""Decodes the records of the log, with the checks that every reader relies on. Pure.

A command that cannot be decoded is a PoisonRecord, because nothing was promised for
it yet. A record after the ack that cannot be decoded is an UnreadableRecord, because
skipping it would lose a message.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import orjson
from google.protobuf.message import DecodeError, Message

from tidings import ids, json_numbers
from tidings.errors import PoisonRecord, UnknownRules, UnreadableRecord
from tidings.groups import COMMAND_USERS, GIVEN_ROLES, GROUP_NAME_POINTS, SHARE_HISTORY, WHO, WHO_CAN_ADD, WHO_CAN_SEND
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
from tidings.wire.inbound_pb2 import ChangeGroup, ChangeMember, Command, GroupSettings, Post
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.receipts_pb2 import Receipt

# The rules that this code stamps on commands, and all rules that it can decide by: law 1 (the log decides). Until the
# release of 0.1.0 no log holds records of older code, so decisions may change without a new number. After it they
# may not.
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
# Frames are at most 64 KiB. Canonical JSON can be a little longer than the client's JSON.
COMMAND_BYTES = 256 * 1024
POSTABLE_KINDS = frozenset({KIND_TEXT, KIND_IMAGE, KIND_FILE, KIND_CUSTOM})
COUNTABLE_KINDS = frozenset({KIND_TEXT, KIND_IMAGE, KIND_FILE, KIND_CUSTOM})

# A body refers to the content and to a thumbnail.
MEDIA_IDS = 2

_M = TypeVar("_M", bound=Message)


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no white space and one form of each number, so that equal values give equal bytes.

    Raises TypeError or ValueError for a value that JSON or Unicode does not allow, or a number that cannot be kept.
    """
    return orjson.dumps(_canonical(value), option=orjson.OPT_SORT_KEYS)


def _canonical(value: object) -> object:
    if isinstance(value, str):  # first, because most values of most bodies are text
        return value
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return json_numbers.kept(value)
    if isinstance(value, json_numbers.Inexact):
        raise ValueError(json_numbers.unkept(value.text[:40]))
    return value


def post_digest(post: Post) -> bytes:
    """SHA-256 of the content of a message: kind, body, reply_to, mentions; 32 bytes."""
    content = [int(post.kind), post.reply_to, list(post.mentions)]
    return hashlib.sha256(orjson.dumps(content) + b"\n" + post.body).digest()


def decode_command(value: bytes | None) -> Command:
    """Decode a record of messages.inbound. Raises PoisonRecord, or UnknownRules for rules of other code.

    The gateway guarantees everything that is checked here, so no command of a gateway
    is poison. A group command is in a group session, and names 1 to COMMAND_USERS
    well-formed users besides its sender (a creation: 0 to COMMAND_USERS). It changes
    something, and its words are valid. The persister decides whether the sender has
    the right to it.
    """
    if value is not None and len(value) > COMMAND_BYTES:
        raise PoisonRecord(f"a command of {len(value)} bytes, above the {COMMAND_BYTES} that a gateway can publish")
    command = _decode(Command, value, PoisonRecord)
    if command.stamps.rules == 0:
        # Every gateway stamps rules. A record without them is not a gateway's command, so it must not stop the
        # partition.
        raise PoisonRecord("no rules are stamped on it")
    _check_rules(command.stamps)
    problem = _command_problem(command)
    if problem:
        raise PoisonRecord(problem)
    return command


def _command_problem(command: Command) -> str | None:
    if not ids.is_logged_session_id(command.session_id):
        return "session_id is not well-formed"
    if command.HasField("close_segment"):
        return _close_segment_problem(command)
    if not ids.is_logged_user_id(command.sender_id):
        return "sender_id is not well-formed"
    if not ids.is_client_msg_id(command.client_msg_id):
        return "client_msg_id is not well-formed"
    if len(command.digest) != 32:
        return "digest is not 32 bytes"
    if not _stamps_make_sense(command.stamps):
        return "a stamped limit is missing"
    if command.WhichOneof("action") is None:
        return "no action that this version supports"
    return _post_problem(command.post) if command.HasField("post") else _group_command_problem(command)


def _close_segment_problem(command: Command) -> str | None:
    asked = command.close_segment
    if command.sender_id or command.client_msg_id:
        return "a user cannot close a segment"
    if asked.segment == 0 or asked.last_seq < 1:
        return "segment or last_seq is not above 0"
    return None if _stamps_make_sense(command.stamps) else "a stamped limit is missing"


def _post_problem(post: Post) -> str | None:
    if post.kind not in POSTABLE_KINDS:
        return "kind is not one that a user can send"
    if post.reply_to < 0:
        return "reply_to is negative"
    if len(post.media_ids) > MEDIA_IDS or not all(map(ids.is_media_id, post.media_ids)):
        return f"media_ids are not at most {MEDIA_IDS} ids of uploads"
    try:
        body = orjson.loads(post.body)
    except orjson.JSONDecodeError:
        return "body is not JSON"
    return None if isinstance(body, dict) else "body is not a JSON object"


def _group_command_problem(command: Command) -> str | None:
    if not ids.is_group_session(command.session_id):
        return "a group command for a direct session"
    if min(command.stamps.write_diffusion_max, command.stamps.group_members_max) == 0:
        return "a stamped limit of groups is missing"
    match command.WhichOneof("action"):
        case "create_group":
            create = command.create_group
            others = {*create.member_ids} - {command.sender_id}
            return (
                _users_problem(list(others), least=0)
                or _name_problem(create.name)
                or _settings_problem(create.settings)
            )
        case "add_members":
            return _users_problem(command.add_members.user_ids, least=1)
        case "remove_member":
            return _users_problem([command.remove_member.user_id], least=1)
        case "change_member":
            return _change_member_problem(command.change_member)
        case "transfer_group":
            return _users_problem([command.transfer_group.user_id], least=1)
        case "change_group":
            return _change_group_problem(command.change_group)
    return None


def _users_problem(user_ids: Sequence[str], least: int) -> str | None:
    if not least <= len(user_ids) <= COMMAND_USERS:
        return f"{len(user_ids)} users are named, not {least} to {COMMAND_USERS}"
    return None if all(map(ids.is_logged_user_id, user_ids)) else "a user id is not well-formed"


def _change_member_problem(change: ChangeMember) -> str | None:
    if not (change.HasField("role") or change.HasField("muted_until_ms")):
        return "neither role nor mute is given"
    if change.HasField("role") and change.role not in GIVEN_ROLES:
        return f"role is not {' or '.join(GIVEN_ROLES)}"
    if change.muted_until_ms < 0:
        return "muted_until_ms is negative"
    return _users_problem([change.user_id], least=1)


def _change_group_problem(change: ChangeGroup) -> str | None:
    if not (change.HasField("name") or change.settings.ListFields()):
        return "neither name nor settings are given"
    problem = _name_problem(change.name) if change.HasField("name") else None
    return problem or _settings_problem(change.settings)


def _name_problem(name: str) -> str | None:
    return None if 1 <= len(name) <= GROUP_NAME_POINTS else f"the name has not 1 to {GROUP_NAME_POINTS} code points"


def _settings_problem(settings: GroupSettings) -> str | None:
    given = [value for field, value in settings.ListFields() if field.name != SHARE_HISTORY]
    return (
        None if all(value in WHO for value in given) else f"{WHO_CAN_SEND} or {WHO_CAN_ADD} is not {' or '.join(WHO)}"
    )


def _stamps_make_sense(stamps: Stamps) -> bool:
    return min(stamps.segment_messages, stamps.bucket_rows, stamps.recipients_per_part, stamps.month_shards) > 0


def decode_persisted(value: bytes | None) -> Persisted:
    """Decode a record of messages.persisted. Raises UnreadableRecord or UnknownRules."""
    persisted = _decode(Persisted, value, UnreadableRecord)
    _check_rules(persisted.stamps)
    if not (persisted.HasField("source") and persisted.message.seq > 0 and persisted.message.session_id):
        raise UnreadableRecord("messages.persisted: coordinates or message are missing")
    return persisted


def decode_delivery(value: bytes | None) -> Delivery:
    """Decode a record of deliveries. Raises UnreadableRecord or UnknownRules."""
    delivery = _decode(Delivery, value, UnreadableRecord)
    content = delivery.WhichOneof("content")
    if content is None:
        raise UnreadableRecord("deliveries: no content that this version supports")
    if content == "inbox_item":
        _check_rules(delivery.inbox_item.stamps)
        if not (delivery.inbox_item.HasField("source") and _stamps_make_sense(delivery.inbox_item.stamps)):
            raise UnreadableRecord("deliveries: coordinates or stamped limits are missing")
    return delivery


def decode_receipt(value: bytes | None) -> Receipt:
    """Decode a record of receipts.inbound. Raises PoisonRecord."""
    receipt = _decode(Receipt, value, PoisonRecord)
    if not ids.is_logged_session_id(receipt.session_id) or not ids.is_logged_user_id(receipt.user_id):
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
            f"rules {stamps.rules} are not among {sorted(KNOWN_RULES)}: deploy a version that supports them"
        )
