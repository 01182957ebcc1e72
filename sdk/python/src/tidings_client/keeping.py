"""What outlives the process: writes the outbox and the cursor in the background, many changes at once."""

from __future__ import annotations

import asyncio

from tidings_client.cursors import CursorStore
from tidings_client.effects import Cursor
from tidings_client.errors import Stopped
from tidings_client.outbox import Outbox
from tidings_client.sending import Draft


class Keeper:
    """One writer for both, so that what belongs together is in order. A message that cannot be kept is
    its sender's error; a cursor or a note that cannot be written ends `run` with that OSError."""

    def __init__(self, cursors: CursorStore, outbox: Outbox) -> None:
        self._cursors = cursors
        self._outbox = outbox
        self._adds: list[tuple[Draft, asyncio.Future[None]]] = []
        self._settled: list[str] = []
        self._cursor: Cursor | None = None
        self._wake = asyncio.Event()
        self._closing = False

    def add(self, draft: Draft) -> asyncio.Future[None]:
        """Done, in the order of the calls, when the message would survive a crash."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._adds.append((draft, future))
        self._wake.set()
        return future

    def settle(self, client_msg_id: str) -> None:
        self._settled.append(client_msg_id)
        self._wake.set()

    def keep(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._wake.set()

    def close(self) -> None:
        """`run` writes what waits, and returns."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        try:
            while not self._closing or self._adds or self._settled or self._cursor:
                await self._wake.wait()
                self._wake.clear()
                await self._write_all()
        finally:
            self._closing = True
            for _, future in self._adds:
                future.set_exception(Stopped("the outbox is no longer written"))
            await self._outbox.close()

    async def _write_all(self) -> None:
        adds, self._adds = self._adds, []
        settled, self._settled = self._settled, []
        cursor, self._cursor = self._cursor, None
        if adds:
            await self._add(adds)
        if settled:
            await self._outbox.settle(settled)
        if cursor is not None:
            await self._cursors.save(cursor)

    async def _add(self, adds: list[tuple[Draft, asyncio.Future[None]]]) -> None:
        """An error is the sender's to see: nothing was promised, and the next message may fit again."""
        error: Exception | None = None
        try:
            await self._outbox.add([draft for draft, _ in adds])
        except Exception as caught:  # noqa: BLE001 - of whichever outbox: it is handed to everyone who waits
            error = caught
        for _, future in adds:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
