"""`tidings init` against real servers, as the local stack and an operator call it."""

import asyncio
import os
import subprocess
import sys

from deploy.local.stack import Stack
from tidings.broker.base import Committed, TopicPartition
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.runtime.marks import Marks
from tidings.topics import GROUPS, TopicSizes, declared


def _init(servers: Stack, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "TIDINGS_KAFKA_BOOTSTRAP": servers.bootstrap,
        "TIDINGS_CASSANDRA_PORT": str(servers.ports.cassandra),
        "TIDINGS_CASSANDRA_KEYSPACE": "test_init",
        **settings,
    }
    command = [sys.executable, "-m", "cli", "init"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


async def _first_offsets(bootstrap: str) -> dict[str, dict[TopicPartition, Committed]]:
    admin = KafkaBroker(KafkaConfig(bootstrap)).admin()
    await admin.start()
    counts = {topic.name: topic.partitions for topic in declared(TopicSizes())}
    found = {}
    for group in GROUPS:
        wanted = [TopicPartition(topic, number) for topic in group.topics for number in range(counts[topic])]
        found[group.name] = dict(await admin.committed(group, wanted))
    await admin.stop()
    return found


def test_init_makes_a_deployment_ready_and_is_idempotent(servers: Stack) -> None:
    first = _init(servers)
    assert first.returncode == 0, first.stderr
    offsets = asyncio.run(_first_offsets(servers.bootstrap))
    assert {name: len(written) for name, written in offsets.items()} == {
        "tidings.persister": 8,
        "tidings.fanout.expand": 8,
        "tidings.fanout.deliver": 8,
        "tidings.receipts": 16,
    }
    assert {committed for written in offsets.values() for committed in written.values()} == {
        Committed(0, Marks().encoded())
    }
    again = _init(servers)
    assert again.returncode == 0, again.stderr
    assert "tables: 0001_first_tables, " in first.stdout
    name = first.stdout.splitlines()[-1].removesuffix(" named now")
    assert again.stdout.splitlines() == ["topics: all there", "first offsets: all there", "tables: all there", name]


def test_init_refuses_another_partition_count_in_one_line(servers: Stack) -> None:
    assert _init(servers).returncode == 0
    refused = _init(servers, TIDINGS_KAFKA_SESSION_PARTITIONS="9")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "messages.inbound has 8 partitions, configured are 9" in refused.stderr
    assert "TIDINGS_KAFKA_SESSION_PARTITIONS" in refused.stderr
