"""Producer, Reader and Admin: what base.py promises, on every adapter."""

import asyncio
import time

import pytest

from tests.contract.broker.conftest import MARKS, Stage
from tests.contract.broker.watching import new, read, values
from tidings.broker.base import Committed, NewRecord, TopicPartition
from tidings.errors import BrokerUnavailable, ConfigurationError
from tidings.topics import Topic


async def test_produce_answers_the_first_offset_and_broker_sets_time(stage: Stage) -> None:
    producer, reader = await stage.producer(), await stage.reader()
    before_ms = time.time() * 1000
    assert await producer.produce(stage.left, 0, new("a", "b")) == 0
    assert await producer.produce(stage.left, 0, new("c")) == 2
    reader.assign({stage.at(0): 0})
    records = await read(reader, 3)
    assert values(records) == ["a", "b", "c"]
    assert [record.key for record in records] == [b"k"] * 3
    assert all(before_ms - 1000 <= record.at_ms <= time.time() * 1000 + 1000 for record in records)


async def test_more_than_one_batch_keeps_its_order(stage: Stage) -> None:
    producer, reader = await stage.producer(), await stage.reader()
    many = [NewRecord(f"{number:05d}".encode() + b"x" * 2_000) for number in range(500)]
    assert await producer.produce(stage.left, 0, many) == 0
    reader.assign({stage.at(0): 0})
    assert [record.value for record in await read(reader, 500)] == [record.value for record in many]


async def test_tombstones_and_records_without_key_come_back_unchanged(stage: Stage) -> None:
    producer, reader = await stage.producer(), await stage.reader()
    await producer.produce(stage.left, 0, [NewRecord(None, b"gone"), NewRecord(b"", None)])
    reader.assign({stage.at(0): 0})
    assert [(record.key, record.value) for record in await read(reader, 2)] == [(b"gone", None), (None, b"")]


@pytest.mark.promise("G5")
async def test_send_keeps_the_order_of_the_calls(stage: Stage) -> None:
    producer, reader = await stage.producer(), await stage.reader()
    answers = [producer.send(stage.left, number % 2, *new(str(number))) for number in range(1000)]
    offsets = await asyncio.gather(*answers)
    assert offsets == [number // 2 for number in range(1000)]
    reader.assign({stage.at(0): 0, stage.at(1): 0})
    records = await read(reader, 1000)
    for partition in (0, 1):
        mine = [record for record in records if record.partition == partition]
        assert values(mine) == [str(number) for number in range(partition, 1000, 2)]


async def test_a_record_larger_than_a_batch_is_carried(stage: Stage) -> None:
    producer, reader = await stage.producer(), await stage.reader()
    large = b"x" * (600 * 1024)
    await producer.produce(stage.left, 0, [NewRecord(large), NewRecord(b"after")])
    reader.assign({stage.at(0): 0})
    assert [record.value for record in await read(reader, 2)] == [large, b"after"]


async def test_a_record_above_the_limit_is_refused_for_good(stage: Stage) -> None:
    producer = await stage.producer()
    too_large = NewRecord(b"x" * (3 * 1024 * 1024))
    with pytest.raises(ConfigurationError):
        await producer.produce(stage.left, 0, [too_large])
    with pytest.raises(ConfigurationError):
        await producer.send(stage.left, 0, too_large)
    assert await producer.produce(stage.left, 0, new("small")) == 0


async def test_after_an_error_the_producer_works_again(stage: Stage) -> None:
    producer = await stage.producer()
    with pytest.raises(BrokerUnavailable):
        await producer.produce("there-is-no-such-topic", 0, new("a"))
    assert await producer.produce(stage.left, 0, new("a")) == 0
    with pytest.raises(BrokerUnavailable):
        await producer.send("there-is-no-such-topic", 0, *new("a"))
    assert await producer.send(stage.left, 0, *new("b")) == 1


async def test_a_reader_continues_and_restarts_at_the_log_start(stage: Stage) -> None:
    producer, reader = await stage.producer(), await stage.reader()
    await producer.produce(stage.left, 0, new("a", "b", "c"))
    await producer.produce(stage.left, 1, new("x", "y"))
    reader.assign({stage.at(0): 1})
    assert values(await read(reader, 2)) == ["b", "c"]
    assert reader.position(stage.at(0)) == 3
    reader.assign({stage.at(0): -1, stage.at(1): 0})
    await producer.produce(stage.left, 0, new("d"))
    assert sorted(values(await read(reader, 3))) == ["d", "x", "y"]
    await stage.delete_before(stage.at(1), 1)
    reader.assign({stage.at(1): 0})
    assert values(await read(reader, 1)) == ["y"]


async def test_reader_returns_beginning_and_end_offsets(stage: Stage) -> None:
    producer, reader = await stage.producer(), await stage.reader()
    await producer.produce(stage.left, 0, new("a", "b", "c"))
    await stage.delete_before(stage.at(0), 2)
    names = [stage.at(0), stage.at(1)]
    assert await reader.beginning_offsets(names) == {stage.at(0): 2, stage.at(1): 0}
    assert await reader.end_offsets(names) == {stage.at(0): 3, stage.at(1): 0}


async def test_the_admin_creates_only_what_is_missing(stage: Stage) -> None:
    admin = stage.broker.admin()
    stage.started.append(admin)
    await admin.start()
    again = Topic(stage.left, 5, {})
    fresh = Topic(f"fresh-{stage.left}", 3, {"cleanup.policy": "compact"})
    assert await admin.create_topics([again, fresh], replication=1) == [fresh.name]
    assert await admin.partition_counts([stage.left, fresh.name, "missing"]) == {stage.left: 5, fresh.name: 3}


async def test_settings_of_a_topic_are_replaced_as_a_whole(stage: Stage) -> None:
    admin = stage.broker.admin()
    stage.started.append(admin)
    await admin.start()
    assert await admin.topic_settings(stage.left) == {"message.timestamp.type": "LogAppendTime"}
    await admin.replace_topic_settings(stage.left, {"retention.ms": "-1", "segment.ms": "1000"})
    assert await admin.topic_settings(stage.left) == {"retention.ms": "-1", "segment.ms": "1000"}
    await admin.replace_topic_settings(stage.left, {"message.timestamp.type": "LogAppendTime"})
    assert await admin.topic_settings(stage.left) == {"message.timestamp.type": "LogAppendTime"}
    with pytest.raises(BrokerUnavailable):
        await admin.topic_settings("there-is-no-such-topic")
    with pytest.raises(BrokerUnavailable):
        await admin.replace_topic_settings("there-is-no-such-topic", {})


async def test_given_times_count_only_while_a_topic_keeps_them(stage: Stage) -> None:
    admin, producer, reader = stage.broker.admin(), await stage.producer(), await stage.reader()
    stage.started.append(admin)
    await admin.start()
    reader.assign({stage.at(0): 0})
    before_ms = time.time() * 1000 - 1000
    past = NewRecord(b"v", b"k", at_ms=1_700_000_000_123)
    await producer.produce(stage.left, 0, [past])
    (record,) = await read(reader, 1)
    assert record.at_ms > before_ms
    await admin.replace_topic_settings(stage.left, {"message.timestamp.type": "CreateTime", "retention.ms": "-1"})
    async with asyncio.timeout(10):
        while record.at_ms != past.at_ms:
            await producer.produce(stage.left, 0, [past])
            (record,) = await read(reader, 1)
    await producer.produce(stage.left, 0, new("without a time"))
    (record,) = await read(reader, 1)
    assert record.at_ms > before_ms


async def test_first_offsets_are_written_once_and_never_over_a_commit(stage: Stage) -> None:
    admin = stage.broker.admin()
    stage.started.append(admin)
    await admin.start()
    assert await admin.write_first_offsets(stage.group, stage.sizes, "others") == []
    half = stage.group.__class__(f"half-{stage.group.name}", (stage.left,))
    assert await admin.committed(half, [stage.at(0)]) == {}
    assert set(await admin.write_first_offsets(half, {stage.left: 2}, "half")) == {stage.at(0), stage.at(1)}
    assert set(await admin.write_first_offsets(half, {stage.left: 4}, "rest")) == {stage.at(2), stage.at(3)}
    found = await admin.committed(half, [stage.at(number) for number in range(4)])
    assert [found[stage.at(number)] for number in range(4)] == [Committed(0, "half")] * 2 + [Committed(0, "rest")] * 2
    found = await admin.committed(stage.group, [stage.at(0), TopicPartition(stage.right, 3)])
    assert set(found.values()) == {Committed(0, MARKS)}
