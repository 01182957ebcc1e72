"""The REST application: its routes, and problems for all errors."""

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match

from services.gateway.http.cors import CrossOrigin
from services.gateway.http.problems import problem
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.rest import openapi
from services.gateway.rest.edges import App, HttpEdges, Scope, allow, broken
from services.gateway.rest.routes import RestCalls, routes_of
from services.gateway.rest.wire import UnreadableBody
from tidings.errors import ColdUnavailable, MediaMissing, MediaUnavailable, Refused, StoreUnavailable

NO_ORIGINS = AllowedOrigins()


def rest_app(calls: RestCalls, origins: AllowedOrigins = NO_ORIGINS) -> App:
    """The ASGI application for scopes of type http."""
    app = FastAPI(
        title="Tidings",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    routes = routes_of(calls)
    for route in routes:
        app.add_api_route(route.path, route.call, methods=[route.method], response_model=None)
    described = openapi.document(routes)
    app.openapi = lambda: described  # type: ignore[method-assign]  # FastAPI's own would have no models

    async def docs() -> HTMLResponse:
        return HTMLResponse(openapi.page(described))

    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)

    def methods_of(scope: Scope) -> set[str]:
        found = [route for route in app.routes if route.matches(scope)[0] is not Match.NONE]
        return {method for route in found for method in getattr(route, "methods", None) or ()}

    _answer_errors(app, methods_of)
    return HttpEdges(app, CrossOrigin(origins), methods_of)


def _answer_errors(app: FastAPI, methods_of: Callable[[Scope], set[str]]) -> None:
    """Answer every error with a problem and a code of PROTOCOL."""

    async def refused(_request: Request, error: Exception) -> Response:
        return problem(error if isinstance(error, Refused) else Refused("invalid_frame", str(error)))

    async def no_store(_request: Request, _error: Exception) -> Response:
        return problem(Refused("unavailable", "storage is temporarily unavailable; retry"))

    async def no_archive(_request: Request, _error: Exception) -> Response:
        # Also for an object that is missing or damaged for good, so the text does not promise an end.
        text = "archived messages cannot be read now; retry, and if it lasts, the operator has to repair them"
        return problem(Refused("unavailable", text))

    async def no_object(_request: Request, _error: Exception) -> Response:
        return problem(Refused("media_not_found", "the upload was removed"))

    async def no_route(request: Request, error: Exception) -> Response:
        text = f"{request.method} {request.url.path} is not a call; /docs lists all calls"
        methods = methods_of(request.scope)
        if not methods:
            return problem(Refused("invalid_frame", text), 404)
        return problem(Refused("invalid_frame", text), 405, {"Allow": allow(methods)})

    async def unread(_request: Request, error: Exception) -> Response:
        headers = error.headers if isinstance(error, UnreadableBody) else {}
        return problem(Refused("invalid_frame", str(error)), 415, headers)

    async def failed(_request: Request, _error: Exception) -> Response:
        return broken()

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(StoreUnavailable, no_store)
    app.add_exception_handler(ColdUnavailable, no_archive)
    app.add_exception_handler(MediaUnavailable, no_store)
    app.add_exception_handler(MediaMissing, no_object)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(UnreadableBody, unread)
    app.add_exception_handler(Exception, failed)
