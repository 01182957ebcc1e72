"""Promises that are hard to keep with aiokafka, and need its inside, or the broker's, to be shown."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from deploy.local.stack import Stack
from tests.contract.broker.conftest import ALL, MARKS, Stage, on_kafka
from tests.contract.broker.watching import Watch, new, read, until, values
from tidings.broker.base import Committed, NewRecord
from tidings.broker.kafka_config import KafkaConfig
from tidings.broker.kafka_consumer import KafkaGroupConsumer
from tidings.broker.kafka_producer import KafkaProducer
from tidings.errors import Backpressure, BrokerUnavailable, ConfigurationError
from tidings.topics import Topic


@pytest.fixture
async def stage(servers: Stack) -> AsyncIterator[Stage]:
    """On Kafka only."""
    stage = on_kafka(servers)
    await stage.prepare()
    yield stage
    await stage.stop()


@pytest.fixture
def config(servers: Stack) -> KafkaConfig:
    """As the stage's."""
    return KafkaConfig(servers.bootstrap)


@pytest.mark.parametrize("task", ["_fetcher._fetch_task", "_coordinator._coordination_task"])
async def test_member_rejoins_after_its_aiokafka_client_fails(stage: Stage, config: KafkaConfig, task: str) -> None:
    producer, watch = await stage.producer(), Watch()
    member = KafkaGroupConsumer(config, "mortal", stage.group)
    stage.started.append(member)
    await member.start(watch)
    await until(lambda: len(watch.held) == ALL, member)
    part, name = task.split(".")
    getattr(getattr(member._consumer, part), name).cancel()
    await producer.produce(stage.left, 0, new("after death"))
    assert values(await read(member, 1)) == ["after death"]
    assert [word for word, _, _ in watch.events] == ["assigned", "revoked", "assigned"]


@pytest.mark.hazard("H23")
async def test_the_broker_refuses_a_commit_of_an_older_generation(stage: Stage, config: KafkaConfig) -> None:
    watch = Watch()
    member = KafkaGroupConsumer(config, "elder", stage.group)
    stage.started.append(member)
    await member.start(watch)
    await until(lambda: len(watch.held) == ALL, member)
    elder = member._membership
    joining = asyncio.create_task(stage.member(Watch(), "younger"))
    await until(joining.done, member)
    await until(lambda: 0 < len(watch.held) < ALL, member)
    assert not await member._joined_offsets().commit(*elder, {stage.at(0): Committed(1, "elder")})
    assert (await member.committed([stage.at(0)]))[stage.at(0)] == Committed(0, MARKS)


async def test_a_record_too_large_for_the_broker_is_refused_for_good(stage: Stage) -> None:
    admin = stage.broker.admin()
    stage.started.append(admin)
    await admin.start()
    narrow = f"narrow-{stage.left}"
    await admin.create_topics([Topic(narrow, 1, {"max.message.bytes": "10000"})], replication=1)
    producer = await stage.producer()
    with pytest.raises(ConfigurationError):
        await producer.produce(narrow, 0, [NewRecord(b"x" * 20_000)])
    assert await producer.produce(narrow, 0, new("small")) == 0


async def test_backpressure_holds_from_the_bound_until_confirmations(config: KafkaConfig) -> None:
    producer = KafkaProducer(replace(config, unconfirmed_records=2), "bounded")
    await producer.start()
    answers = [producer.send("there-is-no-such-topic", 0, *new(text)) for text in "ab"]
    with pytest.raises(Backpressure):
        producer.send("there-is-no-such-topic", 0, *new("c"))
    for answer in answers:
        with pytest.raises(BrokerUnavailable):
            await answer
    assert not producer.send("there-is-no-such-topic", 0, *new("d")).done()
    await producer.stop()


async def test_stop_sends_what_was_handed_over(stage: Stage, config: KafkaConfig) -> None:
    producer = KafkaProducer(config, "last words")
    await producer.start()
    answers = [producer.send(stage.left, 0, *new(str(number))) for number in range(100)]
    await producer.stop()
    assert await asyncio.gather(*answers) == list(range(100))
    with pytest.raises(BrokerUnavailable):
        await producer.send(stage.left, 0, *new("too late"))


async def test_first_offsets_are_not_written_under_living_members(stage: Stage) -> None:
    admin = stage.broker.admin()
    stage.started.append(admin)
    await admin.start()
    group = replace(stage.group, name=f"living-{stage.left}")
    member = stage.broker.group_consumer("living", group)
    stage.started.append(member)
    await member.start(Watch())
    with pytest.raises(BrokerUnavailable):
        await admin.write_first_offsets(group, stage.sizes, MARKS)
