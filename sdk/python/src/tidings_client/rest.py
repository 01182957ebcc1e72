"""The REST calls for sessions, and the transport of all REST calls. Answers are typed, and unknown fields ignored."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import httpx2
import msgspec

from tidings_client import backoff
from tidings_client.errors import ApiError, InvalidId, Unreachable
from tidings_client.frames import Message
from tidings_client.ids import checked_header_id, checked_seq, checked_session
from tidings_client.server_time import ServerTime
from tidings_client.tokens import Tokens

TIMEOUT_S = 10.0  # twice as long as the server waits for Kafka
SESSIONS_A_PAGE = 200  # PROTOCOL
MAX_REPEATS = 8  # PROTOCOL, Retry
CLOSED_MEANWHILE = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
Answer = TypeVar("Answer")


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest message of a session. Only `seq` and `at` are left of one at the end of its life."""

    seq: int
    at: int | None = None
    sender_id: str | None = None
    preview: str | None = None


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The other user of a direct session. Their watermarks are absent (and not 0) while they block this user."""

    user_id: str
    delivered_seq: int | None = None
    read_seq: int | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session as its user sees it. Messages up to `purged_seq` are gone; 0 if none are."""

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
    purged_seq: int = 0


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest activity first. `next` is an opaque token for the following page; an empty page may have one."""

    sessions: tuple[Session, ...] = ()
    next: str | int | None = None


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Ascending by seq. `has_more` is for the requested direction. `ahead`: `after_seq` was above the head. Messages up
    to `purged_seq` are gone; 0 if none are."""

    messages: tuple[Message, ...] = ()
    head_seq: int = 0
    has_more: bool = False
    ahead: bool = False
    purged_seq: int = 0


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    at: int | None = None


class ReceiptPage(msgspec.Struct, frozen=True, kw_only=True):
    """The members that have received or read a message: current members without its author."""

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


def _head_seq(session: Session) -> int:
    return 0 if session.head is None else session.head.seq


def _head_at(session: Session) -> int:
    return 0 if session.head is None else session.head.at or 0


class Rest:
    """Every call raises ApiError for a refusal and Unreachable without an answer. A refused token is renewed once per
    call. Every answer carries the server's time."""

    def __init__(
        self,
        http_url: str,
        tokens: Tokens,
        transport: httpx2.AsyncBaseTransport | None = None,
        server_time: ServerTime | None = None,
    ) -> None:
        self._http = httpx2.AsyncClient(base_url=http_url, timeout=TIMEOUT_S, transport=transport)
        self._tokens = tokens
        self._time = server_time or ServerTime()

    async def close(self) -> None:
        await self._tokens.close()
        await self._http.aclose()

    async def sessions(self, limit: int = 50, before: str | int | None = None) -> SessionPage:
        """A page, newest activity first. `before` is the `next` of the previous page."""
        return await self.get(SessionPage, path_of("sessions"), limit=limit, before=before)

    async def all_sessions(self) -> list[Session]:
        """Every session once, newest activity first. A session that moves while the pages are read comes again on a
        later page (PROTOCOL, *the list while it moves*). The copy with the newer head counts."""
        found: dict[str, Session] = {}
        before: str | int | None = None
        while True:
            page = await self.sessions(SESSIONS_A_PAGE, before)
            for session in page.sessions:
                known = found.get(session.session_id)
                if known is None or _head_seq(known) <= _head_seq(session):
                    found[session.session_id] = session
            if page.next is None or page.next == before:
                return sorted(found.values(), key=_head_at, reverse=True)
            before = page.next

    async def session(self, session_id: str) -> Session:
        return await self.get(Session, path_of("sessions", checked_session(session_id)))

    async def history(
        self,
        session_id: str,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        at: int | None = None,
        limit: int = 50,
    ) -> HistoryPage:
        """A page of messages, ascending by seq; the newest ones if no bound is given. `at` (ms): the first ones of that
        time or later."""
        path = path_of("sessions", checked_session(session_id), "messages")
        return await self.get(HistoryPage, path, before_seq=before_seq, after_seq=after_seq, at=at, limit=limit)

    async def receipts(
        self, session_id: str, seq: int, after: str | None = None, limit: int | None = None
    ) -> ReceiptPage:
        """The members that have received or read an own message. `after` is the `next` of the previous page."""
        message = str(checked_seq(seq))
        path = path_of("sessions", checked_session(session_id), "messages", message, "receipts")
        return await self.get(ReceiptPage, path, after=after, limit=limit)

    async def get(self, answer_type: type[Answer], path: str, **query: str | int | None) -> Answer:
        """GET a path. Retried once if the server closed an idle connection while the client reused it."""
        given = {name: value for name, value in query.items() if value is not None}
        return await self._call(answer_type, "GET", path, params=given)

    async def command(
        self, answer_type: type[Answer], method: str, path: str, client_msg_id: str, body: dict[str, Any] | None = None
    ) -> Answer:
        """A call that goes through Kafka. It is repeated under its id while its outcome is unknown or its refusal
        temporary (PROTOCOL, Retry), so that it is executed once. Raises the error of the last try."""
        header = {"Idempotency-Key": checked_header_id(client_msg_id)}
        return await repeated(lambda: self._call(answer_type, method, path, json=body, headers=header))

    async def send_bytes(
        self,
        answer_type: type[Answer],
        path: str,
        body: AsyncIterator[bytes],
        headers: dict[str, str],
        timeout_s: float,
    ) -> Answer:
        """POST bytes once. They cannot be sent again, so a token that is refused is renewed for the next try."""
        token = await self._token()
        answer = await self._send("POST", path, {"content": body, "headers": headers, "timeout": timeout_s}, token)
        if answer.status_code == 401 and await self._token(instead_of=token) != token:
            raise Unreachable("POST: the token was renewed")
        return _decoded(answer, answer_type, f"POST {path}")

    async def bytes_of(self, url: str) -> AsyncIterator[tuple[bytes, int]]:
        """The content of a path of this server, in chunks, each with the bytes in all.

        A redirect to the object store is followed without the token.
        """
        token = await self._token()
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with self._http.stream("GET", url, headers=headers, follow_redirects=True) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise _refusal(answer)
                total = int(answer.headers.get("Content-Length", 0))
                async for chunk in answer.aiter_bytes():
                    yield chunk, total
        except httpx2.TransportError as error:
            raise Unreachable(f"GET {url}: {error!r}") from error

    async def _call(self, answer_type: type[Answer], method: str, path: str, **content: Any) -> Answer:
        token = await self._token()
        answer = await self._send(method, path, content, token)
        if answer.status_code == 401 and (other := await self._token(instead_of=token)) != token:
            answer = await self._send(method, path, content, other)
        return _decoded(answer, answer_type, f"{method} {path}")

    async def _token(self, instead_of: str | None = None) -> str:
        try:
            return await self._tokens.get(instead_of=instead_of)
        except OSError as error:  # the provider's own network
            raise Unreachable(f"the token provider failed: {error!r}") from error

    async def _send(self, method: str, path: str, content: dict[str, Any], token: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}", **content.get("headers", {})}
        request = content | {"headers": headers}
        try:
            answer = await self._request(method, path, request)
        except httpx2.TransportError as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error
        self._time.learn_date(answer.headers.get("Date"))
        return answer

    async def _request(self, method: str, path: str, request: dict[str, Any]) -> httpx2.Response:
        """Send a request. A server or proxy may close an idle connection while a request is in flight, usually without
        processing it. Only a GET is safe to repeat then, and it is repeated once."""
        try:
            return await self._http.request(method, path, **request)
        except CLOSED_MEANWHILE:
            if method != "GET":
                raise
            return await self._http.request(method, path, **request)


async def repeated(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """The result of the first try that does not fail, or fails for good. Raises the error of the last try.

    Every try must have the same id, because the outcome of an earlier one may be unknown (PROTOCOL, Retry).
    """
    repeat = 0
    while True:
        try:
            return await call()
        except (ApiError, Unreachable) as error:
            if repeat == MAX_REPEATS or not error.retryable:
                raise
            wait_ms = max(error.retry_after_ms, backoff.delay_ms(repeat, random.uniform(-1, 1)))
        repeat += 1
        await asyncio.sleep(wait_ms / 1_000)


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


def path_of(*segments: str) -> str:
    """`/v1/…` of these segments, each percent-encoded so that it stays one segment. Raises InvalidId for an empty
    segment and for `.` and `..`, because clients and proxies resolve those even if encoded."""
    for segment in segments:
        if not segment.strip("."):
            raise InvalidId(f"{segment!r} cannot be a segment of a path")
    return "/".join(("/v1", *(quote(segment, safe=":@") for segment in segments)))


def _decoded(answer: httpx2.Response, answer_type: type[Answer], call: str) -> Answer:
    if not answer.is_success:
        raise _refusal(answer)
    try:
        return msgspec.json.decode(answer.content, type=answer_type)
    except msgspec.MsgspecError as error:
        raise ApiError(answer.status_code, "unreadable", f"{call}: {error}", retryable=False) from error


def _refusal(answer: httpx2.Response) -> ApiError:
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem(detail=answer.text[:200], retryable=answer.status_code >= 500)
    text = problem.detail or problem.title
    return ApiError(
        answer.status_code, problem.code, text, retryable=problem.retryable, retry_after_ms=problem.retry_after_ms
    )
