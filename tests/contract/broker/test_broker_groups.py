"""GroupConsumer: what base.py promises, on every adapter."""

import asyncio

import pytest

from tests.contract.broker.conftest import ALL, MARKS, Stage
from tests.contract.broker.watching import PATIENCE_S, Watch, new, read, until, values
from tidings.broker.base import Committed, Record, TopicPartition
from tidings.errors import BrokerUnavailable, PositionOutOfRange
from tidings.topics import Group


async def test_a_lone_member_is_assigned_and_reads_every_partition(stage: Stage) -> None:
    producer, watch = await stage.producer(), Watch()
    member = await stage.member(watch)
    await until(lambda: len(watch.held) == ALL, member)
    await producer.produce(stage.left, 1, new("a", "b"))
    records = await read(member, 2)
    assert values(records) == ["a", "b"]
    assert [(record.topic, record.partition, record.offset) for record in records] == [
        (stage.left, 1, 0),
        (stage.left, 1, 1),
    ]


async def test_small_polls_keep_partition_order_and_skip_nothing(stage: Stage) -> None:
    producer, member = await stage.producer(), await stage.member(Watch())
    for partition in range(4):
        await producer.produce(stage.left, partition, new(*(str(number) for number in range(50))))
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(records) < 200:
            some = await member.poll(7, timeout_ms=200)
            assert len(some) <= 7
            records += some
    for partition in range(4):
        assert [record.offset for record in records if record.partition == partition] == list(range(50))


async def test_a_second_member_takes_half_and_two_topics_stay_together(stage: Stage) -> None:
    one, two = Watch(), Watch()
    first = await stage.member(one, "one")
    await until(lambda: len(one.held) == ALL, first)
    joining = asyncio.create_task(stage.member(two, "two"))
    await until(joining.done, first)
    second = joining.result()
    await until(lambda: bool(one.held and two.held), first, second)
    assert not one.held & two.held
    assert len(one.held) + len(two.held) == ALL
    for watch in (one, two):
        left = {partition for topic, partition in watch.held if topic == stage.left}
        assert left == {partition for topic, partition in watch.held if topic == stage.right}


async def test_a_rebalance_revokes_all_and_assigns_at_a_higher_epoch(stage: Stage) -> None:
    one = Watch()
    first = await stage.member(one, "one")
    await until(lambda: len(one.held) == ALL, first)
    joining = asyncio.create_task(stage.member(Watch(), "two"))
    await until(joining.done, first)
    await until(lambda: 0 < len(one.held) < ALL, first, joining.result())
    words = [word for word, _, _ in one.events]
    assert words == ["assigned", "revoked"] * (len(words) // 2) + ["assigned"]
    for given, taken, again in zip(one.events[::2], one.events[1::2], one.events[2::2], strict=False):
        assert given[1:] == taken[1:]
        assert again[1] > given[1]


async def test_stopping_member_is_revoked_and_others_take_over(stage: Stage) -> None:
    one, two = Watch(), Watch()
    first = await stage.member(one, "one")
    joining = asyncio.create_task(stage.member(two, "two"))
    await until(joining.done, first)
    second = joining.result()
    await until(lambda: bool(one.held and two.held), first, second)
    await second.stop()
    assert two.events[-1] == ("revoked", two.events[-2][1], two.events[-2][2])
    await until(lambda: len(one.held) == ALL, first)


async def test_new_member_continues_from_offset_and_metadata(stage: Stage) -> None:
    producer, watch = await stage.producer(), Watch()
    member = await stage.member(watch)
    await until(lambda: len(watch.held) == ALL, member)
    await producer.produce(stage.left, 0, new("a", "b", "c"))
    assert await member.commit(watch.epoch, {stage.at(0): Committed(2, "marks:b")})
    found = await member.committed([stage.at(0), stage.at(1)])
    assert found == {stage.at(0): Committed(2, "marks:b"), stage.at(1): Committed(0, MARKS)}
    await member.stop()
    assert values(await read(await stage.member(Watch()), 1)) == ["c"]


@pytest.mark.hazard("H23")
async def test_a_commit_of_an_older_epoch_is_dropped(stage: Stage) -> None:
    watch = Watch()
    member = await stage.member(watch)
    await until(lambda: len(watch.held) == ALL, member)
    assert not await member.commit(watch.epoch - 1, {stage.at(0): Committed(1, "stale")})
    assert await member.committed([stage.at(0)]) == {stage.at(0): Committed(0, MARKS)}


async def test_a_commit_is_taken_while_partitions_are_revoked(stage: Stage) -> None:
    outcomes = []

    class LastCommit(Watch):
        async def revoked(self, epoch: int, partitions: object) -> None:
            outcomes.append(await member.commit(epoch, {stage.at(3): Committed(0, "last word")}))

    watch = LastCommit()
    member = await stage.member(watch)
    await until(lambda: len(watch.held) == ALL, member)
    await member.stop()
    assert outcomes == [True]
    admin = stage.broker.admin()
    await admin.start()
    stage.started.append(admin)
    assert await admin.committed(stage.group, [stage.at(3)]) == {stage.at(3): Committed(0, "last word")}
    assert not await member.commit(watch.epoch, {stage.at(3): Committed(0, "too late")})


async def test_a_group_without_first_offsets_is_an_error(stage: Stage) -> None:
    group = Group(f"unknown-{stage.left}", (stage.left,))
    member = stage.broker.group_consumer("lost", group)
    stage.started.append(member)
    await member.start(Watch())
    with pytest.raises(BrokerUnavailable):
        await member.committed([stage.at(0)])
    producer = await stage.producer()
    await producer.produce(stage.left, 0, new("a", "b"))
    for _ in range(10):
        assert await member.poll(500, timeout_ms=50) == []
    member.seek(stage.at(0), 1)
    assert values(await read(member, 1)) == ["b"]


async def test_a_sought_position_is_read_and_nothing_fetched_before(stage: Stage) -> None:
    producer, watch = await stage.producer(), Watch()
    await producer.produce(stage.left, 2, new("a", "b", "c", "d"))
    member = await stage.member(watch)
    assert values(await read(member, 4)) == ["a", "b", "c", "d"]
    member.seek(stage.at(2), 1)
    assert values(await read(member, 3)) == ["b", "c", "d"]
    member.seek(stage.at(2), 3)
    await producer.produce(stage.left, 2, new("e"))
    assert values(await read(member, 2)) == ["d", "e"]


async def test_seeking_what_is_not_assigned_does_nothing(stage: Stage) -> None:
    member = await stage.member(Watch())
    member.seek(TopicPartition("nobody-reads-this", 0), 5)


async def test_a_paused_partition_is_silent_and_loses_nothing(stage: Stage) -> None:
    producer, watch = await stage.producer(), Watch()
    member = await stage.member(watch)
    await until(lambda: len(watch.held) == ALL, member)
    member.pause([stage.at(0)])
    await producer.produce(stage.left, 0, new("held back"))
    await producer.produce(stage.left, 1, new("free"))
    assert values(await read(member, 1)) == ["free"]
    assert values(await member.poll(500, timeout_ms=300)) == []
    member.resume([stage.at(0)])
    assert values(await read(member, 1)) == ["held back"]


async def test_a_position_out_of_range_is_reported_once(stage: Stage) -> None:
    producer, watch = await stage.producer(), Watch()
    for partition in (0, 1):
        await producer.produce(stage.left, partition, new("a", "b", "c"))
    await stage.delete_before(stage.at(0), 2)
    member = await stage.member(watch)
    seen: list[str] = []
    with pytest.raises(PositionOutOfRange) as caught:
        await read(member, 100, seen)
    assert caught.value.partitions == (stage.at(0),)
    await producer.produce(stage.left, 1, new("d"))
    await read(member, 4 - len(seen), seen)
    assert seen == ["a", "b", "c", "d"]
    member.seek(stage.at(0), 2)
    assert values(await read(member, 1)) == ["c"]


async def test_a_position_beyond_the_end_is_out_of_range_too(stage: Stage) -> None:
    watch = Watch()
    member = await stage.member(watch)
    await until(lambda: len(watch.held) == ALL, member)
    member.seek(stage.at(0), 17)
    with pytest.raises(PositionOutOfRange) as caught:
        await read(member, 1)
    assert caught.value.partitions == (stage.at(0),)


async def test_end_offsets_are_those_after_the_last_record(stage: Stage) -> None:
    producer, member = await stage.producer(), await stage.member(Watch())
    await producer.produce(stage.left, 0, new("a", "b"))
    assert await member.end_offsets([stage.at(0), stage.at(1)]) == {stage.at(0): 2, stage.at(1): 0}


async def test_an_exception_of_a_callback_comes_out_of_poll(stage: Stage) -> None:
    class Broken(Watch):
        async def assigned(self, epoch: int, partitions: object) -> None:
            raise RuntimeError("the worker is broken")

    member = await stage.member(Broken())
    with pytest.raises(RuntimeError, match="the worker is broken"):
        await read(member, 1)


async def test_records_may_come_before_assigned_returns(stage: Stage) -> None:
    producer, gate = await stage.producer(), asyncio.Event()
    await producer.produce(stage.left, 0, new("early"))

    class Slow(Watch):
        async def assigned(self, epoch: int, partitions: object) -> None:
            await gate.wait()

    member = await stage.member(Slow())
    try:
        assert values(await read(member, 1)) == ["early"]
    finally:
        gate.set()


async def test_a_group_on_a_missing_topic_cannot_start(stage: Stage) -> None:
    member = stage.broker.group_consumer("lost", Group("nobody", ("there-is-no-such-topic",)))
    stage.started.append(member)
    with pytest.raises(BrokerUnavailable, match="tidings init"):
        await member.start(Watch())
