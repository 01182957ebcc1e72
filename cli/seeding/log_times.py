"""Lets `messages.inbound` keep times of the past for a while, and gives it the broker's times again. Development only.

Log time is the broker's, because law 1 (the log decides) needs one clock. So the settings change back in two steps:

1. `end`: the times are the broker's again. This comes first, whatever happened, also from `tidings init`.
2. `restore`: segments of the log may be deleted by age again. Before the persister has read them, the retention of
   7 days would delete what was just appended, because its times are months old.
"""

import asyncio
from collections.abc import Mapping

from tidings import ids
from tidings.broker.base import Admin, NewRecord, Producer, Reader, TopicPartition
from tidings.errors import BrokerUnavailable
from tidings.runtime.initialise import use_log_time
from tidings.topics import MESSAGES_INBOUND, TIME_SETTING, Topic, TopicSizes, declared
from tidings.wire.common_pb2 import Stamps
from tidings.wire.inbound_pb2 import CloseSegment, Command

_MOST = str(2**63 - 1)
_PAST_SETTINGS: Mapping[str, str] = {
    TIME_SETTING: "CreateTime",
    "message.timestamp.before.max.ms": _MOST,
    "retention.ms": "-1",
    "retention.bytes": "-1",
    # Otherwise a new segment begins with every week of the past: 26 for each partition.
    "segment.ms": _MOST,
}
# A broker applies settings within milliseconds after it shows them.
_APPLIED_S = 10.0
_PAUSE_S = 0.05


class LogTimes:
    """The settings of `messages.inbound` during one seeding. All parts must be started. All calls raise Retryable."""

    def __init__(self, admin: Admin, producer: Producer, reader: Reader, sizes: TopicSizes, stamps: Stamps) -> None:
        """`stamps`: of the commands that find out whether times are kept."""
        self._admin = admin
        self._producer = producer
        self._reader = reader
        self._topic = inbound(sizes)
        self._stamps = stamps

    async def begin(self, at_ms: int) -> None:
        """Keep the given times from now on. Returns when each partition has kept `at_ms`."""
        before = await self._admin.topic_settings(MESSAGES_INBOUND)
        await self._admin.replace_topic_settings(MESSAGES_INBOUND, {**before, **_PAST_SETTINGS})
        await self._wait_until(at_ms, is_kept=True)

    async def are_given(self) -> bool:
        """Whether times are still kept. `tidings init` ends it."""
        return (await self._admin.topic_settings(MESSAGES_INBOUND)).get(TIME_SETTING) == _PAST_SETTINGS[TIME_SETTING]

    async def end(self, at_ms: int) -> None:
        """Step 1. Returns when no partition keeps `at_ms` any more."""
        await use_log_time(self._admin, self._topic)
        await self._wait_until(at_ms, is_kept=False)

    async def restore(self) -> bool:
        """Step 2, only after the persister has confirmed all. Returns whether anything was to be restored.

        Settings of the topic that a seeding does not change stay as they are.
        """
        before = dict(await self._admin.topic_settings(MESSAGES_INBOUND))
        kept = {name: value for name, value in before.items() if name not in _PAST_SETTINGS}
        wanted = {
            **kept,
            **{name: self._topic.settings[name] for name in _PAST_SETTINGS if name in self._topic.settings},
        }
        if before == wanted:
            return False
        await self._admin.replace_topic_settings(MESSAGES_INBOUND, wanted)
        return True

    async def _wait_until(self, at_ms: int, *, is_kept: bool) -> None:
        try:
            async with asyncio.timeout(_APPLIED_S):
                for partition in range(self._topic.partitions):
                    await self._wait_for(partition, at_ms, is_kept=is_kept)
        except TimeoutError:
            raise BrokerUnavailable(f"{MESSAGES_INBOUND} does not follow its new settings yet") from None

    async def _wait_for(self, partition: int, at_ms: int, *, is_kept: bool) -> None:
        while True:
            time_ms = await self._time_of(partition, at_ms)
            if (time_ms == at_ms) is is_kept:
                return
            await asyncio.sleep(_PAUSE_S)

    async def _time_of(self, partition: int, at_ms: int) -> int:
        """The time of a new record in a partition. It is a command that does nothing: there is no such session."""
        session_id = _session_on(partition, self._topic.partitions)
        asked = CloseSegment(segment=1, last_seq=1)
        command = Command(stamps=self._stamps, session_id=session_id, close_segment=asked)
        record = NewRecord(command.SerializeToString(), at_ms=at_ms)
        offset = await self._producer.produce(MESSAGES_INBOUND, partition, [record])
        self._reader.assign({TopicPartition(MESSAGES_INBOUND, partition): offset})
        while not (records := await self._reader.poll(1, 1_000)):
            pass
        return records[0].at_ms


def inbound(sizes: TopicSizes) -> Topic:
    """The topic as `tidings init` creates it."""
    return next(topic for topic in declared(sizes) if topic.name == MESSAGES_INBOUND)


def _session_on(partition: int, partitions: int) -> str:
    """A session without messages on this partition: the notes of a user that there is not."""
    number = 0
    while True:
        session_id = ids.direct_session(f"seed-probe-{number}", f"seed-probe-{number}")
        if ids.partition_of(session_id, partitions) == partition:
            return session_id
        number += 1
