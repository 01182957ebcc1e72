"""What /openapi.json says beyond the routes themselves, and a page of it that loads nothing from elsewhere."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

_ID = {"type": "string", "minLength": 1, "maxLength": 64}
_SEQ = {"type": "integer", "minimum": 1}
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "required": ["client_msg_id", "kind", "body"],
    "properties": {
        "client_msg_id": {**_ID, "description": "a UUIDv7, unique per session and sender"},
        "session_id": {"type": "string", "description": "or `to`"},
        "to": {**_ID, "description": "a user: the direct session with them"},
        "kind": {"enum": ["text", "image", "file", "custom"]},
        "body": {"type": "object"},
        "reply_to": _SEQ,
        "mentions": {"type": "array", "maxItems": 50, "items": _ID},
    },
}
_USERS: dict[str, Any] = {"type": "array", "maxItems": 500, "items": _ID}
_AGAIN = {**_ID, "description": "makes a repeat safe; or the header Idempotency-Key"}
_NAME = {"type": "string", "minLength": 1, "maxLength": 128}
_SETTINGS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "share_history": {"type": "boolean", "description": "members read what was said before they joined"},
        "who_can_send": {"enum": ["all", "admins"]},
        "who_can_add": {"enum": ["all", "admins"]},
    },
}

_GROUP = {"client_msg_id": _AGAIN, "name": _NAME, "settings": _SETTINGS}
_TIME = {"type": "integer", "minimum": 0, "description": "ms since 1970; 0 lifts a mute"}


def _object(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


_BODIES: dict[str, dict[str, Any]] = {
    "issue_token": {
        "type": "object",
        "required": ["user_id"],
        "properties": {"user_id": _ID, "ttl_s": {"type": "integer", "minimum": 1}},
    },
    "send_message": _MESSAGE,
    "send_batch": {
        "type": "object",
        "required": ["messages"],
        "properties": {"messages": {"type": "array", "minItems": 1, "maxItems": 100, "items": _MESSAGE}},
    },
    "mark_read": {"type": "object", "required": ["seq"], "properties": {"seq": _SEQ}},
    "create_group": _object(("client_msg_id", "name", "members"), **_GROUP, members=_USERS),
    "change_group": _object((), **_GROUP),
    "add_members": _object(("user_ids",), client_msg_id=_AGAIN, user_ids={**_USERS, "minItems": 1}),
    "change_member": _object((), client_msg_id=_AGAIN, role={"enum": ["admin", "member"]}, muted_until=_TIME),
    "transfer_group": _object(("user_id",), client_msg_id=_AGAIN, user_id=_ID),
}
_STATUS = {"send_message": 201, "create_group": 201, "block": 204, "unblock": 204}
# Calls of the log; without a body, or instead of client_msg_id in it.
_LOG_CALLS = frozenset(
    {"send_message", "create_group", "change_group", "dissolve_group", "transfer_group"}
    | {"add_members", "remove_member", "change_member"}
)
_KEY_HEADER = {"name": "Idempotency-Key", "in": "header", "description": "the client_msg_id", "schema": _ID}
_PROBLEM: dict[str, Any] = {
    "description": "a problem (RFC 9457) with PROTOCOL's `code` and `retryable`",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["title", "status", "detail", "code", "retryable"],
                "properties": {
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string", "description": "what to change"},
                    "code": {"type": "string"},
                    "retryable": {"type": "boolean"},
                    "retry_after_ms": {"type": "integer"},
                },
            }
        }
    },
}


def described(name: str) -> dict[str, Any]:
    """Arguments of add_api_route for one call: status, errors, the shape of its body."""
    extra: dict[str, Any] = {} if name == "issue_token" else {"security": [{"bearer": []}]}
    if name in _BODIES:
        content = {"application/json": {"schema": _BODIES[name]}}
        extra["requestBody"] = {"required": True, "content": content}
    if name in _LOG_CALLS:
        extra["parameters"] = [_KEY_HEADER]
    return {
        "operation_id": name,
        "status_code": _STATUS.get(name, 200),
        "responses": {"4XX": _PROBLEM, "5XX": _PROBLEM},
        "response_model": None,
        "openapi_extra": extra,
    }


def page(openapi: Mapping[str, Any]) -> str:
    """All calls as one HTML page without scripts."""
    rows = [
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td>"
        f"<td>{html.escape(call['description'])}</td></tr>"
        for path, calls in openapi["paths"].items()
        for method, call in calls.items()
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Tidings: REST calls</title>"
        "<style>body{font:16px/1.5 sans-serif;margin:2em auto;max-width:60em}td{padding:.3em 1em .3em 0;"
        "vertical-align:top}</style><h1>Tidings: REST calls</h1>"
        "<p>Machine-readable: <a href=/openapi.json>/openapi.json</a>. WebSocket: <code>/v1/ws</code>, subprotocol "
        f"<code>tidings.v1.json</code>.</p><table>{''.join(rows)}</table></html>"
    )
