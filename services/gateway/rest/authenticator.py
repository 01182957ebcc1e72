"""Determines the user of a REST call from its bearer token."""

from collections.abc import Callable

from starlette.requests import Request

from services.gateway.protocol.identity import Identity
from tidings.clock import Clock
from tidings.errors import Refused


class Authenticator:
    """Reads the header `Authorization`."""

    def __init__(self, verify: Callable[[str, int], Identity], clock: Clock) -> None:
        """`verify` takes a token and the wall time in ms, and raises Refused(`unauthorized`, `token_expired`)."""
        self._verify = verify
        self._clock = clock

    def user(self, request: Request) -> str:
        """The user_id of the caller. Raises Refused(`unauthorized`, `token_expired`)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("unauthorized", "send the header Authorization: Bearer <token>")
        return self._verify(token.strip(), self._clock.wall_ms()).user_id
