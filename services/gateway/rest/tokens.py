"""REST: tokens of development mode."""

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from services.gateway.protocol.frames import is_given, whole
from services.gateway.rest.wire import answer, json_object
from services.gateway.tokens import issue
from tidings import ids
from tidings.clock import Clock
from tidings.errors import Refused

TOKEN_TTL_S = 24 * 3600
MAX_TOKEN_TTL_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class TokenCalls:
    """`POST /v1/tokens`. `signing` is the key of development mode, None outside of it."""

    signing: bytes | None
    audience: str
    clock: Clock

    async def issue_token(self, request: Request) -> Response:
        """Development mode only: a token for any user."""
        if self.signing is None:
            raise Refused("forbidden", "tokens are given out in development mode only (TIDINGS_DEVELOPMENT)")
        body = await json_object(request)
        user_id = body.get("user_id")
        if not isinstance(user_id, str) or not ids.is_user_id(user_id):
            raise Refused("invalid_frame", f"user_id is a string of {ids.USER_ID_TEXT}")
        given = body.get("ttl_s")
        ttl_s = whole(given) if is_given(given) else TOKEN_TTL_S
        if ttl_s is None or ttl_s < 1:
            raise Refused("invalid_frame", "ttl_s is a whole number of seconds, 1 or more")
        wall_ms = self.clock.wall_ms()
        token, expires_at = issue(self.signing, self.audience, user_id, wall_ms, min(ttl_s, MAX_TOKEN_TTL_S))
        return answer({"token": token, "user_id": user_id, "expires_at": expires_at})
