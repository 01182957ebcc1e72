"""CORS: the headers of every answer, and the answers to preflights. Pure."""

import re

from starlette.responses import Response

from services.gateway.http.headers import Headers, values
from services.gateway.http.problems import problem
from services.gateway.protocol.origins import AllowedOrigins
from tidings.errors import Refused

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# The headers that calls read. Others are allowed as well, because a library of the page may add its own.
_ASKED = "Authorization, Content-Type, Idempotency-Key, X-File-Name, Range, If-Range, If-None-Match"
_EXPOSED = b"Retry-After, Allow, Date, Content-Disposition, ETag, Content-Range, Accept-Ranges"
_VARY = (b"vary", b"Origin")
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}")
# Browsers cache it for two hours at most. A change of the allow list takes effect after ten minutes.
_KEPT_S = 600


class CrossOrigin:
    """The allow list as headers."""

    def __init__(self, allowed: AllowedOrigins) -> None:
        """`allowed` also applies to WebSockets."""
        self._allowed = allowed

    def headers(self, request: Headers) -> list[tuple[bytes, bytes]]:
        """The headers for an answer of any status, because without them a page cannot even read an error."""
        origins = values(request, b"origin")
        if not origins or not self.allows(request):
            return [_VARY]
        return [
            _VARY,
            (b"access-control-allow-origin", origins[0].encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSED),
        ]

    def allows(self, request: Headers) -> bool:
        """Whether the request is from an allowed page, or from no page."""
        return self._allowed.allows(values(request, b"origin"), values(request, b"host"))

    def preflight(self, request: Headers) -> Response | None:
        """The answer to a preflight; None for any other OPTIONS request."""
        if not (values(request, b"origin") and values(request, b"access-control-request-method")):
            return None
        if not self.allows(request):
            return problem(origin_not_allowed())
        asked = ", ".join(values(request, b"access-control-request-headers"))
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": ", ".join(METHODS),
                "Access-Control-Allow-Headers": asked if _NAMES.fullmatch(asked) else _ASKED,
                "Access-Control-Max-Age": str(_KEPT_S),
            },
        )


def origin_not_allowed() -> Refused:
    """The refusal of REST preflights and of WebSockets."""
    return Refused("origin_not_allowed", "the setting TIDINGS_ALLOWED_ORIGINS lists the allowed ones")
