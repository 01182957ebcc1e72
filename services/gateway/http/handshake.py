"""Checks whether the WebSocket library will accept a handshake, before the library gets the socket.

The library neither answers nor closes a handshake that it cannot parse. It refuses others in plain text without CORS
headers, so that a page of another origin cannot read the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import InvalidHandshake, InvalidUpgrade, SecurityError
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request
from websockets.server import ServerProtocol

_TOO_LONG = (
    f"the head of a handshake may have {MAX_NUM_HEADERS} headers and {MAX_LINE_LENGTH // 1024} KiB a line;"
    " send fewer or smaller cookies"
)


@dataclass(frozen=True, slots=True)
class HandshakeFault:
    """Why a handshake is refused, and the status of the answer."""

    status: int
    text: str


def handshake_fault(scope: Mapping[str, Any]) -> HandshakeFault | None:
    """The fault of a handshake; None if the library will accept it. `scope` is the ASGI scope of a GET."""
    headers, query = scope["headers"], scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    lines = [b"GET " + target + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    library = ServerProtocol()
    library.receive_data(b"\r\n".join(lines) + b"\r\n\r\n")
    events = library.events_received()
    if not events or not isinstance(events[0], Request):
        is_too_long = (
            isinstance(library.handshake_exc or library.parser_exc, SecurityError) or len(headers) > MAX_NUM_HEADERS
        )
        text = "this is not a WebSocket handshake"
        return HandshakeFault(431, _TOO_LONG) if is_too_long else HandshakeFault(400, text)
    if library.accept(events[0]).status_code == 101:
        return None
    error = library.handshake_exc
    status = 426 if isinstance(error, InvalidUpgrade) else 400
    return HandshakeFault(status, str(error) if isinstance(error, InvalidHandshake) else "this is not a handshake")
