"""Where tokens come from, and when they end."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable

import httpx2
import msgspec

from tidings_client.errors import ApiError, Unreachable

TokenProvider = Callable[[], Awaitable[str]]
FRESH_FOR_S = 30  # a token that ends sooner is not used for a new call


class _Claims(msgspec.Struct):
    exp: float | None = None
    sub: str | None = None


class Tokens:
    """The current token, asked for anew when it ends or when the server has refused it.
    `source` is a token that stays as it is, or a provider."""

    def __init__(self, source: str | TokenProvider) -> None:
        self.renewable = not isinstance(source, str)
        self._source = source
        self._current: str | None = None
        self._lock = asyncio.Lock()

    async def get(self, *, fresh: bool = False) -> str:
        """A token; `fresh`: another than the last one, if there is another to be had.
        Raises whatever the provider raises."""
        if isinstance(self._source, str):
            return self._source
        async with self._lock:
            if fresh or self._current is None or _ends_soon(self._current):
                self._current = await self._source()
            return self._current


def expires_in_ms(token: str) -> int | None:
    """Milliseconds until the token ends by this machine's clock, never negative; None if it does not say.
    Not a check: only the server decides whether a token holds."""
    ends_at_s = _claims(token).exp
    return None if ends_at_s is None else max(0, int((ends_at_s - time.time()) * 1_000))


def user_in(token: str) -> str | None:
    """Whom the token names; None if it does not say. Not a check, either."""
    return _claims(token).sub


def development_tokens(http_url: str, user_id: str, ttl_s: int | None = None) -> TokenProvider:
    """Tokens from `POST /v1/tokens`, which a server has in development mode only.
    `http_url` is the server's root. The provider raises ApiError or Unreachable."""

    async def provide() -> str:
        request = {"user_id": user_id} | ({"ttl_s": ttl_s} if ttl_s else {})
        try:
            async with httpx2.AsyncClient(base_url=http_url) as http:
                answer = await http.post("/v1/tokens", json=request)
        except httpx2.TransportError as error:
            raise Unreachable(f"POST {http_url}/v1/tokens: {error!r}") from error
        if answer.status_code != 200:
            raise ApiError(answer.status_code, "unauthorized", answer.text, retryable=answer.status_code >= 500)
        return str(answer.json()["token"])

    return provide


def _claims(token: str) -> _Claims:
    try:
        payload = token.split(".")[1]
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
    except (IndexError, binascii.Error, msgspec.MsgspecError):
        return _Claims()


def _ends_soon(token: str) -> bool:
    remaining_ms = expires_in_ms(token)
    return remaining_ms is not None and remaining_ms < FRESH_FOR_S * 1_000
