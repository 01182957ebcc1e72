"""How many requests the questions about many sessions become, and how many of them are under way at once."""

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.gateway.reads.batching import BATCHES_AT_ONCE, MAX_KEYS
from services.gateway.reads.build import build_reads
from tests.builders import message, segment
from tidings.clock import SystemClock
from tidings.store import session_tails, statements
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.rows import Row
from tidings.store.statements import KEYS_PER_REQUEST


@dataclass
class FakeSession:
    """Every session asked for has one segment, of the number given by `segments`, and one message in it."""

    segments: int
    requests: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def execute(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        self.requests[statement] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        for _ in range(10):
            await asyncio.sleep(0)
        self.in_flight -= 1
        assert len(values[0]) <= KEYS_PER_REQUEST
        if statement == statements.SEGMENTS:
            return [_values(segment(name, 1 + int(name[2:]) % self.segments, 1)) for name in values[0]]
        assert statement == statements.NEWEST_MESSAGES
        return [_values(message(name, 1, values[1])) for name in values[0]]

    async def execute_batch(self, rows: Iterable[Row]) -> None: ...

    def replica_set(self, row: Row) -> Hashable:
        return None


def _values(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in statements.columns(type(row)))


NAMES = [f"s:{number}" for number in range(1000)]


async def test_heads_of_1000_sessions_take_a_request_per_hundred() -> None:
    session = FakeSession(segments=24)
    found = await session_tails.heads(CassandraStore(CassandraConfig(), session), NAMES)
    assert set(found) == set(NAMES)
    assert session.requests == {statements.SEGMENTS: 10, statements.NEWEST_MESSAGES: 24}


async def test_reads_of_heads_in_flight_are_bounded() -> None:
    session = FakeSession(segments=1000)
    store = CassandraStore(CassandraConfig(), session)
    reads = build_reads(store, SystemClock()).sessions
    assert await asyncio.gather(*map(reads.head_seq, NAMES)) == [1] * 1000
    assert session.requests[statements.NEWEST_MESSAGES] == 1000
    assert session.most_in_flight <= BATCHES_AT_ONCE * MAX_KEYS < 512  # what the store has in flight at most
