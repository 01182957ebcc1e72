"""Reads the receipts of groups in tasks of their own, so that a group of 20,000 members delays no watermark.

Counts may come later because they are hints: law 11 (a push is a hint, the tables are the truth).
"""

import asyncio
from dataclasses import dataclass, field

from services.receipts.group_receipts import GroupReceipts, GroupReceiptsCache
from tidings.errors import StoreUnavailable
from tidings.logging import logger
from tidings.store.base import Store
from tidings.store.rows import MODE_WRITE, NEWEST
from tidings.wire.persisted_pb2 import Persisted

# Rows of one page: about 5 ms of this process's time, after which other tasks can run.
_PAGE = 1_000
_LOADS_AT_ONCE = 8
# Loads that have begun or wait for their turn. Counts of other sessions stay pending, and are tried again after 0.5 s.
_LOADS = 500
# Membership messages that may arrive during a load. With more of them the load is cancelled and repeated later.
_CHANGES = 100

_log = logger("tidings.receipts")


@dataclass(slots=True)
class _Load:
    task: asyncio.Task[None]
    # Changes to apply when the members are read. None after that, because the cache then follows the log.
    changes: list[Persisted] | None = field(default_factory=list)


class GroupReceiptsLoader:
    """The loads under way."""

    def __init__(self, store: Store, cache: GroupReceiptsCache) -> None:
        """`cache` receives each group when its members are read."""
        self._store = store
        self._cache = cache
        self._loads: dict[str, _Load] = {}
        self._turns = asyncio.Semaphore(_LOADS_AT_ONCE)
        self._failure: BaseException | None = None

    def begin(self, session_id: str, seen_seq: int | None) -> None:
        """Begin to read a group, or the watermarks of the unloaded members of a group in memory.

        Does nothing while the session is being read. `seen_seq`: the highest seq that was seen of the group's log.
        Raises the unexpected error of an earlier load.
        """
        if self._failure is not None:
            raise self._failure
        if session_id not in self._loads and len(self._loads) < _LOADS:
            task = asyncio.create_task(self._run(session_id, seen_seq))
            task.add_done_callback(self._ended)
            self._loads[session_id] = _Load(task)

    def follow(self, persisted: Persisted) -> None:
        """Keep a change of members or mode for the group that is being read."""
        load = self._loads.get(persisted.message.session_id)
        if load is not None and load.changes is not None:
            load.changes.append(persisted)
            if len(load.changes) > _CHANGES:
                self._loads.pop(persisted.message.session_id).task.cancel()

    def cancel(self) -> None:
        """Cancel all loads."""
        for load in self._loads.values():
            load.task.cancel()
        self._loads.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._failure = self._failure or task.exception()

    async def _run(self, session_id: str, seen_seq: int | None) -> None:
        try:
            async with self._turns:
                await self._load(session_id, seen_seq)
        except StoreUnavailable as error:
            _log.warning("counts of a group are delayed", session_id=session_id, reason=str(error))
        del self._loads[session_id]

    async def _load(self, session_id: str, seen_seq: int | None) -> None:
        receipts, load = self._cache.get(session_id), self._loads[session_id]
        if receipts is None:
            receipts = await self._members(session_id, seen_seq)
            if not all(receipts.follow(change) for change in load.changes or ()):
                return
            # From here on the cache follows the log, and takes watermarks that are stored in the meantime.
            self._cache.put(session_id, receipts)
        load.changes = None
        while receipts.unloaded:
            await self._watermarks(session_id, receipts)

    async def _members(self, session_id: str, seen_seq: int | None) -> GroupReceipts:
        """Read the members as of a seq whose message was seen, so that no version at or below it is missing.

        Such versions cannot change: law 1 (the log decides). The persister emits a message only after its versions
        are stored: law 6 (the round is the commit point).
        """
        as_of_seq = NEWEST if seen_seq is None else seen_seq
        group = (await self._store.groups_as_of({session_id: as_of_seq})).get(session_id)
        joined: dict[str, int] = {}
        after: str | None = "" if group is not None and group.member_count > 0 else None
        while after is not None:
            rows, after = await self._store.member_page(session_id, as_of_seq, after, _PAGE)
            joined |= {row.user_id: row.joined_seq for row in rows if not row.left_seq}
        return GroupReceipts(joined, MODE_WRITE if group is None else group.mode, seen_seq)

    async def _watermarks(self, session_id: str, receipts: GroupReceipts) -> None:
        """Read the watermarks of all members in pages if all are unloaded; otherwise of the unloaded ones alone."""
        asked = dict(receipts.unloaded)
        if len(asked) == len(receipts.watermarks):
            page_is_full, last = True, ""
            while page_is_full:
                rows = await self._store.receipt_page(session_id, last, _PAGE)
                for row in rows:
                    receipts.raise_to(row.user_id, row.delivered_seq, row.read_seq)
                    last = row.user_id
                page_is_full = len(rows) == _PAGE
        else:
            found = await self._store.receipts([(session_id, user_id) for user_id in asked])
            for row in found.values():
                receipts.raise_to(row.user_id, row.delivered_seq, row.read_seq)
        receipts.mark_loaded(asked)
