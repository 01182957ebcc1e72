"""Where tokens come from, and how long each is used: one call of the provider for each token's life."""

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
PROVIDER_S = 30.0  # as long as a slow sign-in page takes; then the call has failed, and the next one asks again
SPARE_MS = 30_000  # a token is not used for a new call in its last 30 s, or in the last quarter of a shorter life
ASK_AGAIN_MS = 5_000  # a provider that gave the same token again is left alone so long, unless that is refused


MAX_TIME_S = 2**40  # beyond it lies no time that anybody means, and a float overflows


class _Claims(msgspec.Struct):
    exp: int | float | None = None
    iat: int | float | None = None


class _Subject(msgspec.Struct):
    sub: str | None = None


_C = TypeVar("_C", _Claims, _Subject)


@dataclass(frozen=True, slots=True)
class _Held:
    """A token in use: `ends_ms` by a clock that counts from the start of the device; None: it does not say."""

    text: str
    life_ms: int | None
    ends_ms: int | None


class Tokens:
    """The token of one client, for its connection and its calls alike. `source` is a token that stays as it is,
    or a provider. A life counts from the receipt, not by the device's wall clock, which may be hours off."""

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
        """A token; `instead_of`: another than this one, which was refused or is to be renewed. Callers at the
        same time share one call of the provider. Raises what the provider raises, and Unreachable when it
        does not answer within PROVIDER_S or answers what cannot be a token."""
        if isinstance(self._source, str):
            return self._source
        held = self._held
        if held is not None and held.text != instead_of and not self._is_due(held):
            return held.text
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(self._source))
            self._asking.add_done_callback(self._asked)
        # One caller that is cancelled does not take the answer from the others.
        return await asyncio.shield(self._asking)

    @property
    def remaining_ms(self) -> int | None:
        """How long the token given last is good for; None: it does not say. Only the server decides."""
        if self._held is None or self._held.ends_ms is None:
            return None
        return max(0, self._held.ends_ms - self._passed_ms())

    async def close(self) -> None:
        """Leave a provider that has not answered."""
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
            task.exception()  # its callers have it; without one left it is nobody's


def life_of(token: str, server_ms: int | None, device_ms: int) -> int | None:
    """Milliseconds for which a token received now is good; None if it does not say.

    `exp − iat` needs no clock, and the server's time none of ours: the shorter of both holds. The device's
    clock is asked only where there is neither, and not believed when it says that a new token has ended."""
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
    """Whom the token names; None if it does not say. Not a check: only the server decides whether it holds."""
    claims = _claims(token, _Subject)
    return None if claims is None else claims.sub


def development_tokens(http_url: str, user_id: str, ttl_s: int | None = None) -> TokenProvider:
    """Tokens from `POST /v1/tokens`, which a server has in development mode only.
    `http_url` is the server's root. The provider raises ApiError or Unreachable. Raises InvalidId."""
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
    """TypeError for what is no text, a mistake in the provider's code; Unreachable for a text that no header can
    carry, such as an error page, which the next call may not get."""
    if not isinstance(answer, str):
        raise TypeError(f"the token provider returned {type(answer).__name__}; a token is a str")
    text = answer.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Unreachable(f"the token provider returned no token but {answer[:40]!r}")
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
