"""Tables and objects with archived and hot messages, and an archiver that may be stopped before any of its calls."""

import inspect
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders import write_confirmed
from tests.fakes.clock import FakeClock
from tests.faults.media import FaultyMediaStore
from tests.faults.store import FaultyStore
from tidings import ids
from tidings.cold.archiver import Archiver, Run
from tidings.cold.objects import decode
from tidings.cold.ports import Ports
from tidings.cold.rules import ArchiveRules
from tidings.errors import ColdUnavailable
from tidings.ids import DAY_MS, Position
from tidings.store import history
from tidings.store.memory_archive import MemoryArchiveTables
from tidings.store.rows import MessageRow, Row
from tidings.store.segment_rows import SegmentByMonthRow, SegmentClosedRow, SegmentRow
from tidings.wire.common_pb2 import KIND_SYSTEM, KIND_TEXT

# 2026-11-23 12:00 UTC.
NOW_MS = 1_795_435_200_000
PARTITIONS = 4


class Killed(BaseException):
    """The archiver ends here."""


class Steps:
    """Counts the calls of an archiver, and ends it before one of them."""

    def __init__(self, stop_before: int | None = None) -> None:
        self.calls: list[str] = []
        self._stop_before = stop_before

    def take(self, name: str) -> None:
        if self._stop_before == len(self.calls):
            raise Killed(name)
        self.calls.append(name)

    def over(self, port: Any) -> Any:
        """The port, whose calls are counted."""
        return _Counted(port, self)


class _Counted:
    def __init__(self, port: Any, steps: Steps) -> None:
        self._port = port
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)

        async def called(*args: Any) -> Any:
            self._steps.take(name)
            return await found(*args)

        async def streamed(*args: Any) -> AsyncIterator[Any]:
            self._steps.take(name)
            async for part in found(*args):
                yield part

        if inspect.isasyncgenfunction(found):
            return streamed
        return called if inspect.iscoroutinefunction(found) else found


class ClosingByHand:
    """A persister that closes at once, unless it is behind. Implements ClosingLog."""

    def __init__(self, store: FaultyStore) -> None:
        self.store = store
        self.confirmed_offset = 10**9
        self.is_behind = False
        self.asked: list[tuple[str, int, int]] = []

    async def confirmed(self) -> Sequence[Position]:
        return [Position(0, self.confirmed_offset)] * PARTITIONS

    def partition_of(self, session_id: str) -> int:
        return ids.partition_of(session_id, PARTITIONS)

    async def close(self, segments: Sequence[tuple[SegmentRow, int]], within_s: float) -> bool:
        self.asked += [(segment.session_id, segment.segment, last_seq) for segment, last_seq in segments]
        if self.is_behind:
            return False
        for segment, last_seq in segments:
            ((last, *_),) = (await self.store.newest_messages([(segment.session_id, segment.segment)], 1)).values()  # type: ignore[list-item]
            row = SegmentClosedRow(segment.session_id, segment.segment, last_seq, last.count, last.at, 0, 10**8)
            await write_confirmed(self.store, [row])
        return True


@dataclass
class ObjectRows:
    """Cold rows straight from the objects. Implements ColdRows."""

    objects: FaultyMediaStore

    async def messages(self, segment: SegmentRow, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        place = segment.cold
        assert place is not None
        if place.object_key not in self.objects.objects:
            raise ColdUnavailable(f"{place.object_key} is missing")
        first_row = place.first_row + first_seq - segment.first_seq
        return decode(self.objects.objects[place.object_key], first_row, last_seq - first_seq + 1)


class World:
    """A deployment's tables and objects."""

    def __init__(self, work_dir: Path) -> None:
        self.clock = FakeClock(NOW_MS)
        self.store = FaultyStore(self.clock)
        self.tables = MemoryArchiveTables(self.store, self.clock)
        self.objects = FaultyMediaStore(self.clock)
        self.closing = ClosingByHand(self.store)
        self.cold = ObjectRows(self.objects)
        self.ports = Ports(self.tables, self.store, self.objects, self.closing, self.clock)
        self.written: dict[str, list[MessageRow]] = {}
        self.work_dir = work_dir
        work_dir.mkdir(exist_ok=True)

    async def session(self, session_id: str, *segments: tuple[int, int]) -> list[MessageRow]:
        """Write a session: for each segment its age in days and the number of its messages. The last one is open."""
        rows: list[Row] = []
        messages = self.written.setdefault(session_id, [])
        number = max((row.segment for row in messages), default=0)
        for days, size in segments:
            number += 1
            first, at = len(messages) + 1, NOW_MS - days * DAY_MS
            month = ids.month_of(at)
            rows.append(SegmentRow(session_id, number, first, month, 0, first))
            rows.append(SegmentByMonthRow(month, ids.partition_of(session_id, 16), session_id, number))
            messages += [_message(session_id, number, seq, at, messages) for seq in range(first, first + size)]
        await write_confirmed(self.store, [*rows, *messages])
        self.clock.now_ms += 1_000
        return messages

    def archiver(self, steps: Steps | None = None, **rules: Any) -> Archiver:
        """A new archiver."""
        tables, store, objects, closing, clock = self.ports
        ports = self.ports
        if steps is not None:
            ports = Ports(steps.over(tables), steps.over(store), steps.over(objects), steps.over(closing), clock)
        return Archiver(ports, ArchiveRules(**rules), self.work_dir)

    async def archive(self, steps: Steps | None = None, **rules: Any) -> Run:
        """Run it once."""
        return await self.archiver(steps, **rules).run()

    async def read(self, session_id: str) -> list[MessageRow]:
        """The whole history of a session, hot and cold."""
        return await history.read_range(self.store, session_id, 1, 10**9, 10**6, cold=self.cold)

    async def check(self) -> None:
        """Every session reads as it was written."""
        for session_id, messages in self.written.items():
            assert await self.read(session_id) == messages

    def hot(self, session_id: str) -> list[int]:
        """The seqs of a session that are in the tables."""
        rows = [row for row in self.store.rows("messages") if isinstance(row, MessageRow)]
        return [row.seq for row in rows if row.session_id == session_id]

    def directory(self, session_id: str) -> dict[int, SegmentRow]:
        """The rows of the directory."""
        rows = [row for row in self.store.rows("segments") if isinstance(row, SegmentRow)]
        return {row.segment: row for row in rows if row.session_id == session_id}


def _message(session_id: str, segment: int, seq: int, at: int, before: Sequence[MessageRow]) -> MessageRow:
    # Every fifth message does not count, as those about members.
    kind = KIND_SYSTEM if seq % 5 == 0 else KIND_TEXT
    count = seq - seq // 5
    body = f'{{"text":"message {seq} of {session_id} 你好"}}'.encode()
    mentions = ("bob", "carol") if seq % 7 == 0 else None
    reply_to = seq - 1 if seq % 3 == 0 else None
    return MessageRow(
        session_id, segment, seq, 2**40 + seq, "alice", f"m-{seq}", kind, body, at, count, 0, seq, reply_to, mentions
    )
