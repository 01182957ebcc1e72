"""What /openapi.json says beyond the routes themselves, and a page of it that loads nothing from elsewhere."""

import html
from collections.abc import Mapping
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
}
_STATUS = {"send_message": 201, "block": 204, "unblock": 204}
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
