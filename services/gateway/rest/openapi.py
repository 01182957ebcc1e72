"""The OpenAPI document, generated from the routes and their models, and an HTML page of it without external files."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from services.gateway.protocol.requests import CustomBody, FileBody, ImageBody, MessageRequest, TextBody
from services.gateway.rest.error_codes import MEANINGS
from services.gateway.rest.models import PathFields, Problem, RefusedMessage, SentMessage
from services.gateway.rest.routes import Route
from tidings.errors import RETRYABLE_CODES

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
# Models that other models only reference.
_NAMED_ONLY = (TextBody, ImageBody, FileBody, CustomBody, SentMessage, RefusedMessage, Problem)
_ABOUT = (
    "Errors are problems (RFC 9457) with a `code` and `retryable`. Unknown fields are ignored. Null and empty count as "
    "absent. An unknown path is answered 404, a wrong method 405, a head that is too long 431. All have the "
    "code `invalid_frame`. The contract is docs/PROTOCOL.md."
)
_KEY_HEADER = "the client_msg_id, bare or as a quoted string; instead of the one in the body"
# Optional fields that examples leave out: alternatives to other fields, and rare ones.
_SELDOM = frozenset(
    {"session_id", "reply_to", "attempt", "ahead", "restored", "name", "joined_seq", "left_out"}
    | {"muted_until", "retry_after_ms"}
)
_PROBLEM = "application/problem+json"
_BYTES: Schema = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_NAME_HEADER = "the file's name: percent-encoded UTF-8, or ASCII"
_EXAMPLES_BY_TYPE: Mapping[str, object] = {"string": "…", "integer": 1, "boolean": False, "object": {}}


def document(routes: Sequence[Route]) -> Schema:
    """The OpenAPI 3.1 document."""
    shown = {model for route in routes for model in (route.request, route.answer) if model is not None}
    schemas = _schemas(sorted({*shown, *_NAMED_ONLY}, key=lambda model: model.__name__))
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidings", "version": "1", "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "examples": _problem_examples(routes),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _schemas(models: Iterable[type[Struct]]) -> dict[str, Schema]:
    return msgspec.json.schema_components(models, ref_template=_REFERENCE)[1]


def _properties(model: type[Struct]) -> dict[str, Schema]:
    properties: dict[str, Schema] = _schemas([model])[model.__name__]["properties"]
    return properties


def _operation(route: Route, schemas: Mapping[str, Schema]) -> Schema:
    described = " ".join((route.call.__doc__ or "").split())
    operation: Schema = {
        "operationId": route.name,
        "description": described,
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
    }
    if route.needs_token:
        operation["security"] = [{"bearer": []}]
    if route.takes_bytes:
        operation["requestBody"] = {"required": True, "content": _BYTES}
    if route.request is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.request, schemas)}
    return operation


def _parameters(route: Route) -> list[Schema]:
    paths = _properties(PathFields)
    found = [_parameter(name, "path", paths[name]) for name in re.findall(r"{(\w+)}", route.path)]
    if route.query is not None:
        found += [_parameter(name, "query", schema) for name, schema in _properties(route.query).items()]
    if route.is_of_log or route.takes_bytes:
        schema = _properties(MessageRequest)["client_msg_id"] | {"description": _KEY_HEADER}
        found.append(_parameter("Idempotency-Key", "header", schema))
    if route.takes_bytes:
        found.append(_parameter("X-File-Name", "header", {"type": "string", "description": _NAME_HEADER}))
    if route.gives_bytes:
        found.append(_parameter("Range", "header", {"type": "string", "description": "one range of bytes (RFC 9110)"}))
    return found


def _parameter(name: str, place: str, schema: Schema) -> Schema:
    description = schema.get("description", "")
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema}


def _content(model: type[Struct], schemas: Mapping[str, Schema]) -> Schema:
    reference = {"$ref": _REFERENCE.format(name=model.__name__)}
    return {"application/json": {"schema": reference, "example": example(reference, schemas)}}


def _responses(route: Route, schemas: Mapping[str, Schema]) -> Schema:
    done: Schema = {"description": HTTPStatus(route.status).phrase}
    if route.answer is not None:
        done["content"] = _content(route.answer, schemas)
    other = _other_responses() if route.gives_bytes else {}
    if route.gives_bytes:
        done["content"] = _BYTES
    failed = {str(status): _problem(status, codes) for status, codes in route.codes_by_status().items()}
    return {str(route.status): done, **other, **failed}


def _other_responses() -> Schema:
    """The other answers of a download."""
    return {
        "206": {"description": "the range asked for", "content": _BYTES},
        "304": {"description": "the copy with this ETag is current"},
        "307": {"description": "a presigned URL of the object store (TIDINGS_MEDIA_REDIRECT_S)"},
    }


def _problem(status: int, codes: Sequence[str]) -> Schema:
    """The errors of one status, each code with its example."""
    only = {"properties": {"status": {"const": status}, "code": {"enum": list(codes)}}}
    content = {
        "schema": {"allOf": [{"$ref": _REFERENCE.format(name=Problem.__name__)}, only]},
        "examples": {code: {"$ref": f"#/components/examples/{code}.{status}"} for code in codes},
    }
    described: Schema = {
        "description": "; ".join(f"`{code}`: {MEANINGS[code]}" for code in codes),
        "content": {_PROBLEM: content},
    }
    if "rate_limited" in codes:
        header = {"description": "whole seconds, rounded up", "schema": {"type": "integer", "minimum": 0}}
        described["headers"] = {"Retry-After": header}
    return described


def _problem_examples(routes: Sequence[Route]) -> Schema:
    """An example of each code with each of its statuses, shared by all calls."""
    found = {(code, status) for route in routes for status, codes in route.codes_by_status().items() for code in codes}
    return {f"{code}.{status}": {"value": _problem_example(status, code)} for code, status in sorted(found)}


def _problem_example(status: int, code: str) -> Schema:
    shown: Schema = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": MEANINGS[code],
        "code": code,
        "retryable": code in RETRYABLE_CODES,
    }
    return shown | ({"retry_after_ms": 250} if code == "rate_limited" else {})


def example(schema: Schema, schemas: Mapping[str, Schema]) -> object:
    """An example value of a schema, from the examples of its fields."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for source in ("examples", "enum", "anyOf"):
        if source in schema:
            first = schema[source][0]
            return example(first, schemas) if source == "anyOf" else first
    if "properties" in schema:
        required = schema["required"]
        shown = {name: field for name, field in schema["properties"].items() if name in required or name not in _SELDOM}
        return {name: example(field, schemas) for name, field in shown.items()}
    if schema.get("type") == "array":
        return [example(schema["items"], schemas)]
    return _EXAMPLES_BY_TYPE[schema["type"]]


def page(openapi: Mapping[str, Any]) -> str:
    """All calls as one HTML page without scripts."""
    rows = [_row(method, path, call) for path, calls in openapi["paths"].items() for method, call in calls.items()]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Tidings: REST calls</title>"
        "<style>body{font:16px/1.5 sans-serif;margin:2em auto;max-width:72em}td{padding:.3em 1em .3em 0;"
        "vertical-align:top}pre{margin:0}</style><h1>Tidings: REST calls</h1>"
        "<p>Machine-readable: <a href=/openapi.json>/openapi.json</a>. WebSocket: <code>/v1/ws</code>, subprotocol "
        f"<code>tidings.v1.json</code>.</p><table>{''.join(rows)}</table></html>"
    )


def _row(method: str, path: str, call: Mapping[str, Any]) -> str:
    """The table row of a call: its description, examples of body and answer, and its codes."""
    done, *others = call["responses"].items()
    failed = [(status, answer) for status, answer in others if _PROBLEM in answer.get("content", ())]
    codes = [f"{status} {', '.join(_codes(answer))}" for status, answer in failed]
    parts = [
        f"<code>{method.upper()} {html.escape(path)}</code>",
        html.escape(call["description"]) + _shown("", call.get("requestBody", {})) + _shown(f"{done[0]} ", done[1]),
        html.escape("; ".join(codes)),
    ]
    return "<tr>" + "".join(f"<td>{part}</td>" for part in parts) + "</tr>"


def _codes(answer: Mapping[str, Any]) -> Iterable[str]:
    return [code for content in answer["content"].values() for code in content["examples"]]


def _shown(before: str, body: Mapping[str, Any]) -> str:
    """The example of a body, if it has one."""
    examples = [content["example"] for content in body.get("content", {}).values() if "example" in content]
    return "".join(f"<br><code>{html.escape(before + msgspec.json.encode(one).decode())}</code>" for one in examples)
