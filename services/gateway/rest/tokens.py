"""REST: tokens for development mode."""

from dataclasses import dataclass

from fastapi import Request
from msgspec import UNSET
from starlette.responses import Response

from services.gateway.protocol.requests import TokenRequest, read
from services.gateway.rest.models import TokenAnswer
from services.gateway.rest.wire import answer, json_object
from services.gateway.tokens import issue
from tidings.clock import Clock
from tidings.errors import Refused

TOKEN_TTL_S = 24 * 3600
MAX_TOKEN_TTL_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class TokenCalls:
    """`POST /v1/tokens`. `signing` is the key of development mode, otherwise None."""

    signing: bytes | None
    audience: str
    clock: Clock

    async def issue_token(self, request: Request) -> Response:
        """Development mode only: a token for any user."""
        if self.signing is None:
            raise Refused("forbidden", "tokens are issued in development mode only (TIDINGS_DEVELOPMENT)")
        asked = read(TokenRequest, await json_object(request))
        ttl_s = TOKEN_TTL_S if asked.ttl_s is UNSET else min(asked.ttl_s, MAX_TOKEN_TTL_S)
        token, expires_at = issue(self.signing, self.audience, asked.user_id, self.clock.wall_ms(), ttl_s)
        return answer(TokenAnswer(token, asked.user_id, expires_at))
