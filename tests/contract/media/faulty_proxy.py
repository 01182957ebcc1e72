"""A proxy between the adapter and S3 that answers 503, answers late, or cuts bodies."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class Fault(Enum):
    """What happens to one request."""

    NONE = "passed on"
    BUSY = "503 is answered, and S3 does not see the request"
    LOST_ANSWER = "passed on, but the connection is closed instead of the answer"
    SILENT = "no answer comes"
    CUT = "half of the answer's body comes, then the connection is closed"
    SHORTENED = "half of the answer's body comes, with a header that calls it all"


@dataclass
class FaultyProxy:
    """Passes requests on to one port. `fault` decides by the request's line; `requests` are the lines so far."""

    target_port: int
    fault: Callable[[str], Fault] = lambda line: Fault.NONE
    requests: list[str] = field(default_factory=list)
    port: int = 0

    async def start(self) -> None:
        """Listen on a free port; after a `stop` on the same one."""
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and all connections."""
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, method: str) -> int:
        return sum(line.startswith(f"{method} ") for line in self.requests)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request for each connection."""
        try:
            head, body = await _message(reader)
            line = head.split(b"\r\n")[0].decode()
            self.requests.append(line)
            writer.write(await self._answer(self.fault(line), head + body))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _answer(self, fault: Fault, request: bytes) -> bytes:
        if fault is Fault.BUSY:
            return b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        if fault is Fault.SILENT:
            await asyncio.Event().wait()
        head, body = await self._passed_on(request)
        if fault is Fault.LOST_ANSWER:
            return b""
        sent = body[: len(body) // 2] if fault in (Fault.CUT, Fault.SHORTENED) else body
        length = len(sent) if fault is Fault.SHORTENED else len(body)
        return _closing(head, length) + sent

    async def _passed_on(self, request: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        writer.write(request)
        head, body = await _message(reader, has_body=not request.startswith(b"HEAD "))
        writer.close()
        return head, body


async def _message(reader: asyncio.StreamReader, *, has_body: bool = True) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _header(head, b"content-length")
    return head, await reader.readexactly(int(length)) if length and has_body else b""


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        if line.lower().startswith(name + b":"):
            return line.partition(b":")[2].strip()
    return None


def _closing(head: bytes, length: int) -> bytes:
    """The head of an answer for a connection that is closed afterwards. A HEAD answer keeps its length."""
    kept = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(b"connection:")]
    if length:
        kept = [line for line in kept if not line.lower().startswith(b"content-length:")]
        kept.append(b"content-length: %d" % length)
    return b"\r\n".join([*kept, b"connection: close", b"", b""])
