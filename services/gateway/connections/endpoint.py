"""`GET /v1/ws` as a plain ASGI endpoint. It takes a third of the memory of a framework's route (FIELD-NOTES)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from starlette.responses import Response

from services.gateway.connections.held_claims import HeldClaims
from services.gateway.connections.link import Link, Send
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.http.cors import CrossOrigin, origin_not_allowed
from services.gateway.http.problems import problem
from services.gateway.http.socket_limits import report_full
from services.gateway.protocol.effects import CheckAck, Effect, MoveWatermark, Publish, ReadInbox, SignedIn
from services.gateway.protocol.limits import SOCKET_PATH, SUBPROTOCOL
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.reads.inbox import InboxReads
from services.gateway.submit.publisher import unavailable
from services.gateway.submit.submitter import Caller, Submitter
from services.gateway.submit.watermarks import WatermarkMoves
from tidings import metrics
from tidings.clock import Clock
from tidings.errors import ColdUnavailable, Refused, StoreUnavailable
from tidings.logging import logger

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# Frames that cause an effect are counted. Frames that the state machine answers alone are not.
_FRAMES_IN = {
    SignedIn: metrics.FRAMES.labels("in", "hello"),
    Publish: metrics.FRAMES.labels("in", "send"),
    ReadInbox: metrics.FRAMES.labels("in", "sync"),
    CheckAck: metrics.FRAMES.labels("in", "ack_ahead"),
    MoveWatermark: metrics.FRAMES.labels("in", "watermark"),
}


class WebSocketEndpoint:
    """Serves one socket per call. It performs the effects of the state machine in their order."""

    def __init__(
        self,
        registry: ConnectionRegistry,
        posting: Submitter,
        watermarks: WatermarkMoves,
        inbox: InboxReads,
        clock: Clock,
        origins: AllowedOrigins,
        max_connections: int,
    ) -> None:
        """`origins`: the origins of pages that may connect."""
        self._registry = registry
        self._posting = posting
        self.claims = HeldClaims(watermarks, registry.settle)
        self._inbox = inbox
        self._clock = clock
        self._cross_origin = CrossOrigin(origins)
        self._max_connections = max_connections
        self._log = logger("tidings.gateway.websocket")
        self.is_accepting = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application for scopes of type websocket."""
        await receive()
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, refusal)
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        # The headers of the handshake are not needed any more, but uvicorn keeps the scope as long as the socket.
        scope["headers"] = []
        link = self._registry.open(send)
        try:
            # The link cancels this task if a client does not take its close frame.
            with contextlib.suppress(asyncio.CancelledError):
                await self._serve(link, receive)
        finally:
            self._registry.close(link)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["path"] != SOCKET_PATH:
            metrics.REFUSED_SOCKETS.labels("protocol").inc()
            return problem(Refused("invalid_frame", f"the WebSocket is at {SOCKET_PATH}"), 404)
        if not self.is_accepting:
            metrics.REFUSED_SOCKETS.labels("draining").inc()
            return problem(Refused("unavailable", "this gateway is stopping; connect again"))
        if len(self._registry) >= self._max_connections:
            report_full(self._max_connections)
            return problem(Refused("unavailable", "this gateway accepts no more connections; connect again"))
        if not self._cross_origin.allows(scope["headers"]):
            metrics.REFUSED_SOCKETS.labels("origin").inc()
            return problem(origin_not_allowed())
        if SUBPROTOCOL not in scope["subprotocols"]:
            metrics.REFUSED_SOCKETS.labels("protocol").inc()
            return problem(Refused("invalid_frame", f"ask for the subprotocol {SUBPROTOCOL}"))
        return None

    async def _serve(self, link: Link, receive: Receive) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            try:
                await self._take(link, event.get("text"))
            except Exception:  # noqa: BLE001 - a failed message must not close the socket without a code
                self._log.exception("a connection failed", connection=link.connection.connection_id)
                link.connection.broke()
                self._registry.settle(link)

    async def _take(self, link: Link, text: str | None) -> None:
        connection = link.connection
        if text is None:
            connection.received_binary()
            effects: Sequence[Effect] = ()
        else:
            effects = connection.received(text, self._clock.monotonic_ms(), self._clock.wall_ms())
        self._registry.settle(link)
        moves: list[MoveWatermark] = []
        for effect in effects:
            if connection.closing:
                return
            if isinstance(effect, MoveWatermark):
                _FRAMES_IN[MoveWatermark].inc()
                if not self._is_void(connection.user_id, effect):
                    moves.append(effect)
                continue
            await self._claim(link, moves)
            moves = []
            await self._perform(link, effect)
            self._registry.settle(link)
        await self._claim(link, moves)

    async def _claim(self, link: Link, moves: Sequence[MoveWatermark]) -> None:
        """Look up claims of adjacent frames together, before the next frame, so that they do not cover its message."""
        if moves:
            self.claims.take(link, moves)
            await self.claims.wait_for_lookups(link)

    async def _perform(self, link: Link, effect: Effect) -> None:
        _FRAMES_IN[type(effect)].inc()
        match effect:
            case SignedIn():
                self._registry.sign_in(link)
            case Publish():
                await self._publish(link, effect)
            case ReadInbox():
                await self._read_inbox(link, effect)
            case CheckAck():
                await self._check_ack(link, effect)

    async def _publish(self, link: Link, effect: Publish) -> None:
        connection = link.connection
        draft = effect.draft

        def refuse(refused: Refused) -> None:
            connection.refused(draft.client_msg_id, draft.session_id, refused, effect.ref)
            self._registry.settle(link)

        caller = Caller(connection.user_id, connection.connection_id, effect.ref)
        try:
            await self._posting.post(caller, draft, lambda: refuse(unavailable()))
        except Refused as refused:
            refuse(refused)

    async def _read_inbox(self, link: Link, effect: ReadInbox) -> None:
        connection = link.connection
        try:
            page = await self._inbox.page(connection.user_id, effect.after, effect.limit, connection.inbox_tail)
        except ColdUnavailable:
            text = "archived messages cannot be read now; sync again, and if it lasts, the operator has to repair them"
            connection.failed(Refused("unavailable", text), effect.ref)
        except StoreUnavailable:
            connection.failed(Refused("unavailable", "storage is temporarily unavailable; sync again"), effect.ref)
        else:
            connection.inbox_tail = max(connection.inbox_tail, page.tail)
            connection.page(page.fields(), effect.ref)
            self._registry.expect_groups(connection.user_id, page.large_groups())

    async def _check_ack(self, link: Link, effect: CheckAck) -> None:
        connection = link.connection
        try:
            tails = await self._inbox.tails((connection.user_id,))
        except StoreUnavailable:
            connection.failed(
                Refused("unavailable", "storage is temporarily unavailable; send the ack again"), effect.ref
            )
        else:
            connection.ack_checked(effect.inbox_seq, tails.get(connection.user_id, 0), effect.ref)

    def _is_void(self, user_id: str, move: MoveWatermark) -> bool:
        """Whether receipts would drop this ack. Members of a large group ack often, and each ack would cost a read."""
        if move.read_seq:
            return False
        return self._registry.group_tracker.is_delivered_ignored(user_id, move.session_id, move.delivered_seq)


async def _refuse(send: Send, answer: Response) -> None:
    start = {"status": answer.status_code, "headers": answer.raw_headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": answer.body})
