"""One archiver at a time moves the messages of a (month, shard)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tidings.clock import Clock
from tidings.errors import Retryable
from tidings.store.archive_tables import ArchiveTables, Shard

TTL_S = 60
# Renewed four times within the TTL. Until 40 s after the last renewal was asked for, no other archiver can hold the
# claim, also if the tables' clock is 20 s ahead of ours.
_RENEW_S = 15.0
_IS_SURE_MS = 40_000


class ClaimLost(Retryable):
    """Another archiver may hold the shard, so this one leaves it."""


class Claim:
    """The right to move the messages of one shard."""

    def __init__(self, tables: ArchiveTables, clock: Clock, shard: Shard, holder: str) -> None:
        """`holder`: a name that no other archiver has."""
        self._tables = tables
        self._clock = clock
        self._shard = shard
        self._holder = holder
        self._sure_until_ms = 0

    def ensure(self) -> None:
        """Raise ClaimLost if the claim was not renewed in time. Called before each step that others would see."""
        if self._clock.monotonic_ms() > self._sure_until_ms:
            raise ClaimLost(f"the claim on {self._shard.month}/{self._shard.shard} was not renewed in time")

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """Hold the claim while the block runs. Yields False if another archiver has it. Raises StoreUnavailable."""
        asked_ms = self._clock.monotonic_ms()
        if not await self._tables.claim(self._shard, self._holder, TTL_S):
            yield False
            return
        self._sure_until_ms = asked_ms + _IS_SURE_MS
        renewing = asyncio.create_task(self._renew())
        try:
            yield True
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with contextlib.suppress(Retryable):  # otherwise it expires
                await self._tables.release(self._shard, self._holder)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            asked_ms = self._clock.monotonic_ms()
            with contextlib.suppress(Retryable):
                if await self._tables.keep_claim(self._shard, self._holder, TTL_S):
                    self._sure_until_ms = asked_ms + _IS_SURE_MS
