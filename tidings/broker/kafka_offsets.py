"""A group's committed offsets and metadata in one answer, with every error code checked (H18).

aiokafka's own methods do not suffice. `committed` loses the metadata, and
`list_consumer_group_offsets` ignores the error code of the answer. `commit`
retries without end and commits under a newer generation than the caller's.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import IllegalGenerationError, KafkaError, RebalanceInProgressError, UnknownMemberIdError, for_code
from aiokafka.protocol.api import Request, Response
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest

from tidings.broker.base import Committed, TopicPartition
from tidings.errors import BrokerUnavailable

_NO_OFFSET = -1
_MEMBERSHIP_IS_OVER = (IllegalGenerationError, UnknownMemberIdError, RebalanceInProgressError)


class GroupOffsets:
    """The committed offsets of one group, through an aiokafka client. The caller bounds the time."""

    def __init__(self, client: AIOKafkaClient, group: str) -> None:
        self._client = client
        self._group = group
        self._coordinator: int | None = None

    async def fetch(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """The partitions that have a commit. Raises KafkaError or BrokerUnavailable unless this is certain for all."""
        wanted = _by_topic({name: name.partition for name in partitions})
        answer = await self._ask(OffsetFetchRequest(self._group, wanted))
        if answer.API_VERSION < 2:
            raise BrokerUnavailable("the broker is too old to say whether its coordinator is loading")
        self._check(answer.error_code)
        found, asked = {}, set(partitions)
        for topic, rows in answer.topics:
            for partition, offset, metadata, error_code in rows:
                self._check(error_code)
                asked.discard(TopicPartition(topic, partition))
                if offset != _NO_OFFSET:
                    found[TopicPartition(topic, partition)] = Committed(offset, metadata)
        if asked:
            raise BrokerUnavailable(f"the coordinator's answer leaves out {sorted(asked)}")
        return found

    async def commit(self, member_id: str, generation: int, positions: Mapping[TopicPartition, Committed]) -> bool:
        """False if the broker answers that this membership is over. Raises KafkaError for any other error."""
        rows = {name: (name.partition, place.offset, place.metadata) for name, place in positions.items()}
        request = OffsetCommitRequest(
            self._group, generation, member_id, OffsetCommitRequest.DEFAULT_RETENTION_TIME, _by_topic(rows)
        )
        answer = await self._ask(request)
        try:
            for _, results in answer.topics:
                for _, error_code in results:
                    self._check(error_code)
        except _MEMBERSHIP_IS_OVER:
            return False
        return True

    async def _ask(self, request: Request) -> Response:
        try:
            if self._coordinator is None:
                self._coordinator = await self._client.coordinator_lookup(CoordinationType.GROUP, self._group)
            return await self._client.send(self._coordinator, request, group=ConnectionGroup.COORDINATION)
        except BaseException:
            self._coordinator = None
            raise

    def _check(self, error_code: int) -> None:
        error = for_code(error_code)
        if error_code:
            self._coordinator = None
            raise error(f"group {self._group}") if issubclass(error, KafkaError) else KafkaError(error_code)


def _by_topic(rows: Mapping[TopicPartition, object]) -> list[tuple[str, Sequence[object]]]:
    topics: dict[str, list[object]] = defaultdict(list)
    for name, row in rows.items():
        topics[name.topic].append(row)
    return list(topics.items())
