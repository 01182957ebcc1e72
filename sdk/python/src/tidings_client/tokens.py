"""Gets tokens from the provider, with one call for each token's lifetime."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import httpx2
import msgspec

from tidings_client.errors import ApiError, Unreachable
from tidings_client.ids import checked_user
from tidings_client.server_time import ServerTime, since_boot_ms

TokenProvider = Callable[[], Awaitable[str]]
PROVIDER_S = 30.0  # enough for a slow sign-in page; then the call has failed, and the next one tries again
SPARE_MS = 30_000  # a token is renewed in its last 30 s, or in the last quarter if it lives for less than 2 min
ASK_AGAIN_MS = 5_000  # pause after the provider returned the same token again, unless the server refuses that
MAX_TIME_S = 2**40  # larger times are clamped, because a float overflows


class _Claims(msgspec.Struct):
    exp: int | float | None = None
    iat: int | float | None = None


class _Subject(msgspec.Struct):
    sub: str | None = None


_C = TypeVar("_C", _Claims, _Subject)


@dataclass(frozen=True, slots=True)
class _Held:
    """A token in use. `ends_ms` is by the clock since boot; None if the token does not expire."""

    text: str
    life_ms: int | None
    ends_ms: int | None


class Tokens:
    """The token of one client, for its connection and its REST calls. `source` is a fixed token or a provider. A
    lifetime counts from the receipt of the token, because the device's wall clock may be wrong by hours."""

    def __init__(
        self,
        source: str | TokenProvider,
        server_time: ServerTime | None = None,
        passed_ms: Callable[[], int] = since_boot_ms,
    ) -> None:
        self.renewable = not isinstance(source, str)
        self._source = source
        self._time = server_time or ServerTime()
        self._passed_ms = passed_ms
        self._held: _Held | None = None
        self._not_before_ms: int | None = None
        self._asking: asyncio.Task[str] | None = None

    async def get(self, *, instead_of: str | None = None) -> str:
        """A token. It differs from `instead_of`, which was refused or is to be renewed. Concurrent callers share one
        call of the provider. Raises the provider's errors. Raises Unreachable if the provider does not answer within
        PROVIDER_S or returns a text that cannot be a token."""
        if isinstance(self._source, str):
            return self._source
        held = self._held
        if held is not None and held.text != instead_of and not self._is_due(held):
            return held.text
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(self._source))
            self._asking.add_done_callback(self._asked)
        # Shielded, because a cancelled caller must not cancel the call for the others.
        return await asyncio.shield(self._asking)

    @property
    def remaining_ms(self) -> int | None:
        """How long the last token is valid; None if it does not expire. The server may still refuse it."""
        if self._held is None or self._held.ends_ms is None:
            return None
        return max(0, self._held.ends_ms - self._passed_ms())

    async def close(self) -> None:
        """Cancel a pending call of the provider."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._asking

    def _is_due(self, held: _Held) -> bool:
        if held.ends_ms is None or held.life_ms is None:
            return False
        now_ms = self._passed_ms()
        if self._not_before_ms is not None and now_ms < self._not_before_ms:
            return False
        return now_ms >= held.ends_ms - min(SPARE_MS, held.life_ms // 4)

    async def _ask(self, provider: TokenProvider) -> str:
        try:
            async with asyncio.timeout(PROVIDER_S):
                text = _usable(await provider())
        except TimeoutError as error:
            raise Unreachable(f"the token provider did not answer within {PROVIDER_S:g} s ({error!r})") from error
        self._take(text)
        return text

    def _take(self, text: str) -> None:
        now_ms = self._passed_ms()
        if self._held is not None and self._held.text == text:
            self._not_before_ms = now_ms + ASK_AGAIN_MS
            return
        life_ms = life_of(text, self._time.known_ms, self._time.now_ms())
        self._held = _Held(text, life_ms, None if life_ms is None else now_ms + life_ms)
        self._not_before_ms = None

    def _asked(self, task: asyncio.Task[str]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # mark the error as retrieved, because every caller may have been cancelled


def life_of(token: str, server_ms: int | None, device_ms: int) -> int | None:
    """Milliseconds for which a token received now is valid; None if it does not expire.

    The shorter of `exp − iat` and `exp` minus the server's time counts, because neither depends on the device's
    clock. That clock is used only without both, and ignored if it claims that a new token has expired."""
    claims = _claims(token, _Claims) or _Claims()
    exp_ms, iat_ms = _milliseconds(claims.exp), _milliseconds(claims.iat)
    if exp_ms is None:
        return None
    lives = [] if iat_ms is None or iat_ms >= exp_ms else [exp_ms - iat_ms]
    if server_ms is not None:
        lives.append(exp_ms - server_ms)
    if lives:
        return max(0, min(lives))
    return exp_ms - device_ms if exp_ms > device_ms else None


def user_in(token: str) -> str | None:
    """The user that the token names; None without one. Not a check, because only the server verifies tokens."""
    claims = _claims(token, _Subject)
    return None if claims is None else claims.sub


def development_tokens(http_url: str, user_id: str, ttl_s: int | None = None) -> TokenProvider:
    """A provider that gets tokens from `POST /v1/tokens`, which a server has in development mode only. `http_url` is
    the server's root. The provider raises ApiError or Unreachable. Raises InvalidId for an invalid user id."""
    checked_user(user_id)

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


def _usable(answer: object) -> str:
    """The token of a provider's answer. Raises TypeError for another type, a bug of the provider. Raises Unreachable
    for a text that no header can carry, such as an error page, because the next call may succeed."""
    if not isinstance(answer, str):
        raise TypeError(f"the token provider returned {type(answer).__name__}; a token is a str")
    text = answer.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Unreachable(f"the token provider returned {answer[:40]!r}, which is not a token")
    return text


def _claims(token: str, claims_type: type[_C]) -> _C | None:
    try:
        payload = token.split(".")[1]
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=claims_type)
    except (IndexError, ValueError, msgspec.MsgspecError):  # ValueError: not base64
        return None


def _milliseconds(seconds: int | float | None) -> int | None:
    if seconds is None or (isinstance(seconds, float) and not math.isfinite(seconds)):
        return None
    return int(max(-MAX_TIME_S, min(seconds, MAX_TIME_S)) * 1_000)
