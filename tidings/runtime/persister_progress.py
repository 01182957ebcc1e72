"""Waiting until the persister has confirmed what is on `messages.inbound`. All calls raise BrokerUnavailable."""

import asyncio
from collections.abc import Mapping, Sequence

from tidings.broker.base import Admin, Reader, TopicPartition
from tidings.topics import MESSAGES_INBOUND, PERSISTER

_LOOK_S = 1.0


def inbound_partitions(session_partitions: int) -> Sequence[TopicPartition]:
    """All partitions of the topic."""
    return [TopicPartition(MESSAGES_INBOUND, number) for number in range(session_partitions)]


async def confirmed_offsets(admin: Admin, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The first offset of each partition that the persister has not confirmed. Those without a commit are left out."""
    return {one: found.offset for one, found in (await admin.committed(PERSISTER, partitions)).items()}


async def persister_passes(
    admin: Admin, ends: Mapping[TopicPartition, int], within_s: float, look_s: float = _LOOK_S
) -> bool:
    """Whether the persister confirms, within a time, everything below these offsets. It is asked at least once."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        offsets = await confirmed_offsets(admin, list(ends))
        if all(one in offsets and offsets[one] >= end for one, end in ends.items()):
            return True
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(look_s)


async def persister_has_passed(admin: Admin, reader: Reader, session_partitions: int, within_s: float) -> bool:
    """Whether the persister confirms, within a time, everything that the topic holds now."""
    return await persister_passes(admin, await reader.end_offsets(inbound_partitions(session_partitions)), within_s)
