"""Writes the outbox and the cursor in the background, many changes at once."""

from __future__ import annotations

import asyncio

from tidings_client.cursors import CursorStore
from tidings_client.drafts import Draft, FailedDraft
from tidings_client.effects import Cursor
from tidings_client.errors import Stopped
from tidings_client.outbox import Outbox


class Keeper:
    """One writer for both, so that their changes stay in order. If a message cannot be stored, `send` raises the
    error. If a cursor or a note cannot be written, `run` raises that OSError."""

    def __init__(self, cursors: CursorStore, outbox: Outbox) -> None:
        self._cursors = cursors
        self._outbox = outbox
        self._adds: list[tuple[Draft, asyncio.Future[None]]] = []
        self._replacements: list[tuple[str, Draft, asyncio.Future[None]]] = []
        self._failed: list[FailedDraft] = []
        self._settled: list[str] = []
        self._cursor: Cursor | None = None
        self._wake = asyncio.Event()
        self._closing = False

    def add(self, draft: Draft) -> asyncio.Future[None]:
        """Completes, in the order of the calls, when the message would survive a crash."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._adds.append((draft, future))
        self._wake.set()
        return future

    def replace(self, was: str, draft: Draft) -> asyncio.Future[None]:
        """Completes when a restart would find the draft in place of the one with the id `was`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._replacements.append((was, draft, future))
        self._wake.set()
        return future

    def fail(self, failed: FailedDraft) -> None:
        self._failed.append(failed)
        self._wake.set()

    def settle(self, client_msg_id: str) -> None:
        self._settled.append(client_msg_id)
        self._wake.set()

    def keep(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._wake.set()

    def close(self) -> None:
        """Let `run` write the pending changes and return."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        try:
            while not self._closing or self._has_work:
                await self._wake.wait()
                self._wake.clear()
                await self._write_all()
        finally:
            self._closing = True
            for future in [add[-1] for add in self._adds] + [change[-1] for change in self._replacements]:
                if not future.done():
                    future.set_exception(Stopped("the outbox is no longer written"))
            await self._outbox.close()

    @property
    def _has_work(self) -> bool:
        return bool(self._adds or self._replacements or self._failed or self._settled or self._cursor)

    async def _write_all(self) -> None:
        adds, self._adds = self._adds, []
        replacements, self._replacements = self._replacements, []
        failed, self._failed = self._failed, []
        settled, self._settled = self._settled, []
        cursor, self._cursor = self._cursor, None
        if adds:
            await self._add(adds)
        if replacements:
            await self._replace(replacements)
        if failed:
            await self._outbox.fail(failed)
        if settled:
            await self._outbox.settle(settled)
        if cursor is not None:
            await self._cursors.save(cursor)

    async def _replace(self, replacements: list[tuple[str, Draft, asyncio.Future[None]]]) -> None:
        try:
            await self._outbox.replace([(was, draft) for was, draft, _ in replacements])
        except BaseException:
            self._replacements = replacements + self._replacements  # `run` ends and fails their futures
            raise
        for _, _, future in replacements:
            if not future.done():
                future.set_result(None)

    async def _add(self, adds: list[tuple[Draft, asyncio.Future[None]]]) -> None:
        """Raise an error in `send` only, because the message was not accepted and the next one may fit again."""
        error: Exception | None = None
        try:
            await self._outbox.add([draft for draft, _ in adds])
        except Exception as caught:  # noqa: BLE001 - from any outbox; every waiting `send` raises it
            error = caught
        for _, future in adds:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
