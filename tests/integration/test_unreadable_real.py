"""A record that fanout cannot read, on the real servers: its partition stops and says so, the others continue."""

import uuid
from collections import Counter

import pytest
from structlog.testing import capture_logs

from deploy.local.stack import Stack
from tests.integration.line import Line
from tests.unit.persister.builders import command, uuid7
from tests.waiting import becomes
from tidings import ids, metrics
from tidings.broker.base import TopicPartition
from tidings.clock import SystemClock
from tidings.store.cassandra_config import CassandraConfig
from tidings.topics import EXPAND, MESSAGES_INBOUND, MESSAGES_PERSISTED, RECEIPTS

JUNK = b"\xff\xff this is not readable"


@pytest.mark.bad_input("B3")
async def test_an_unreadable_record_stops_its_partition_alone(servers: Stack, config: CassandraConfig) -> None:
    line = Line(servers, config)
    struck, other = _two_sessions_apart(line)
    place = TopicPartition(MESSAGES_PERSISTED, ids.partition_of(struck, line.kafka.session_partitions))

    async def state() -> tuple[dict[str, int], dict[str, float]]:
        return await _inboxes(line), _stopped()

    with capture_logs() as logs:
        async with line.services():
            await _post(line, struck, 1)
            await line.settled()
            await line.publish(MESSAGES_PERSISTED, struck, JUNK)
            await _post(line, struck, 2)
            await _post(line, other, 1)
            both_stand = {"expand": 1.0, "receipts": 1.0}
            await becomes(state, ({struck: 2, other: 2}, both_stand), every_s=1)
    said = [log for log in logs if log["event"] == "partition stopped"]
    assert {(log["log_level"], log["partition"]) for log in said} == {("error", str(place))}
    assert all("docs/OPERATIONS.md" in log["action"] for log in said)
    assert len((await line.dump())["messages"]) == 3, "what stands behind the junk is stored"

    for group in (EXPAND, RECEIPTS):
        await line.skip(group, place)
    async with line.services():
        await becomes(state, ({struck: 4, other: 2}, dict.fromkeys(both_stand, 0.0)), every_s=1)


def _two_sessions_apart(line: Line) -> tuple[str, str]:
    """Two sessions on different session partitions."""
    name, partitions = uuid.uuid4().hex[:8], line.kafka.session_partitions
    sessions = [ids.direct_session(f"{name}-a", f"{name}-b{number}") for number in range(50)]
    struck = sessions[0]
    own = ids.partition_of(struck, partitions)
    return struck, next(other for other in sessions if ids.partition_of(other, partitions) != own)


async def _post(line: Line, session_id: str, number: int) -> None:
    client_msg_id, sender = uuid7(SystemClock().wall_ms(), number), ids.direct_users(session_id)[0]
    sent = command(client_msg_id, f"text {number}", sender, session_id)
    await line.publish(MESSAGES_INBOUND, session_id, sent.SerializeToString())


async def _inboxes(line: Line) -> dict[str, int]:
    """Inbox rows by session, which is the last column of `SELECT *`."""
    rows = await line.dump()
    return dict(Counter(row[-1] for row in rows["inbox"]))


def _stopped() -> dict[str, float]:
    """What the alert looks at."""
    return {stage: metrics.PARTITIONS.labels(stage, "stopped")._value.get() for stage in ("expand", "receipts")}
