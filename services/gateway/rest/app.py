"""The REST application: routes, and the one shape of every error."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match

from services.gateway.http.cors import CrossOrigin
from services.gateway.http.problems import problem
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.rest import openapi
from services.gateway.rest.blocks import BlockCalls
from services.gateway.rest.edges import App, HttpEdges, Scope, allow, broken
from services.gateway.rest.groups import GroupCalls
from services.gateway.rest.messages import MessageCalls
from services.gateway.rest.sessions import SessionCalls
from services.gateway.rest.tokens import TokenCalls
from services.gateway.rest.wire import UnreadableBody
from tidings.errors import Refused, StoreUnavailable

NO_ORIGINS = AllowedOrigins()


@dataclass(frozen=True, slots=True)
class RestCalls:
    """All calls of PROTOCOL's REST table."""

    tokens: TokenCalls
    messages: MessageCalls
    sessions: SessionCalls
    groups: GroupCalls
    blocks: BlockCalls


def rest_app(calls: RestCalls, origins: AllowedOrigins = NO_ORIGINS) -> App:
    """The ASGI application for scopes of type http."""
    app = FastAPI(
        title="Tidings",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    messages, sessions, groups = calls.messages, calls.sessions, calls.groups
    routes: tuple[tuple[str, str, Callable[..., Awaitable[Response]]], ...] = (
        ("POST", "/v1/tokens", calls.tokens.issue_token),
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
        ("PUT", "/v1/blocks/{user_id}", calls.blocks.block),
        ("DELETE", "/v1/blocks/{user_id}", calls.blocks.unblock),
        ("GET", "/v1/blocks", calls.blocks.list_blocks),
    )
    for method, path, call in routes:
        app.add_api_route(path, call, methods=[method], **openapi.described(call.__name__))

    async def docs() -> HTMLResponse:
        return HTMLResponse(openapi.page(app.openapi()))

    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)

    def methods_of(scope: Scope) -> set[str]:
        found = [route for route in app.routes if route.matches(scope)[0] is not Match.NONE]
        return {method for route in found for method in getattr(route, "methods", None) or ()}

    _answer_errors(app, methods_of)
    return HttpEdges(app, CrossOrigin(origins), methods_of)


def _answer_errors(app: FastAPI, methods_of: Callable[[Scope], set[str]]) -> None:
    """Every error is a problem with a code of PROTOCOL."""

    async def refused(_request: Request, error: Exception) -> Response:
        return problem(error if isinstance(error, Refused) else Refused("invalid_frame", str(error)))

    async def no_store(_request: Request, _error: Exception) -> Response:
        return problem(Refused("unavailable", "storage is temporarily unavailable; retry"))

    async def no_route(request: Request, error: Exception) -> Response:
        text = f"{request.method} {request.url.path} is not a call; /docs lists them"
        methods = methods_of(request.scope)
        if not methods:
            return problem(Refused("invalid_frame", text), 404)
        return problem(Refused("invalid_frame", text), 405, {"Allow": allow(methods)})

    async def unread(_request: Request, error: Exception) -> Response:
        return problem(Refused("invalid_frame", str(error)), 415, {"Accept-Encoding": "identity"})

    async def failed(_request: Request, _error: Exception) -> Response:
        return broken()

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(StoreUnavailable, no_store)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(UnreadableBody, unread)
    app.add_exception_handler(Exception, failed)
