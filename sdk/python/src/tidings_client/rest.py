"""The REST calls about sessions, and the way of all calls. Answers are typed; unknown fields are left out."""

from __future__ import annotations

import asyncio
import random
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import httpx2
import msgspec

from tidings_client import backoff
from tidings_client.errors import ApiError, Unreachable
from tidings_client.frames import Message
from tidings_client.tokens import Tokens

TIMEOUT_S = 10.0  # twice what the server itself waits for its log
MAX_REPEATS = 8  # PROTOCOL, Retry
Answer = TypeVar("Answer")


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest message of a session, in short."""

    seq: int
    at: int | None = None
    sender_id: str | None = None
    preview: str | None = None


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    delivered_seq: int = 0
    read_seq: int = 0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session as its user sees it."""

    session_id: str
    session_kind: str = "direct"
    mode: str | None = None
    name: str | None = None
    head: Head | None = None
    unread: int = 0
    read_seq: int = 0
    delivered_seq: int = 0
    joined_seq: int | None = None
    peer: Peer | None = None


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest activity first; `next` (opaque) asks for the sessions after these."""

    sessions: tuple[Session, ...] = ()
    next: str | int | None = None


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Ascending by seq; `has_more` in the direction that was asked for. `ahead`: asked after a seq above the head."""

    messages: tuple[Message, ...] = ()
    head_seq: int = 0
    has_more: bool = False
    ahead: bool = False


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    at: int | None = None


class ReceiptPage(msgspec.Struct, frozen=True, kw_only=True):
    """Who has received and who has read a message, of the current members without its author."""

    delivered: tuple[str, ...] = ()
    read: tuple[Reader, ...] = ()
    members: int = 0
    next: str | None = None


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    code: str = "unknown"
    detail: str = ""
    title: str = ""
    retryable: bool = False
    retry_after_ms: int = 0


class Rest:
    """Every call raises ApiError for a refusal, Unreachable without an answer. A token that has ended is
    renewed once per call."""

    def __init__(self, http_url: str, tokens: Tokens, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._http = httpx2.AsyncClient(base_url=http_url, timeout=TIMEOUT_S, transport=transport)
        self._tokens = tokens

    async def close(self) -> None:
        await self._http.aclose()

    async def sessions(self, limit: int = 50, before: str | int | None = None) -> SessionPage:
        return await self.get(SessionPage, "/v1/sessions", limit=limit, before=before)

    async def session(self, session_id: str) -> Session:
        return await self.get(Session, f"/v1/sessions/{path_part(session_id)}")

    async def history(
        self, session_id: str, *, before_seq: int | None = None, after_seq: int | None = None, limit: int = 50
    ) -> HistoryPage:
        path = f"/v1/sessions/{path_part(session_id)}/messages"
        return await self.get(HistoryPage, path, before_seq=before_seq, after_seq=after_seq, limit=limit)

    async def receipts(
        self, session_id: str, seq: int, after: str | None = None, limit: int | None = None
    ) -> ReceiptPage:
        path = f"/v1/sessions/{path_part(session_id)}/messages/{seq}/receipts"
        return await self.get(ReceiptPage, path, after=after, limit=limit)

    async def get(self, answer_type: type[Answer], path: str, **query: str | int | None) -> Answer:
        """Asks once."""
        given = {name: value for name, value in query.items() if value is not None}
        return await self._call(answer_type, "GET", path, params=given)

    async def command(
        self, answer_type: type[Answer], method: str, path: str, client_msg_id: str, body: dict[str, Any] | None = None
    ) -> Answer:
        """A call that goes through the log: repeated under its id while its outcome is unknown or its refusal
        may pass (PROTOCOL, Retry), so that it is done once. The last try's error is raised."""
        header = {"Idempotency-Key": client_msg_id}
        repeat = 0
        while True:
            try:
                return await self._call(answer_type, method, path, json=body, headers=header)
            except (ApiError, Unreachable) as error:
                if repeat == MAX_REPEATS or not error.retryable:
                    raise
                wait_ms = max(error.retry_after_ms, backoff.delay_ms(repeat, random.uniform(-1, 1)))
            repeat += 1
            await asyncio.sleep(wait_ms / 1_000)

    async def _call(self, answer_type: type[Answer], method: str, path: str, **content: Any) -> Answer:
        answer = await self._send(method, path, content, fresh=False)
        if answer.status_code == 401 and self._tokens.renewable:
            answer = await self._send(method, path, content, fresh=True)
        if not answer.is_success:
            raise _refusal(answer)
        try:
            return msgspec.json.decode(answer.content, type=answer_type)
        except msgspec.MsgspecError as error:
            raise ApiError(answer.status_code, "unreadable", f"{method} {path}: {error}", retryable=False) from error

    async def _send(self, method: str, path: str, content: dict[str, Any], *, fresh: bool) -> httpx2.Response:
        token = await self._tokens.get(fresh=fresh)
        headers = {"Authorization": f"Bearer {token}", **content.get("headers", {})}
        try:
            return await self._http.request(method, path, **(content | {"headers": headers}))
        except httpx2.TransportError as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error


def http_url_of(url: str) -> str:
    """The server's root for REST, from any of its addresses (`ws://host:port/v1/ws`, `http://host:port`)."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.removesuffix("/v1/ws").rstrip("/"), "", ""))


def ws_url_of(url: str) -> str:
    """The address of the socket, from any of the server's addresses."""
    parts = urlsplit(http_url_of(url))
    scheme = {"http": "ws", "https": "wss"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, parts.path + "/v1/ws", "", ""))


def path_part(given: str) -> str:
    """An id as a part of a path."""
    return quote(given, safe=":@")


def _refusal(answer: httpx2.Response) -> ApiError:
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem(detail=answer.text[:200], retryable=answer.status_code >= 500)
    text = problem.detail or problem.title
    return ApiError(
        answer.status_code, problem.code, text, retryable=problem.retryable, retry_after_ms=problem.retry_after_ms
    )
