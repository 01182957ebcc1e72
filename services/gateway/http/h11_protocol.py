"""uvicorn's HTTP/1.1 protocol (h11) with time limits and readable refusals.

uvicorn waits without limit for the rest of a request. Its answer to a request that it cannot parse has no CORS headers,
so a page cannot read it.
"""

import asyncio
import sys
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.gateway.http.cors import CrossOrigin
from services.gateway.http.handshake import handshake_fault
from services.gateway.http.headers import has_body, headers_so_far
from services.gateway.http.problems import problem
from tidings.errors import Refused

# A head is a few packets, and ten seconds allow three retransmissions on a bad line.
HEAD_S = 10.0
# A batch of 1 MiB at 20 kB/s, a bad mobile link, takes 52 s.
BODY_S = 60.0
# The body of an upload may be 100 MiB, so each MiB of it has BODY_S: at least 17 kB/s.
UPLOAD_PART_BYTES = 1024 * 1024
UPLOAD_PATH = "/v1/media"
# Further bytes, as of chunk extensions, get no more time.
UPLOAD_PARTS = 1024
# If the client is still sending, an immediate close could reset the connection before the answer arrives.
LINGER_S = 2.0
# The bytes of a head that are kept. h11 may refuse longer heads, and Origin and Host come early.
HEAD_BYTES = 16_384

_TEXTS = {
    400: "this is not a valid HTTP/1.1 request (RFC 9112); the connection is closed",
    408: "the request did not arrive completely in time; send it again",
    431: "the line and the headers of the request are too long; send at most 16 KiB",
    501: "this transfer encoding is not supported; send the body unencoded or chunked",
}


class BoundedProtocol(H11Protocol):
    """One connection. `cross_origin` is set by `protocol_for`."""

    cross_origin: CrossOrigin

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes uvicorn's arguments."""
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited: object = None
        self._is_refused = False
        self._is_upgraded = False
        # The bytes of the head, because h11 keeps nothing of a head that it refuses.
        self._head = b""
        # Received since the head began, to limit the time of uploads by their progress.
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the keep-alive timer, so that a connection without any request is closed too."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        self._await(None)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data, and start the time limit for the rest of the request."""
        if not self._is_refused:
            if self.conn.their_state is h11.IDLE:
                self._head = (self._head + data)[:HEAD_BYTES]
                self._body_bytes = 0
            self._body_bytes += len(data)
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        """An answer was sent. The next request may have begun already."""
        super().on_response_complete()
        self._head = b""
        self._watch()

    def send_400_response(self, _msg: str) -> None:
        """Refuse a request that cannot be parsed. Called while h11's error is handled."""
        status = getattr(sys.exception(), "error_status_hint", 400)
        is_in_body = self.cycle is not None and not self.cycle.response_complete
        self._refuse(status, self.headers if is_in_body else self._headers_so_far())

    def shutdown(self) -> None:
        """Called when the server stops."""
        if self._is_refused:
            self.transport.close()
        else:
            super().shutdown()

    def _should_upgrade(self) -> bool:
        """Whether the WebSocket library gets the connection. `rest.edges` answers all other requests."""
        if has_body(self.headers) or self.scope["method"] != "GET" or not super()._should_upgrade():
            return False
        return handshake_fault(self.scope) is None

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: some clients offer h2c, and they get an answer over HTTP/1.1."""

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Pass the connection to the WebSocket protocol.

        This object reads the request's bytes until the call returns, and h11 expects a body. Without the flag the time
        limit would close the WebSocket after BODY_S.
        """
        self._is_upgraded = True
        super().handle_websocket_upgrade(event)

    def _watch(self) -> None:
        state = self.conn.their_state
        if self._is_refused or self._is_upgraded or self.transport.is_closing():
            self._await(None)
        elif state is h11.SEND_BODY:
            self._await((state, self.cycle, self._upload_part()), BODY_S)
        elif state is h11.IDLE and self.conn.trailing_data[0]:
            self._await((state, self.cycle), HEAD_S)
        else:
            self._await(None)

    def _upload_part(self) -> int:
        """Which UPLOAD_PART_BYTES of an upload is being read, because each has its own time limit; otherwise 0."""
        is_upload = self.scope["path"] == UPLOAD_PATH and not self.cycle.response_complete
        return min(self._body_bytes // UPLOAD_PART_BYTES, UPLOAD_PARTS) if is_upload else 0

    def _await(self, part: object, at_most_s: float = 0.0) -> None:
        """Limit the wait for this part of a request, counted from the first call for it. None: no limit."""
        if part == self._awaited:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._awaited = part
        self._deadline = None if part is None else self.loop.call_later(at_most_s, self._expired)

    def _expired(self) -> None:
        is_head = self.conn.their_state is h11.IDLE
        self._refuse(408, self._headers_so_far() if is_head else self.headers)

    def _headers_so_far(self) -> Sequence[tuple[bytes, bytes]]:
        """Origin and Host of a request that h11 refuses, as far as they have arrived."""
        return headers_so_far(self.conn.trailing_data[0] or self._head)

    def _refuse(self, status: int, request: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer unless an answer has begun, and close. The application gets a disconnect."""
        self._is_refused = True
        self._await(None)
        self._unset_keepalive_if_required()
        code = "timeout" if status == 408 else "invalid_frame"
        answer = problem(Refused(code, _TEXTS.get(status, _TEXTS[400])), status, {"Connection": "close"})
        date = (b"date", formatdate(usegmt=True).encode())
        headers = [date, *answer.raw_headers, *self.cross_origin.headers(request)]
        try:
            for event in (
                h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            # An answer has begun already, so the connection is only closed.
            pass
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)


def protocol_for(cross_origin: CrossOrigin) -> type[BoundedProtocol]:
    """The class that uvicorn uses for connections."""
    return type("GatewayProtocol", (BoundedProtocol,), {"cross_origin": cross_origin})
