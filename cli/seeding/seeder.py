"""Appends a plan to `messages.inbound` with its times, and waits until the persister has stored it. Development only.

A repeat is harmless. What Kafka did not confirm is appended again, and the persister drops ids that it has stored. The
same holds for a whole plan, so a seeding that was killed is continued by running it again on the same day.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cli.patience import GaveUp, patiently
from cli.seeding.log_times import LogTimes
from cli.seeding.plan import PlannedMessage, SeedPlan
from tidings import ids
from tidings.broker.base import Admin, Broker, NewRecord, Producer, Reader, TopicPartition
from tidings.errors import Retryable, TidingsError
from tidings.pace import Pace
from tidings.runtime.persister_progress import confirmed_offsets, inbound_partitions, persister_has_passed
from tidings.runtime.start import started
from tidings.topics import MESSAGES_INBOUND, TopicSizes
from tidings.wire.common_pb2 import Stamps

# Commands that are in memory and on their way at the same time: 1 MB.
_CHUNK = 4_000
_APPEND_WITHIN_S = 60.0
_END_WITHIN_S = 30.0
# A persister that commits nothing for so long is not running, or cannot write.
_STORED_WITHIN_S = 60.0
# After Ctrl-C, for the records that are in the log already. Otherwise `--restore` does it later.
_AFTER_A_STOP_S = 10.0
_LOOK_S = 0.25

# The phase (`appended` or `stored`), and how many of all.
Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


class NotSeeded(TidingsError):
    """The data is not as planned. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made, and how long it took until all was in Kafka, and until the persister had confirmed all."""

    commands: int
    appended_s: float
    stored_s: float


@dataclass(frozen=True, slots=True)
class _Parts:
    admin: Admin
    producer: Producer
    reader: Reader
    partitions: int

    @property
    def inbound(self) -> Sequence[TopicPartition]:
        """All partitions."""
        return inbound_partitions(self.partitions)

    async def has_passed(self, within_s: float) -> bool:
        """Whether the persister confirms within this time what is in the log now."""
        return await persister_has_passed(self.admin, self.reader, self.partitions, within_s)


async def seed(
    broker: Broker,
    plan: SeedPlan,
    sizes: TopicSizes,
    *,
    rate: int = 0,
    progress: Progress = lambda _phase, _done, _total: None,
    say: Say = lambda _text: None,
) -> Seeded:
    """Append a plan, at most `rate` commands per second (0: no limit), and wait until the persister has confirmed it.

    The settings of the topic are restored, also after an error or a cancellation. If the persister does not confirm in
    time, only the times are the broker's again, and `say` gets a line about `--restore`.

    Raises NotSeeded and Retryable.
    """
    admin, producer, reader = broker.admin(), broker.producer("seed"), broker.reader("seed")
    async with started(admin, producer, reader):
        parts = _Parts(admin, producer, reader, sizes.session_partitions)
        times = LogTimes(admin, producer, reader, sizes, plan.stamps)
        begun_s = time.monotonic()
        try:
            await _append_with_times(parts, times, plan, rate, progress)
            appended_s = time.monotonic() - begun_s
            await _wait_until_stored(parts, plan.commands_total, progress)
            await times.restore()
        except BaseException:
            await _restore_after_a_stop(parts, times, say)
            raise
        return Seeded(plan.commands_total, appended_s, time.monotonic() - begun_s)


async def restore(broker: Broker, sizes: TopicSizes, stamps: Stamps, at_ms: int) -> bool:
    """Put right what a killed seeder left. Returns whether there was anything. `at_ms`: any time of the past.

    Raises NotSeeded if the persister does not confirm what is in the log, and Retryable.
    """
    admin, producer, reader = broker.admin(), broker.producer("seed"), broker.reader("seed")
    async with started(admin, producer, reader):
        parts = _Parts(admin, producer, reader, sizes.session_partitions)
        times = LogTimes(admin, producer, reader, sizes, stamps)
        await times.end(at_ms)
        if not await parts.has_passed(_STORED_WITHIN_S):
            raise NotSeeded(_not_passed())
        return await times.restore()


async def _append_with_times(parts: _Parts, times: LogTimes, plan: SeedPlan, rate: int, progress: Progress) -> None:
    try:
        await times.begin(plan.starts_at_ms)
        await _append(parts, plan, rate, progress)
        if not await times.are_given():
            raise NotSeeded(
                "another process, such as `tidings init`, has given the log its own times meanwhile, so some messages"
                " have the time of now; seed other users (--prefix)"
            )
    finally:
        await _end(times, plan.starts_at_ms)


async def _end(times: LogTimes, at_ms: int) -> None:
    try:
        await patiently(lambda: times.end(at_ms), server="Kafka", within_s=_END_WITHIN_S, say=lambda _: None)
    except GaveUp as error:
        raise NotSeeded(
            f"messages.inbound still keeps times of the past: {error}. Run `tidings seed --restore` first of all"
        ) from error


async def _append(parts: _Parts, plan: SeedPlan, rate: int, progress: Progress) -> None:
    total, done = plan.commands_total, 0
    pace = Pace(time.monotonic(), rate)
    for chunk in _chunks(plan.commands(), min(_CHUNK, rate) if rate else _CHUNK):
        await patiently(
            lambda chunk=chunk: _append_chunk(parts, chunk),  # type: ignore[misc]
            server="Kafka",
            within_s=_APPEND_WITHIN_S,
            say=lambda _: None,
        )
        done += len(chunk)
        progress("appended", done, total)
        if wait_s := pace.wait_s(len(chunk), time.monotonic()):
            await asyncio.sleep(wait_s)


async def _append_chunk(parts: _Parts, chunk: Sequence[PlannedMessage]) -> None:
    """Append to all partitions at once. If one fails, all are appended again, which is harmless."""
    records: defaultdict[int, list[NewRecord]] = defaultdict(list)
    for planned in chunk:
        partition = ids.partition_of(planned.command.session_id, parts.partitions)
        records[partition].append(NewRecord(planned.command.SerializeToString(), at_ms=planned.at_ms))
    answers = await asyncio.gather(
        *(parts.producer.produce(MESSAGES_INBOUND, partition, some) for partition, some in records.items()),
        return_exceptions=True,
    )
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer


async def _wait_until_stored(parts: _Parts, total: int, progress: Progress) -> None:
    ends = await parts.reader.end_offsets(parts.inbound)
    lag, looked_at_s = -1, time.monotonic()
    while lag:
        confirmed = await confirmed_offsets(parts.admin, parts.inbound)
        before, lag = lag, sum(max(0, end - confirmed.get(name, 0)) for name, end in ends.items())
        progress("stored", max(0, total - lag), total)
        if lag != before:
            looked_at_s = time.monotonic()
        elif time.monotonic() - looked_at_s > _STORED_WITHIN_S:
            raise NotSeeded(_not_passed())
        await asyncio.sleep(_LOOK_S if lag else 0)


async def _restore_after_a_stop(parts: _Parts, times: LogTimes, say: Say) -> None:
    with contextlib.suppress(Retryable):
        if await parts.has_passed(_AFTER_A_STOP_S):
            await times.restore()
            return
    say(_not_passed())


def _not_passed() -> str:
    return (
        "the persister has not confirmed all that is in the log, so the retention of messages.inbound stays off;"
        " when it runs and has caught up, run `tidings seed --restore`"
    )


def _chunks(planned: Iterator[PlannedMessage], size: int) -> Iterator[list[PlannedMessage]]:
    while chunk := list(islice(planned, size)):
        yield chunk
