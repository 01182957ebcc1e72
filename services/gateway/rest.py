"""The REST application: routes, and the one shape of every error."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse, Response

from services.gateway import rest_docs
from services.gateway.http_wire import problem
from services.gateway.rest_groups import GroupCalls
from services.gateway.rest_messages import MessageCalls
from services.gateway.rest_parts import RestParts
from services.gateway.rest_sessions import SessionCalls
from tidings import metrics
from tidings.errors import Refused, StoreUnavailable

App = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


def rest_app(parts: RestParts, origins: frozenset[str] = frozenset()) -> App:
    """The ASGI application for scopes of type http."""
    app = FastAPI(
        title="Tidings",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    messages, sessions, groups = MessageCalls(parts), SessionCalls(parts), GroupCalls(parts)
    routes: tuple[tuple[str, str, Callable[..., Awaitable[Response]]], ...] = (
        ("POST", "/v1/tokens", messages.issue_token),
        ("POST", "/v1/messages", messages.send_message),
        ("POST", "/v1/messages:batch", messages.send_batch),
        ("GET", "/v1/inbox", messages.read_inbox),
        ("GET", "/v1/sessions", sessions.list_sessions),
        ("GET", "/v1/sessions/{session_id}", sessions.get_session),
        ("GET", "/v1/sessions/{session_id}/messages", sessions.read_history),
        ("PUT", "/v1/sessions/{session_id}/read", sessions.mark_read),
        ("GET", "/v1/sessions/{session_id}/messages/{seq}/receipts", sessions.message_receipts),
        ("POST", "/v1/groups", groups.create_group),
        ("GET", "/v1/groups/{group_id}", groups.get_group),
        ("PATCH", "/v1/groups/{group_id}", groups.change_group),
        ("DELETE", "/v1/groups/{group_id}", groups.dissolve_group),
        ("GET", "/v1/groups/{group_id}/members", groups.list_members),
        ("POST", "/v1/groups/{group_id}/members", groups.add_members),
        ("PUT", "/v1/groups/{group_id}/members/{user_id}", groups.change_member),
        ("DELETE", "/v1/groups/{group_id}/members/{user_id}", groups.remove_member),
        ("POST", "/v1/groups/{group_id}/transfer", groups.transfer_group),
        ("PUT", "/v1/blocks/{user_id}", sessions.block),
        ("DELETE", "/v1/blocks/{user_id}", sessions.unblock),
        ("GET", "/v1/blocks", sessions.list_blocks),
    )
    for method, path, call in routes:
        app.add_api_route(path, call, methods=[method], **rest_docs.described(call.__name__))

    async def docs() -> HTMLResponse:
        return HTMLResponse(rest_docs.page(app.openapi()))

    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
    _answer_errors(app)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=sorted(origins), allow_methods=["*"], allow_headers=["*"])
    return _measured(app)


def _answer_errors(app: FastAPI) -> None:
    """Every error is a problem with a code of PROTOCOL."""

    async def refused(_request: Request, error: Exception) -> Response:
        return problem(error if isinstance(error, Refused) else Refused("invalid_frame", str(error)))

    async def no_store(_request: Request, _error: Exception) -> Response:
        return problem(Refused("unavailable", "the tables do not answer; try again"))

    async def no_route(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        text = f"{request.method} {request.url.path} is not a call; /docs lists them"
        headers = error.headers if isinstance(error, HTTPException) else None
        return problem(Refused("invalid_frame", text), status, headers)

    async def broken(_request: Request, _error: Exception) -> Response:
        return problem(Refused("unavailable", "the gateway failed; its log says why"), 500)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(StoreUnavailable, no_store)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(Exception, broken)


def _measured(app: FastAPI) -> App:
    async def measured(scope: Any, receive: Any, send: Any) -> None:
        begun = time.perf_counter()
        status = "0"

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            metrics.HTTP_SECONDS.labels(route, status).observe(time.perf_counter() - begun)

    return measured
