"""`tidings seed` through the real persister: the tables hold exactly the plan, with its times."""

import time
import uuid

from cli.seeding.log_times import LogTimes, inbound
from cli.seeding.plan import SeedPlan, SeedSizes
from cli.seeding.seeder import seed
from deploy.local.stack import Stack
from tests.integration.line import Line
from tests.planned import check_planned
from tidings import ids
from tidings.clock import SystemClock
from tidings.runtime.settings import LimitSettings
from tidings.runtime.start import started
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.history import read_range
from tidings.topics import MESSAGES_INBOUND

SIZES = SeedSizes(months=6, sessions=40, groups=4, messages=4_000, users=30)
SEGMENT_MESSAGES = 200
WITHIN_S = 60.0


async def test_six_months_are_stored_as_planned(servers: Stack, config: CassandraConfig) -> None:
    line = Line(servers, config)
    limits = LimitSettings(segment_messages=SEGMENT_MESSAGES)
    prefix = uuid.uuid4().hex[:8]
    plan = SeedPlan(SIZES, limits, SystemClock().wall_ms(), prefix=prefix)
    async with line.services():
        begun_s = time.monotonic()
        await seed(line.broker, plan, line.kafka.sizes())
        assert time.monotonic() - begun_s < WITHIN_S
        for session in plan.sessions:
            rows = await read_range(line.store, session.session_id, 1, 2**40, 2**40)
            check_planned(rows, list(plan.messages_of(session)))
        assert await _segments(line, plan) == _planned_segments(plan)
        await line.settled()
    tables = await line.dump()
    assert len(tables["messages"]) == plan.commands_total
    assert len(tables["segments_by_month"]) == len(_planned_segments(plan))
    await _check_log_time(line, plan)


async def _segments(line: Line, plan: SeedPlan) -> set[tuple[str, int, int]]:
    """Session, number and month of each segment."""
    found = await line.store.segments([session.session_id for session in plan.sessions], 1_000)
    return {(row.session_id, row.segment, row.month) for rows in found.values() for row in rows}


def _planned_segments(plan: SeedPlan) -> set[tuple[str, int, int]]:
    """A new segment at a new month, and after SEGMENT_MESSAGES."""
    found = set()
    for session in plan.sessions:
        number, month, count = 0, 0, 0
        for one in plan.messages_of(session):
            if ids.month_of(one.at_ms) != month or count == SEGMENT_MESSAGES:
                number, month, count = number + 1, ids.month_of(one.at_ms), 0
                found.add((session.session_id, number, month))
            count += 1
    return found


async def _check_log_time(line: Line, plan: SeedPlan) -> None:
    """The topic is as `tidings init` made it, and given times do not count any more."""
    admin, producer, reader = line.broker.admin(), line.broker.producer("test"), line.broker.reader("test")
    async with started(admin, producer, reader):
        assert await admin.topic_settings(MESSAGES_INBOUND) == inbound(line.kafka.sizes()).settings
        times = LogTimes(admin, producer, reader, line.kafka.sizes(), plan.stamps)
        await times.end(plan.starts_at_ms)
