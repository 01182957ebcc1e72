"""Admin on aiokafka."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidConfigurationError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    InvalidTopicError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from tidings.broker.base import Committed, TopicPartition
from tidings.broker.kafka_config import KafkaConfig, unavailable
from tidings.broker.kafka_offsets import GroupOffsets
from tidings.errors import BrokerUnavailable, ConfigurationError
from tidings.topics import Group, Topic

_Answer = TypeVar("_Answer")
_NO_GENERATION = -1
# The source of a setting that the topic itself has (DescribeConfigs).
_TOPICS_OWN = 1
_PAUSE_S = 0.05
# A new cluster creates its offsets topic at the first request, and answers when that topic is ready.
_COORDINATOR_PATIENCE_S = 30.0


class KafkaAdmin:
    """Implements Admin."""

    def __init__(self, config: KafkaConfig, client_id: str = "tidings-admin") -> None:
        self._config = config
        self._admin: AIOKafkaAdminClient | None = None
        self._client_id = client_id

    async def start(self) -> None:
        self._admin = AIOKafkaAdminClient(**self._config.client_settings(self._client_id))
        await self._bounded("connect", self._admin.start())

    async def stop(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def create_topics(self, topics: Sequence[Topic], replication: int) -> Sequence[str]:
        """Returns when every partition has a leader. Raises ConfigurationError if the broker refuses a topic."""
        there = await self.partition_counts([topic.name for topic in topics])
        missing = [topic for topic in topics if topic.name not in there]
        wanted = [NewTopic(each.name, each.partitions, replication, topic_configs=each.settings) for each in missing]
        created = []
        if wanted:
            answer = await self._bounded("create topics", self._started().create_topics(wanted))
            for name, error_code, text in (row[:3] for row in answer.topic_errors):
                if self._is_created(name, error_code, text):
                    created.append(name)
        await self._wait_for_leaders([topic.name for topic in topics])
        return created

    async def partition_counts(self, names: Collection[str]) -> Mapping[str, int]:
        return {name: len(rows) for name, rows in (await self._describe(names)).items()}

    async def write_first_offsets(
        self, group: Group, sizes: Mapping[str, int], metadata: str
    ) -> Sequence[TopicPartition]:
        """Raises BrokerUnavailable also for a group with members but no commits, because it cannot be written to."""
        offsets = GroupOffsets(self._started()._client, group.name)
        wanted = [TopicPartition(topic, number) for topic in group.topics for number in range(sizes[topic])]
        there = await self._patiently("read committed offsets", lambda: offsets.fetch(wanted))
        missing = [name for name in wanted if name not in there]
        if missing:
            first = {name: Committed(0, metadata) for name in missing}
            commit = partial(offsets.commit, "", _NO_GENERATION, first)
            if not await self._patiently("write first offsets", commit):
                raise BrokerUnavailable(f"{group.name} has members; stop them, and write its first offsets again")
        return missing

    async def committed(
        self, group: Group, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        offsets = GroupOffsets(self._started()._client, group.name)
        return await self._patiently("read committed offsets", lambda: offsets.fetch(partitions))

    async def topic_settings(self, name: str) -> Mapping[str, str]:
        return dict(await self._own_settings(name))

    async def replace_topic_settings(self, name: str, settings: Mapping[str, str]) -> None:
        asked = ConfigResource(ConfigResourceType.TOPIC, name, dict(settings))
        (answer,) = await self._bounded("change a topic", self._started().alter_configs([asked]))
        error_code, text = answer.resources[0][:2]
        error = for_code(error_code)
        if error in (InvalidConfigurationError, InvalidRequestError):
            raise ConfigurationError(f"the broker refuses settings of {name}: {text or error.__name__}")
        if error_code:
            raise BrokerUnavailable(f"settings of {name} were not changed: {text or error.__name__}")
        # The controller has confirmed the change. Each broker applies it when it has read it.
        deadline = asyncio.get_running_loop().time() + self._config.request_timeout_s
        while await self._own_settings(name) != dict(settings):
            if asyncio.get_running_loop().time() > deadline:
                raise BrokerUnavailable(f"the broker does not show the new settings of {name} yet")
            await asyncio.sleep(_PAUSE_S)

    async def _own_settings(self, name: str) -> dict[str, str]:
        asked = ConfigResource(ConfigResourceType.TOPIC, name)
        (answer,) = await self._bounded("read a topic's settings", self._started().describe_configs([asked]))
        error_code, text, _type, _name, entries = answer.resources[0]
        if error_code:
            raise BrokerUnavailable(f"settings of {name} cannot be read: {text or for_code(error_code).__name__}")
        return {entry[0]: entry[1] for entry in entries if entry[3] == _TOPICS_OWN}

    async def _describe(self, names: Collection[str]) -> dict[str, list[dict[str, int]]]:
        if not names:
            return {}
        found = {}
        for row in await self._bounded("describe topics", self._started().describe_topics(list(names))):
            error = for_code(row["error_code"])
            if error is not UnknownTopicOrPartitionError:
                found[row["topic"]] = row["partitions"]
        return found

    async def _wait_for_leaders(self, names: Collection[str]) -> None:
        deadline = asyncio.get_running_loop().time() + self._config.request_timeout_s
        while True:
            rows = await self._describe(names)
            if all(rows.get(name) and all(row["leader"] >= 0 for row in rows[name]) for name in names):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise BrokerUnavailable("some partitions of the topics have no leader yet")
            await asyncio.sleep(_PAUSE_S)

    def _is_created(self, name: str, error_code: int, text: str | None) -> bool:
        error = for_code(error_code)
        if error is TopicAlreadyExistsError:
            return False
        if error in (InvalidConfigurationError, InvalidReplicationFactorError, InvalidTopicError):
            raise ConfigurationError(f"the broker refuses to create {name}: {text or error.__name__}")
        if error_code:
            raise BrokerUnavailable(f"topic {name} was not created: {text or error.__name__}")
        return True

    def _started(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            raise BrokerUnavailable("the admin is not started")
        return self._admin

    async def _bounded(self, doing: str, call: Awaitable[_Answer]) -> _Answer:
        with unavailable(doing):
            async with asyncio.timeout(self._config.request_timeout_s):
                return await call

    async def _patiently(self, doing: str, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        with unavailable(doing):
            async with asyncio.timeout(_COORDINATOR_PATIENCE_S):
                while True:
                    try:
                        return await call()
                    except KafkaError as error:
                        if not error.retriable:
                            raise
                    await asyncio.sleep(_PAUSE_S)
