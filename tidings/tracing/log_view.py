"""What a trace reads from the log: single records, ends, and how far each group has come. All waits are bounded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from tidings.broker.base import Admin, Broker, Committed, Reader, Record, TopicPartition
from tidings.errors import BrokerUnavailable
from tidings.runtime.marks import Marks
from tidings.topics import MESSAGES_INBOUND, PERSISTER, Group, TopicSizes
from tidings.wire.common_pb2 import Coordinates

# For each question. A broker that is up answers within a second; the first connection may take longer.
_WITHIN_S = 10.0
_POLL_MS = 500
_STOP_S = 2.0

_Answer = TypeVar("_Answer")


class LogView:
    """Every method raises BrokerUnavailable if the log does not answer in time."""

    def __init__(
        self, admin: Admin, reader: Reader, epoch: int, sizes: TopicSizes, problem: BrokerUnavailable | None = None
    ) -> None:
        """`epoch` and `sizes`: of this deployment. `problem`: why the log cannot be read at all."""
        self.epoch = epoch
        self.sizes = sizes
        self._admin = admin
        self._reader = reader
        self._problem = problem

    async def bounds(self, name: TopicPartition) -> tuple[int, int]:
        """The first offset that the log still holds, and the one after its last record."""

        async def ask() -> tuple[int, int]:
            first, end = await self._reader.beginning_offsets([name]), await self._reader.end_offsets([name])
            return first[name], end[name]

        return await self._bounded(ask)

    async def committed(self, group: Group, names: Collection[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """The commits of a group. Partitions without one are left out."""
        return await self._bounded(lambda: self._admin.committed(group, names))

    async def record(self, name: TopicPartition, offset: int) -> Record | None:
        """The record at an offset that `bounds` includes. None if retention has removed it meanwhile."""
        records = await self._read({name: offset}, {name: offset + 1}, 1)
        return records[0] if records and records[0].offset == offset else None

    async def unconfirmed(self, partitions: Collection[int], most: int) -> tuple[Sequence[Record], bool]:
        """Commands that the persister has not confirmed, at most so many, and whether these are all."""
        names = [TopicPartition(MESSAGES_INBOUND, number) for number in partitions]
        commits = await self.committed(PERSISTER, names)
        ends = await self._bounded(lambda: self._reader.end_offsets(names))
        start = {name: commits[name].offset for name in names if name in commits and commits[name].offset < ends[name]}
        waiting = sum(ends[name] - offset for name, offset in start.items())
        records = await self._read(start, ends, most) if start else []
        return records, len(commits) == len(names) and waiting <= len(records)

    async def has_finished(
        self, group: Group, names: Collection[TopicPartition], source: Coordinates
    ) -> Mapping[TopicPartition, bool | None]:
        """Whether the marks of a group say that it has finished with a message. None: there are no readable marks."""
        commits = await self.committed(group, names)
        return {name: _is_finished(commits.get(name), source) for name in names}

    async def _read(
        self, start: Mapping[TopicPartition, int], end: Mapping[TopicPartition, int], most: int
    ) -> list[Record]:
        found: list[Record] = []

        async def read() -> list[Record]:
            self._reader.assign(start)
            while len(found) < most and any(self._reader.position(name) < end[name] for name in start):
                found.extend(await self._reader.poll(most - len(found), _POLL_MS))
            return found

        return await self._bounded(read)

    async def _bounded(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        if self._problem is not None:
            raise self._problem
        try:
            async with asyncio.timeout(_WITHIN_S):
                return await ask()
        except TimeoutError:
            # Later questions do not wait again, so that the whole trace stays bounded.
            self._problem = BrokerUnavailable(f"no answer within {_WITHIN_S:g} s")
            raise self._problem from None


def _is_finished(commit: Committed | None, source: Coordinates) -> bool | None:
    if commit is None:
        return None
    try:
        return Marks.decoded(commit.metadata).is_repeat(source)
    except ValueError:
        return None


@contextlib.asynccontextmanager
async def log_view(broker: Broker, epoch: int, sizes: TopicSizes) -> AsyncIterator[LogView]:
    """A view with connections of its own while the block runs. A log that does not answer is not an error here."""
    admin, reader = broker.admin(), broker.reader("trace")
    problem = None
    try:
        async with asyncio.timeout(_WITHIN_S):
            await admin.start()
            await reader.start()
    except TimeoutError:
        problem = BrokerUnavailable(f"no connection within {_WITHIN_S:g} s")
    except BrokerUnavailable as error:
        problem = error
    try:
        yield LogView(admin, reader, epoch, sizes, problem)
    finally:
        for part in (reader, admin):
            with contextlib.suppress(TimeoutError, BrokerUnavailable):
                await asyncio.wait_for(part.stop(), _STOP_S)
