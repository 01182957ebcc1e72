"""Consumer groups of the memory adapter: eager rebalances and commits."""

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from contextvars import Context

from tidings.broker.base import AssignmentListener, Committed, Record, TopicPartition
from tidings.broker.memory_log import MemoryLog
from tidings.errors import BrokerUnavailable, PositionOutOfRange
from tidings.topics import Group


def assign_by_range(members: Sequence[str], counts: Mapping[str, int]) -> dict[str, list[TopicPartition]]:
    """Kafka's range assignor: topics with equal counts are co-partitioned."""
    plan: dict[str, list[TopicPartition]] = {member: [] for member in members}
    for topic, count in sorted(counts.items()):
        share, rest = divmod(count, len(members))
        start = 0
        for number, member in enumerate(sorted(members)):
            stop = start + share + (number < rest)
            plan[member] += [TopicPartition(topic, partition) for partition in range(start, stop)]
            start = stop
    return plan


class MemoryGroup:
    """The coordinator's side of a group: its members and its commits."""

    def __init__(self, group: Group, log: MemoryLog) -> None:
        self.commits: dict[TopicPartition, Committed] = {}
        self._topics = group.topics
        self._log = log
        self._members: dict[str, MemoryGroupConsumer] = {}
        self._joined = 0
        self._changed = False
        self._rebalancing: asyncio.Task[None] | None = None

    def join(self, member: "MemoryGroupConsumer", client_id: str) -> str:
        """Add a member and return its new id. A rebalance follows."""
        self._joined += 1
        member_id = f"{client_id}-{self._joined:06d}"
        self._members[member_id] = member
        self._rebalance()
        return member_id

    def drop(self, member_id: str) -> None:
        """Remove a member that left or whose session timed out. A rebalance follows."""
        if self._members.pop(member_id, None):
            self._rebalance()

    def is_member(self, member_id: str) -> bool:
        """Whether the member was not dropped."""
        return member_id in self._members

    async def emptied(self) -> None:
        """Wait until the rebalance is over, if the last member has left."""
        if self._rebalancing and not self._members:
            await self._rebalancing

    async def read(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """The partitions that have a commit."""
        return {name: self.commits[name] for name in partitions if name in self.commits}

    async def write(self, member_id: str, positions: Mapping[TopicPartition, Committed]) -> bool:
        """Store the commits. False if the caller is no longer a member."""
        if not self.is_member(member_id):
            return False
        self.commits.update(positions)
        return True

    def _rebalance(self) -> None:
        self._changed = True
        if self._rebalancing is None or self._rebalancing.done():
            self._rebalancing = asyncio.get_running_loop().create_task(
                self._rebalance_while_changed(),
                context=Context(),  # the coordinator's own task, not one of the member that joined or left
            )

    async def _rebalance_while_changed(self) -> None:
        while self._changed:
            self._changed = False
            await self._all(member.give_up() for member in self._members.values())
            if self._changed or not self._members:
                continue
            plan = assign_by_range(tuple(self._members), {topic: self._log.count(topic) for topic in self._topics})
            await self._all(self._members[member_id].take_over(part) for member_id, part in plan.items())

    async def _all(self, steps: Iterable[Awaitable[None]]) -> None:
        await asyncio.gather(*steps)


class MemoryGroupConsumer:
    """A member of a group. Implements GroupConsumer."""

    def __init__(self, client_id: str, group: MemoryGroup, topics: Sequence[str], log: MemoryLog) -> None:
        self._client_id = client_id
        self._group = group
        self._topics = topics
        self._log = log
        self._fetcher = log.fetcher()
        self._member_id = ""
        self._epoch = 0
        self._held: tuple[TopicPartition, ...] | None = None
        self._listener: AssignmentListener | None = None
        self._one_call = asyncio.Lock()
        self._assigned = asyncio.Event()
        self._failure: Exception | None = None

    async def start(self, listener: AssignmentListener) -> None:
        """Returns with the first assignment made; `assigned` may still run."""
        for topic in self._topics:
            self._log.partition(TopicPartition(topic, 0))
        self._listener = listener
        await self.join()

    async def stop(self) -> None:
        if self._listener is None:
            return
        await self._revoke()
        self.leave()
        self._fetcher.assign({})
        self._listener = None
        await self._group.emptied()

    async def join(self) -> None:
        """Join the group as a new member."""
        self._assigned.clear()
        self._member_id = self._group.join(self, self._client_id)
        await self._assigned.wait()

    def leave(self) -> None:
        """Leave the group without a callback. Other members get the partitions."""
        self._group.drop(self._member_id)

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """Raises an error of a listener's callback, now and at every later call."""
        return await self._fetcher.poll(max_records, timeout_ms, self._check)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._fetcher.seek(partition, offset)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self._fetcher.pause(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._fetcher.resume(partitions)

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        answer = await self._group.read(partitions)
        missing = [name for name in partitions if name not in answer]
        if missing:
            raise BrokerUnavailable(f"no committed offset for {missing}; `tidings init` writes the first ones")
        return answer

    async def commit(self, epoch: int, positions: Mapping[TopicPartition, Committed]) -> bool:
        if epoch != self._epoch or self._held is None:
            return False
        return await self._group.write(self._member_id, positions)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self._log.end_offsets(partitions)

    async def give_up(self) -> None:
        """Revoke all partitions for the group."""
        await self._revoke()

    async def take_over(self, partitions: Sequence[TopicPartition]) -> None:
        """Assign these partitions for the group. Records may be read before the listener returns."""
        await self._assign(tuple(partitions))

    async def _assign(self, partitions: tuple[TopicPartition, ...]) -> None:
        async with self._one_call:
            if self._listener is None or not self._group.is_member(self._member_id):
                return
            self._epoch += 1
            self._held = partitions
            commits = self._group.commits
            self._fetcher.assign({name: commits[name].offset if name in commits else None for name in partitions})
            self._assigned.set()
            await self._notify(self._listener.assigned(self._epoch, partitions))

    async def _revoke(self) -> None:
        async with self._one_call:
            if self._held is None or self._listener is None:
                return
            self._fetcher.pause(self._held)
            await self._notify(self._listener.revoked(self._epoch, self._held))
            self._fetcher.assign({})
            self._held = None

    async def _notify(self, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - `poll` raises it to the worker
            self._failure = error
            self._fetcher.wake()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        lost = self._fetcher.out_of_range()
        if lost:
            raise PositionOutOfRange(f"the log does not hold the positions of {lost}", lost)
