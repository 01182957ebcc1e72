"""`tidings groups`: how far each consumer group has come, partition by partition."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import typer

from cli import composition
from cli.patience import patiently
from cli.screen_text import say
from tidings.broker.base import Broker, Committed, TopicPartition
from tidings.runtime.marks import Marks
from tidings.runtime.reading_settings import read_group
from tidings.runtime.settings import KafkaSettings
from tidings.runtime.start import started
from tidings.topics import GROUPS, Group, TopicSizes, declared

WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One partition of a group: its commit, None if it has none, and the offset after the last record."""

    group: str
    partition: TopicPartition
    commit: Committed | None
    end: int

    @property
    def lag(self) -> int | None:
        """Records that are not confirmed. None without a commit, and if the commit is beyond the end."""
        if self.commit is None or self.commit.offset > self.end:
            return None
        return self.end - self.commit.offset

    @property
    def marks(self) -> Marks | None:
        """The marks of the commit. None if they cannot be read."""
        try:
            return Marks.decoded(self.commit.metadata) if self.commit is not None else None
        except ValueError:
            return None

    @property
    def is_sound(self) -> bool:
        """Whether a worker can start from this commit."""
        return self.lag is not None and self.marks is not None


def groups() -> None:
    """Print commit, end, lag and marks of every partition of the four consumer groups.

    Marks say for each partition of messages.inbound how far a stage has come, as partition:epoch/offset. They come from
    the newest commit, at most a second old while the stage works. Ends with exit code 1 if a partition has no commit,
    unreadable marks, or a commit beyond its end, because no worker can start there.
    """
    settings = read_group(KafkaSettings)
    broker = composition.kafka(settings)
    found = asyncio.run(
        patiently(
            lambda: progress(broker, settings.sizes()),
            server=settings.server,
            within_s=WITHIN_S,
            say=partial(say, is_aside=True),
        )
    )
    for group in GROUPS:
        rows = [row for row in found if row.group == group.name]
        say(f"{group.name}: lag {sum(row.lag or 0 for row in rows)}")
        for row in rows:
            say(f"  {shown(row)}")
    if not all(row.is_sound for row in found):
        raise typer.Exit(1)


async def progress(broker: Broker, sizes: TopicSizes) -> Sequence[Progress]:
    """All partitions of all groups. Raises BrokerUnavailable."""
    admin, reader = broker.admin(), broker.reader("tidings-groups")
    async with started(admin, reader):
        found = []
        for group in GROUPS:
            names = _partitions(group, sizes)
            # Ends after commits, so that no commit is beyond its end only because it is newer.
            commits = await admin.committed(group, names)
            ends = await reader.end_offsets(names)
            found += [Progress(group.name, name, commits.get(name), ends[name]) for name in names]
        return found


def shown(row: Progress) -> str:
    """One line about a partition."""
    place = f"{row.partition.topic} {row.partition.partition}"
    if row.commit is None:
        return f"{place:<22}  no commit: run `tidings init`"
    lag = f"lag {row.lag}" if row.lag is not None else "the commit is beyond the end: the log lost its tail"
    offsets = f"{place:<22}  commit {row.commit.offset}  end {row.end}  {lag}"
    if row.marks is None:
        return f"{offsets}  the marks are not readable"
    marks = (f"{number}:{epoch}/{offset}" for number, (epoch, offset, _) in sorted(row.marks.highest().items()))
    return f"{offsets}  marks {' '.join(marks) or 'none'}"


def _partitions(group: Group, sizes: TopicSizes) -> Sequence[TopicPartition]:
    counts = {topic.name: topic.partitions for topic in declared(sizes)}
    return [TopicPartition(topic, number) for topic in group.topics for number in range(counts[topic])]
