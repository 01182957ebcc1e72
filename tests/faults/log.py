"""The log and the consumer groups in memory, with faults that tests set: stalls, lost tails, lost commits, zombies."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence

from tests.faults.drawn import CommitFault, LogFaults
from tidings.broker.base import AssignmentListener, Committed, TopicPartition
from tidings.broker.memory_group import MemoryGroup, MemoryGroupConsumer
from tidings.broker.memory_log import Fetcher, MemoryLog, Partition
from tidings.clock import Clock
from tidings.errors import BrokerUnavailable
from tidings.topics import Group


def lose_from(partition: Partition, offset: int) -> None:
    """Lose the tail from `offset` on, as an unclean election does. New records get the same offsets again."""
    partition._records = [record for record in partition._records if record.offset < offset]
    partition.end_offset = max(partition.first_offset, min(offset, partition.end_offset))


class FaultyLog(MemoryLog):
    """A log that stops answering, as a whole or for some partitions."""

    def __init__(self, clock: Clock, keep_records: int, timeout_s: float) -> None:
        super().__init__(clock, keep_records)
        self.timeout_s = timeout_s
        self._stalled: set[TopicPartition] = set()
        self._answers = asyncio.Event()
        self._answers.set()

    def is_stalled(self, name: TopicPartition) -> bool:
        """Whether neither produce nor fetch gets an answer from the partition."""
        return name in self._stalled or not self._answers.is_set()

    def stall(self, names: Collection[TopicPartition] | None) -> None:
        """Stop the answers of these partitions, or of the whole broker (None), until `heal`."""
        if names is None:
            self._answers.clear()
        else:
            self._stalled.update(names)

    def heal(self) -> None:
        """Let every partition answer again."""
        self._stalled.clear()
        self._answers.set()
        for partitions in self._topics.values():
            for partition in partitions:
                for wake in tuple(partition.watchers):
                    wake()

    async def reached(self) -> None:
        """Wait until the broker answers. Raises BrokerUnavailable after the time-out."""
        if self._answers.is_set():
            return
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._answers.wait()
        except TimeoutError:
            raise BrokerUnavailable("the memory broker is stalled") from None

    def fetcher(self) -> Fetcher:
        return _FaultyFetcher(self)


class _FaultyFetcher(Fetcher):
    _log: FaultyLog

    def readable(self) -> list[tuple[TopicPartition, int | None]]:
        return [(name, position) for name, position in super().readable() if not self._log.is_stalled(name)]


class FaultyGroup(MemoryGroup):
    """A coordinator that is loading, and that loses commits or their confirmations."""

    _log: FaultyLog

    def __init__(self, group: Group, log: FaultyLog, faults: LogFaults) -> None:
        super().__init__(group, log)
        self._faults = faults

    async def read(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Raises BrokerUnavailable while the coordinator cannot answer."""
        await self._log.reached()
        if self._faults.is_loading():
            raise BrokerUnavailable("the group's coordinator is loading")
        return await super().read(partitions)

    async def write(self, member_id: str, positions: Mapping[TopicPartition, Committed]) -> bool:
        await self._log.reached()
        if not self.is_member(member_id):
            return False
        fault = self._faults.commit()
        if fault in (CommitFault.NONE, CommitFault.UNCONFIRMED):
            await super().write(member_id, positions)
        if fault in (CommitFault.FAILED, CommitFault.UNCONFIRMED):
            raise BrokerUnavailable("the commit was not confirmed")
        return True


class FaultyConsumer(MemoryGroupConsumer):
    """A member that can become a zombie: `expire` makes it one, and `rejoin` makes it a member again."""

    _log: FaultyLog

    def __init__(self, client_id: str, group: MemoryGroup, topics: Sequence[str], log: FaultyLog) -> None:
        super().__init__(client_id, group, topics, log)
        self._dropped = asyncio.Event()
        self._steps: set[asyncio.Future[None]] = set()

    def expire(self) -> None:
        """Time out the session, as of a paused process: other members get its partitions, without a callback here.

        The member continues to read and produce as a zombie, and its commits are refused. `rejoin` ends that state.
        """
        self.leave()

    async def rejoin(self) -> None:
        """Revoke the held partitions, and join the group again."""
        await self._revoke()
        await self.join()

    async def start(self, listener: AssignmentListener) -> None:
        await self._log.reached()
        await super().start(listener)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        await self._log.reached()
        return await super().end_offsets(partitions)

    async def join(self) -> None:
        self._dropped.clear()
        await super().join()

    def leave(self) -> None:
        super().leave()
        self._dropped.set()

    async def give_up(self) -> None:
        """Returns early if the member is dropped in the meantime."""
        await self._unless_dropped(super().give_up())

    async def take_over(self, partitions: Sequence[TopicPartition]) -> None:
        """Returns early if the member is dropped in the meantime."""
        await self._unless_dropped(super().take_over(partitions))

    async def _unless_dropped(self, step: Awaitable[None]) -> None:
        running = asyncio.ensure_future(step)
        self._steps.add(running)  # a zombie's step continues, and asyncio itself holds no reference to it
        running.add_done_callback(self._steps.discard)
        dropped = asyncio.ensure_future(self._dropped.wait())
        await asyncio.wait([running, dropped], return_when=asyncio.FIRST_COMPLETED)
        dropped.cancel()
