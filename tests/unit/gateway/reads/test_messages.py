"""Messages read through the cache: the answers are those of the log, and few reads are made."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.reads.message_cache import PARTIAL_AGE_MS
from services.gateway.reads.messages import MessageReads
from tests.builders import message, segment, seqs, session, write_confirmed
from tests.fakes.clock import FakeClock
from tests.faults.store import FaultyStore
from tests.unit.gateway.reads.test_message_cache import PLENTY_BYTES
from tidings import metrics
from tidings.errors import StoreUnavailable
from tidings.store import history
from tidings.store.base import SessionSegment
from tidings.store.rows import MessageRow, Row

GROUP = "g:0123456789abcdef0123456789abcdef"
OTHER = "g:fedcba9876543210fedcba9876543210"
DIRECT = "d:alice:bob"
SESSIONS = (GROUP, OTHER, DIRECT)


def outcomes() -> dict[str, float]:
    return {name: metrics.HISTORY_BLOCKS.labels(name)._value.get() for name in ("hit", "read", "joined")}


# -- the log and what is read through the blocks ---------------------------------------------------


@dataclass
class Log:
    """Sessions that grow, and the reads under test next to them."""

    store: FaultyStore = field(default_factory=FaultyStore)
    clock: FakeClock = field(default_factory=lambda: FakeClock(1_000))
    heads: dict[str, int] = field(default_factory=dict)
    segments: dict[str, int] = field(default_factory=dict)

    async def append(self, session_id: str, length: int, *, rolls: bool) -> None:
        first = self.heads.get(session_id, 0) + 1
        rows: list[Row] = []
        if rolls or first == 1:
            self.segments[session_id] = self.segments.get(session_id, 0) + 1
            rows.append(segment(session_id, self.segments[session_id], first))
        rows += [message(session_id, seq, self.segments[session_id]) for seq in range(first, first + length)]
        await write_confirmed(self.store, rows)
        self.heads[session_id] = first + length - 1


async def _checked_range(log: Log, reads: MessageReads, session_id: str, first: int, last: int) -> None:
    direct = await history.read_range(log.store, session_id, first, last, 1_000)
    assert await reads.range(session_id, first, last, log.heads[session_id]) == direct


async def _checked_rows(log: Log, reads: MessageReads, wanted: dict[str, set[int]]) -> None:
    assert await reads.readable_rows_at(wanted) == (await history.rows_at(log.store, wanted), {})


fractions = st.floats(0, 1)
appends = st.tuples(st.just("append"), st.sampled_from(SESSIONS), st.integers(1, 150), st.booleans())
ranges = st.tuples(st.just("range"), st.sampled_from(SESSIONS), fractions, fractions)
points = st.tuples(st.just("rows"), st.sampled_from(SESSIONS), st.lists(fractions, min_size=1, max_size=6), st.none())
waits = st.tuples(st.just("wait"), st.integers(0, 2 * PARTIAL_AGE_MS), st.none(), st.none())


@settings(deadline=None)
@given(
    st.lists(st.lists(st.one_of(appends, ranges, points, waits), max_size=4), max_size=25),
    st.sampled_from([0, 20_000, 150_000, PLENTY_BYTES]),
)
def test_any_appends_and_reads_answer_what_the_log_answers(steps: list[list[tuple]], max_bytes: int) -> None:  # type: ignore[type-arg]
    asyncio.run(_run(steps, max_bytes))


async def _run(steps: list[list[tuple]], max_bytes: int) -> None:  # type: ignore[type-arg]
    """The reads of one step run side by side, after its appends."""
    log = Log()
    reads = MessageReads(log.store, log.clock, max_bytes)
    for step in steps:
        side_by_side = []
        for kind, what, one, two in step:
            head = log.heads.get(what, 0)
            if kind == "append":
                await log.append(what, one, rolls=two)
            elif kind == "wait":
                log.clock.now_ms += what
            elif kind == "range" and head:
                first, last = sorted((1 + int(one * (head - 1)), 1 + int(two * (head - 1))))
                side_by_side.append(_checked_range(log, reads, what, first, last))
            elif kind == "rows" and head:
                wanted = {what: {1 + int(place * (head - 1)) for place in one}}
                side_by_side.append(_checked_rows(log, reads, wanted))
        await asyncio.gather(*side_by_side)


# -- how often the tables are asked ----------------------------------------------------------------


class WatchedStore(FaultyStore):
    """Notes which seqs were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int]] = []

    async def messages(self, segment: SessionSegment, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        self.asked.append((first_seq, last_seq))
        return await super().messages(segment, first_seq, last_seq)


async def _reads_of(*lengths: int, session_id: str = GROUP) -> tuple[WatchedStore, MessageReads]:
    store = WatchedStore()
    await write_confirmed(store, session(session_id, *lengths))
    return store, MessageReads(store, FakeClock(), PLENTY_BYTES)


async def test_what_was_read_once_is_not_read_again() -> None:
    store, reads = await _reads_of(200)
    before = outcomes()
    for first, last in ((150, 200), (129, 200), (160, 160)):
        assert seqs(await reads.range(GROUP, first, last, 200)) == list(range(first, last + 1))
    assert set((await reads.readable_rows_at({GROUP: {140, 199}}))[0]) == {(GROUP, 140), (GROUP, 199)}
    assert store.asked == [(129, 200)]
    assert {name: count - before[name] for name, count in outcomes().items()} == {"hit": 5, "read": 2, "joined": 0}


async def test_newest_block_is_read_from_its_end() -> None:
    store, reads = await _reads_of(70)
    await reads.range(GROUP, 65, 70, 70)
    await write_confirmed(store, [message(GROUP, seq) for seq in range(71, 74)])
    store.asked.clear()
    assert seqs(await reads.range(GROUP, 66, 73, 73)) == list(range(66, 74))
    assert store.asked == [(71, 73)]


async def test_a_block_is_read_up_to_the_highest_seq_asked_for() -> None:
    store, reads = await _reads_of(5)
    await reads.range(GROUP, 1, 5, 5)
    await write_confirmed(store, [message(GROUP, seq) for seq in range(6, 10)])
    assert set((await reads.readable_rows_at({GROUP: {3, 8}}))[0]) == {(GROUP, 3), (GROUP, 8)}


async def test_nothing_above_the_head_of_the_request_is_read_or_kept() -> None:
    store, reads = await _reads_of(10)
    assert seqs(await reads.range(GROUP, 1, 5, 5)) == [1, 2, 3, 4, 5]
    await reads.range(GROUP, 6, 6, 10)
    assert store.asked == [(1, 5), (6, 10)]


async def test_equal_reads_are_shared_and_a_cancelled_one_harms_none() -> None:
    store, reads = await _reads_of(64)
    before = outcomes()
    asking = [asyncio.create_task(reads.range(GROUP, 1, last, 64)) for last in range(10, 60)]
    await asyncio.sleep(0)
    asking[0].cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [len(rows) for rows in answers[1:] if not isinstance(rows, BaseException)] == list(range(11, 60))
    assert store.asked == [(1, 64)]
    assert {name: count - before[name] for name, count in outcomes().items()} == {"hit": 0, "read": 1, "joined": 49}


async def test_failed_read_raises_for_all_waiting_and_is_then_repeated() -> None:
    store, reads = await _reads_of(64)
    store.faults.script_failed_reads(1)
    failed = await asyncio.gather(*(reads.range(GROUP, 1, 64, 64) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [StoreUnavailable] * 3
    assert len(await reads.range(GROUP, 1, 64, 64)) == 64


async def test_messages_of_direct_sessions_are_read_without_neighbours() -> None:
    store, reads = await _reads_of(64, session_id=DIRECT)
    for _ in range(2):
        assert set((await reads.readable_rows_at({DIRECT: {33}}))[0]) == {(DIRECT, 33)}
    assert store.asked == [(33, 33), (33, 33)]
