"""Every error code of a coordinator's answer is looked at (H18)."""

import pytest
from aiokafka.errors import CoordinatorLoadInProgressError, KafkaError, UnknownTopicOrPartitionError
from aiokafka.protocol.commit import OffsetCommitResponse_v3, OffsetFetchResponse_v1, OffsetFetchResponse_v3

from tidings.broker.base import Committed, TopicPartition
from tidings.broker.kafka_offsets import GroupOffsets
from tidings.errors import BrokerUnavailable

LOADING, NOT_COORDINATOR, UNKNOWN_TOPIC, ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING = 14, 16, 3, 22, 25, 27
ZERO, ONE = TopicPartition("t", 0), TopicPartition("t", 1)


class Coordinator:
    """Stands for aiokafka's client; gives the answers it was made with."""

    def __init__(self, *answers: object) -> None:
        self.lookups = 0
        self._answers = list(answers)

    async def coordinator_lookup(self, kind: object, group: str) -> int:
        self.lookups += 1
        return 1

    async def send(self, node: int, request: object, group: object) -> object:
        return self._answers.pop(0)


def fetched(*rows: tuple[int, int, str, int], error: int = 0) -> OffsetFetchResponse_v3:
    return OffsetFetchResponse_v3(0, [("t", list(rows))], error)


def committed(error: int) -> OffsetCommitResponse_v3:
    return OffsetCommitResponse_v3(0, [("t", [(0, error)])])


async def test_offset_and_metadata_come_from_one_answer() -> None:
    offsets = GroupOffsets(Coordinator(fetched((0, 7, "marks", 0), (1, 0, "none", 0))), "g")
    assert await offsets.fetch([ZERO, ONE]) == {ZERO: Committed(7, "marks"), ONE: Committed(0, "none")}


async def test_a_partition_without_a_commit_is_left_out() -> None:
    offsets = GroupOffsets(Coordinator(fetched((0, -1, "", 0), (1, 3, "m", 0))), "g")
    assert await offsets.fetch([ZERO, ONE]) == {ONE: Committed(3, "m")}


@pytest.mark.hazard("H18")
async def test_loading_coordinator_with_empty_rows_is_an_error() -> None:
    client = Coordinator(fetched((0, -1, "", 0), error=LOADING), fetched((0, 5, "m", 0)))
    offsets = GroupOffsets(client, "g")
    with pytest.raises(CoordinatorLoadInProgressError):
        await offsets.fetch([ZERO])
    assert await offsets.fetch([ZERO]) == {ZERO: Committed(5, "m")}
    assert client.lookups == 2


async def test_an_error_of_one_partition_is_an_error() -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        await GroupOffsets(Coordinator(fetched((0, 5, "m", 0), (1, -1, "", UNKNOWN_TOPIC))), "g").fetch([ZERO, ONE])


async def test_a_partition_that_the_answer_leaves_out_is_an_error() -> None:
    with pytest.raises(BrokerUnavailable):
        await GroupOffsets(Coordinator(fetched((0, 5, "m", 0))), "g").fetch([ZERO, ONE])


async def test_answer_for_both_loading_and_new_is_an_error() -> None:
    with pytest.raises(BrokerUnavailable):
        await GroupOffsets(Coordinator(OffsetFetchResponse_v1([("t", [(0, 5, "m", 0)])])), "g").fetch([ZERO])


@pytest.mark.parametrize("code", [ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING])
async def test_ended_membership_commits_nothing(code: int) -> None:
    assert not await GroupOffsets(Coordinator(committed(code)), "g").commit("m", 1, {ZERO: Committed(1, "")})


@pytest.mark.parametrize("code", [LOADING, NOT_COORDINATOR, -1])
async def test_any_other_error_of_a_commit_is_raised(code: int) -> None:
    with pytest.raises(KafkaError):
        await GroupOffsets(Coordinator(committed(code)), "g").commit("m", 1, {ZERO: Committed(1, "")})


async def test_the_coordinator_is_looked_up_once_while_it_answers() -> None:
    client = Coordinator(committed(0), committed(0))
    offsets = GroupOffsets(client, "g")
    for _ in range(2):
        assert await offsets.commit("m", 1, {ZERO: Committed(1, "")})
    assert client.lookups == 1
