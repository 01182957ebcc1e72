"""Removes uploads that no message refers to, and objects without a row. Over the ports; `tidings media sweep` runs it.

A message that is sent while the sweep runs never points to a missing object, because a removal has these steps:

1. An upload of more than `keep_ms` without a reference is marked. From then on no gateway accepts a message with it.
   The time of the mark is written in a second step, after the first is confirmed. So the mark is never younger than
   its time, however late a write takes effect.
2. A gateway may have checked it just before and still be publishing, so GRACE_MS pass.
3. A run after that notes the ends of `messages.inbound` and waits until the persister has confirmed everything below
   them. Each command that could refer to the upload has become a reference by then, or never will.
4. Only an upload that still has no reference is deleted: its row, then its objects. If the sweep ends in between, a
   later run removes them as objects without a row.

Each step may be repeated, so a sweep may be killed anywhere, and several may run at once.

A day is settled once messages refer to all of its uploads. References never go, so no later run looks at it. The name
of an object below `swept/` is the first day that is not settled, so that each run begins where the work is, also after
months without a run.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tidings import ids
from tidings.clock import Clock
from tidings.media.base import MediaStore, StoredObject, is_key
from tidings.store.base import Store
from tidings.store.media_rows import MARKED, MediaRow

KEEP_MS = 24 * 3_600_000
# A gateway publishes within seconds after it has checked an upload, and refuses after a minute. An hour allows for
# clocks that differ.
GRACE_MS = 3_600_000
# 2025-01-01. No object is older. A first run lists each day since then, about 20 ms a day.
FIRST_DAY = 20_089
_SETTLED = "swept"
# Ids of uploads in one read of the tables.
_ROWS_AT_ONCE = 500
_REFS_AT_ONCE = 32
_DUE_AT_ONCE = 5_000
LogPassed = Callable[[], Awaitable[bool]]


@dataclass(slots=True)
class Swept:
    """What one run has done. `waiting`: marked uploads that a later run deletes. `days`: how many it looked at."""

    days: int = 0
    objects: int = 0
    marked: int = 0
    waiting: int = 0
    deleted: int = 0
    orphans: int = 0


class Sweep:
    """One run over the days that are not settled."""

    def __init__(
        self, tables: Store, objects: MediaStore, clock: Clock, log_passed: LogPassed, keep_ms: int = KEEP_MS
    ) -> None:
        """`log_passed`: whether the persister has confirmed all commands that are in Kafka when it is called."""
        self._tables = tables
        self._objects = objects
        self._clock = clock
        self._log_passed = log_passed
        self._keep_ms = keep_ms
        self._due: list[MediaRow] = []
        # Uploads and objects that a later run has to look at again.
        self._open = 0
        self._places: list[int] = []
        self.swept = Swept()

    async def run(self, days_back: int | None = None) -> Swept:
        """Look at the uploads of all days that are not settled, or of the last days, oldest first.

        Raises StoreUnavailable or MediaUnavailable; run it again then.
        """
        now_ms = self._clock.wall_ms()
        today = ids.day_of(now_ms)
        first = await self._first_day() if days_back is None else today - days_back
        # A later place is of a run whose clock was ahead.
        settled = first = min(first, today)
        for day in range(first, today + 1):
            objects = self.swept.objects
            is_settled = await self._look_at_day(day) and (day + 1) * ids.DAY_MS + self._keep_ms < now_ms
            if not (is_settled and day == settled):
                continue
            settled += 1
            if self.swept.objects > objects and days_back is None:
                await self._begin_next_at(settled)
        if days_back is None:
            await self._begin_next_at(settled)
        return self.swept

    async def _first_day(self) -> int:
        names = [stored.key.rpartition("/")[2] async for stored in self._objects.list(_SETTLED)]
        self._places = [int(name) for name in names if name.isdecimal()]
        return max(self._places, default=FIRST_DAY)

    async def _begin_next_at(self, day: int) -> None:
        if day <= max(self._places, default=FIRST_DAY):
            return
        await self._objects.put(f"{_SETTLED}/{day}", _once(b"tidings media sweep begins at this day\n"))
        earlier, self._places = self._places, [day]
        await self._objects.delete([f"{_SETTLED}/{one}" for one in earlier])

    async def _look_at_day(self, day: int) -> bool:
        """Returns whether messages refer to all that is left of the day."""
        self.swept.days += 1
        before, found = self._open, defaultdict[str, list[StoredObject]](list)
        async for stored in self._objects.list(str(day)):
            if not is_key(stored.key):
                continue  # no upload's; another program put it there
            _day, media_id, *_ = stored.key.split("/")
            found[media_id].append(stored)
            self.swept.objects += 1
            if len(found) >= _ROWS_AT_ONCE:
                await self._look_at(found)
                found.clear()
        if found:
            await self._look_at(found)
        # Before the next day, so that a run that is always killed at its deadline still removes something.
        await self._delete_due()
        return self._open == before

    async def _look_at(self, found: Mapping[str, Collection[StoredObject]]) -> None:
        rows = await self._tables.media(found)
        for media_id, objects in found.items():
            await self._delete_orphans(rows.get(media_id), objects)
        now_ms = self._clock.wall_ms()
        old = [row for row in rows.values() if row.uploaded_at + self._keep_ms < now_ms]
        unsent = await self._without_refs(old)
        self._open += len(rows) - len(old) + len(unsent)
        for row in set(old).difference(unsent):
            if row.removing_at:
                # A message was on its way at the mark. References never go, so the upload stays.
                await self._tables.mark_media(row.media_id, 0, row.removing_at)
                self._open += 1
        for row in unsent:
            if row.removing_at <= MARKED:
                await self._mark(row)
            elif row.removing_at + GRACE_MS < now_ms:
                self._due.append(row)
            else:
                self.swept.waiting += 1
        if len(self._due) >= _DUE_AT_ONCE:
            await self._delete_due()

    async def _mark(self, row: MediaRow) -> None:
        """Mark an upload, and then write a time at which all gateways see the mark."""
        self.swept.marked += 1
        if not row.removing_at:
            await self._tables.mark_media(row.media_id, MARKED, 0)
        await self._tables.mark_media(row.media_id, self._clock.wall_ms(), MARKED)

    async def _delete_orphans(self, row: MediaRow | None, objects: Collection[StoredObject]) -> None:
        """Delete objects of tries that never got a row, or whose row names other objects."""
        named = () if row is None else (row.object_key, row.thumb_key)
        before_ms = self._clock.wall_ms() - self._keep_ms
        unnamed = [one for one in objects if one.key not in named]
        orphans = [one.key for one in unnamed if one.modified_ms < before_ms]
        self._open += len(unnamed) - len(orphans)
        if orphans:
            await self._objects.delete(orphans)
            self.swept.orphans += len(orphans)

    async def _delete_due(self) -> None:
        due, self._due = self._due, []
        if due and not await self._log_passed():
            self.swept.waiting += len(due)
            due = []
        for row in await self._without_refs(due):
            if await self._tables.drop_media(row.media_id, row.removing_at):
                await self._objects.delete((row.object_key, row.thumb_key))
                self.swept.deleted += 1

    async def _without_refs(self, rows: Sequence[MediaRow]) -> Sequence[MediaRow]:
        unsent: list[MediaRow] = []
        for start in range(0, len(rows), _REFS_AT_ONCE):
            some = rows[start : start + _REFS_AT_ONCE]
            refs = await asyncio.gather(*(self._tables.media_refs(row.media_id, 1) for row in some))
            unsent += [row for row, found in zip(some, refs, strict=True) if not found]
        return unsent


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
