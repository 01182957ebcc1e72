"""`tidings seed` over the memory broker: what it appends, and that it always restores the settings of the topic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from cli.seeding import seeder
from cli.seeding.log_times import LogTimes, inbound
from cli.seeding.plan import SeedPlan, SeedSizes
from cli.seeding.seeder import NotSeeded, restore, seed
from tidings.broker.base import Committed, NewRecord, TopicPartition
from tidings.broker.memory import MemoryAdmin, MemoryBroker, MemoryProducer
from tidings.codec import decode_command
from tidings.errors import BrokerUnavailable
from tidings.runtime.initialise import initialise
from tidings.runtime.settings import LimitSettings
from tidings.topics import MESSAGES_INBOUND, PERSISTER, TopicSizes
from tidings.wire.inbound_pb2 import Command

SIZES = TopicSizes(4, 3, 2)
DECLARED = dict(inbound(SIZES).settings)
NAMES = [TopicPartition(MESSAGES_INBOUND, number) for number in range(4)]


def plan() -> SeedPlan:
    return SeedPlan(
        SeedSizes(months=4, sessions=8, groups=2, messages=300, users=10), LimitSettings(), 1_796_085_600_000
    )


@pytest.fixture
async def broker() -> MemoryBroker:
    """A deployment after `tidings init`."""
    broker = MemoryBroker()
    await initialise(broker.admin(), SIZES, 1)
    return broker


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for a persister that does not run are short."""
    for name, seconds in {"_AFTER_A_STOP_S": 2.0, "_STORED_WITHIN_S": 0.3, "_LOOK_S": 0.01}.items():
        monkeypatch.setattr(seeder, name, seconds)


@asynccontextmanager
async def persister(broker: MemoryBroker) -> AsyncIterator[None]:
    """Commits what is in the log, as the persister does."""

    async def run() -> None:
        while True:
            for name in NAMES:
                broker.group(PERSISTER).commits[name] = Committed(broker.partition(name).end_offset, "")
            await asyncio.sleep(0)

    task = asyncio.create_task(run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def settings_of(broker: MemoryBroker) -> dict[str, str]:
    return dict(broker.log.settings(MESSAGES_INBOUND))


def commands_of(broker: MemoryBroker) -> list[tuple[int, Command]]:
    """All commands with their log time, without those that do nothing."""
    found = [(record.at_ms, decode_command(record.value)) for record in broker.records(MESSAGES_INBOUND)]
    return [(at_ms, command) for at_ms, command in found if not command.HasField("close_segment")]


async def first_command(broker: MemoryBroker) -> None:
    """Wait until the seeder has appended something."""
    async with asyncio.timeout(5):
        while not commands_of(broker):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_seed_appends_the_plan_with_its_times(broker: MemoryBroker) -> None:
    chosen = plan()
    seen: list[tuple[str, int, int]] = []
    async with persister(broker):
        done = await seed(broker, chosen, SIZES, progress=lambda *step: seen.append(step))
    found = commands_of(broker)
    assert done.commands == chosen.commands_total == len(found)
    for session in chosen.sessions:
        mine = [(at_ms, command) for at_ms, command in found if command.session_id == session.session_id]
        assert mine == [(one.at_ms, one.command) for one in chosen.messages_of(session)]
    assert ("appended", 306, 306) in seen
    assert seen[-1] == ("stored", 306, 306)
    assert settings_of(broker) == DECLARED


async def test_seed_keeps_an_operators_own_settings(broker: MemoryBroker) -> None:
    own = {**DECLARED, "compression.type": "zstd"}
    await broker.admin().replace_topic_settings(MESSAGES_INBOUND, own)
    async with persister(broker):
        await seed(broker, plan(), SIZES)
    assert settings_of(broker) == own


async def test_cancelled_seeder_restores_the_settings(broker: MemoryBroker) -> None:
    async with persister(broker):
        task = asyncio.create_task(seed(broker, plan(), SIZES, rate=1))
        await first_command(broker)
        assert settings_of(broker)["message.timestamp.type"] == "CreateTime"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert settings_of(broker) == DECLARED
    assert len(commands_of(broker)) == 1


class _FailingProducer(MemoryProducer):
    """Appends the commands that do nothing, and fails at all others."""

    async def produce(self, topic: str, partition: int, records: list[NewRecord]) -> int:  # type: ignore[override]
        if not Command.FromString(records[0].value or b"").HasField("close_segment"):
            raise BrokerUnavailable("away")
        return await super().produce(topic, partition, records)


class _FailingBroker(MemoryBroker):
    def producer(self, client_id: str) -> MemoryProducer:
        return _FailingProducer(self.log)


async def test_failed_seeder_restores_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeder, "_APPEND_WITHIN_S", 0.5)
    broker = _FailingBroker()
    await initialise(broker.admin(), SIZES, 1)
    async with persister(broker):
        with pytest.raises(Exception, match="away"):
            await seed(broker, plan(), SIZES)
    assert settings_of(broker) == DECLARED


async def test_retention_stays_off_until_the_persister_has_passed(broker: MemoryBroker) -> None:
    said: list[str] = []
    with pytest.raises(NotSeeded, match="tidings seed --restore"):
        await seed(broker, plan(), SIZES, say=said.append)
    assert "tidings seed --restore" in said[0]
    assert settings_of(broker)["message.timestamp.type"] == "LogAppendTime"
    assert settings_of(broker)["retention.ms"] == "-1"
    with pytest.raises(NotSeeded):
        await restore(broker, SIZES, plan().stamps, 5)
    async with persister(broker):
        assert await restore(broker, SIZES, plan().stamps, 5)
        assert not await restore(broker, SIZES, plan().stamps, 5)
    assert settings_of(broker) == DECLARED


async def _killed(broker: MemoryBroker) -> None:
    """What a killed seeder leaves."""
    times = LogTimes(broker.admin(), broker.producer("seed"), broker.reader("seed"), SIZES, plan().stamps)
    await times.begin(5)


async def test_init_ends_the_times_of_a_killed_seeder(broker: MemoryBroker) -> None:
    await _killed(broker)
    done = await initialise(broker.admin(), SIZES, 1)
    assert "run `tidings seed --restore`" in done.lines()[-1]
    assert settings_of(broker)["message.timestamp.type"] == "LogAppendTime"
    assert settings_of(broker)["retention.ms"] == "-1"
    assert len((await initialise(broker.admin(), SIZES, 1)).lines()) == 2


async def test_second_run_restores_what_a_killed_seeder_left(broker: MemoryBroker) -> None:
    await _killed(broker)
    async with persister(broker):
        await seed(broker, plan(), SIZES)
    assert settings_of(broker) == DECLARED


async def test_seed_fails_if_init_ends_its_times_meanwhile(broker: MemoryBroker) -> None:
    async with persister(broker):
        task = asyncio.create_task(seed(broker, plan(), SIZES, rate=300))
        await first_command(broker)
        await initialise(broker.admin(), SIZES, 1)
        with pytest.raises(NotSeeded, match="--prefix"):
            await task
    assert settings_of(broker) == DECLARED


async def test_seeder_that_cannot_end_its_times_says_so(broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeder, "_END_WITHIN_S", 0.5)

    async def away(*_: object) -> None:
        raise BrokerUnavailable("away")

    task = asyncio.create_task(seed(broker, plan(), SIZES, rate=300))
    await first_command(broker)
    monkeypatch.setattr(MemoryAdmin, "replace_topic_settings", away)
    with pytest.raises(NotSeeded, match="Run `tidings seed --restore`"):
        await task
