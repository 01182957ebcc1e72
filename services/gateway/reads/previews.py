"""The preview of a message in the list of sessions. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from services.gateway.protocol import messages_json
from tidings.one_line import beginning
from tidings.store.rows import MessageRow

PREVIEW_POINTS = 100

_Body = Mapping[str, Any]


def preview(message: MessageRow) -> str:
    """One line: the beginning of a text, the name of another body, or a sentence for a group event."""
    return beginning(_line_of(message), PREVIEW_POINTS)


def _line_of(message: MessageRow) -> str:
    body = orjson.loads(message.body)
    kind = messages_json.kind_name(message.kind)
    if kind == "system":
        return _sentence(message.sender_id, body)
    text = body.get("text") or body.get("name") or body.get("type")
    if kind == "text":
        return str(text)
    return f"[{kind}] {text}" if text else f"[{kind}]"


def _sentence(sender_id: str, body: _Body) -> str:
    event = body.get("event")
    predicate = _PREDICATES.get(str(event))
    return f"{sender_id} {predicate(sender_id, body)}" if predicate is not None else f"[system] {event}"


def _removed(sender_id: str, body: _Body) -> str:
    return "left" if body.get("user_id") == sender_id else f"removed {body.get('user_id')}"


def _changed_member(_sender_id: str, body: _Body) -> str:
    user_id = body.get("user_id")
    if body.get("role"):
        return f"made {user_id} {body['role']}"
    return f"muted {user_id}" if body.get("muted_until") else f"unmuted {user_id}"


def _changed_group(_sender_id: str, body: _Body) -> str:
    return f"named the group {body['name']}" if body.get("name") else "changed the group's settings"


_PREDICATES: Mapping[str, Callable[[str, _Body], str]] = {
    "group_created": lambda _, body: f"created the group {body.get('name')}",
    "members_added": lambda _, body: f"added {', '.join(map(str, body.get('user_ids', ())))}",
    "member_removed": _removed,
    "member_changed": _changed_member,
    "owner_changed": lambda _, body: f"made {body.get('user_id')} the owner",
    "group_changed": _changed_group,
    "group_dissolved": lambda _, body: "dissolved the group",
}
