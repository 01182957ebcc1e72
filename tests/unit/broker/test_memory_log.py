"""The memory adapter's log: offsets, retention, compaction, broker time."""

from hypothesis import given
from hypothesis import strategies as st

from tidings.broker.base import NewRecord, TopicPartition
from tidings.broker.memory_log import Partition

NAME = TopicPartition("t", 0)


def partition(keep_records: int = 1_000, is_compacted: bool = False) -> Partition:
    return Partition(NAME, keep_records, is_compacted)


def test_offsets_rise_by_one_whatever_the_batches() -> None:
    log = partition()
    assert log.append([NewRecord(b"a"), NewRecord(b"b")], at_ms=10) == 0
    assert log.append([NewRecord(b"c")], at_ms=20) == 2
    assert [(each.offset, each.at_ms) for each in log.read(0, 10)] == [(0, 10), (1, 10), (2, 20)]


def test_a_read_below_the_retained_beginning_is_out_of_range() -> None:
    log = partition()
    log.append([NewRecord(b"x")] * 10, at_ms=0)
    log.delete_before(4)
    assert not log.holds(3)
    assert [each.offset for each in log.read(4, 2)] == [4, 5]
    assert log.holds(10)
    assert not log.holds(11)


def test_compaction_keeps_the_newest_of_each_key_and_its_offset() -> None:
    log = partition(keep_records=2, is_compacted=True)
    for number in range(5):
        log.append([NewRecord(str(number).encode(), key=b"ab"[number % 2 : number % 2 + 1])], at_ms=number)
    kept = log.read(0, 9)
    assert [(each.offset, each.key) for each in kept] == [(3, b"b"), (4, b"a")]
    assert log.holds(0)


@given(st.integers(1, 20), st.lists(st.integers(1, 7), max_size=60))
def test_what_is_kept_is_bounded_and_is_the_newest(keep: int, batches: list[int]) -> None:
    log = partition(keep_records=keep)
    for size in batches:
        log.append([NewRecord(b"x")] * size, at_ms=0)
    kept = [each.offset for each in log.read(log.first_offset, 10_000)]
    assert kept == list(range(log.first_offset, log.end_offset))
    assert min(keep, sum(batches)) <= len(kept) <= 2 * keep


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.integers(0, 100), st.integers(1, 10))
def test_a_read_gives_what_stands_from_its_offset_on(batches: list[int], offset: int, count: int) -> None:
    log = partition()
    for size in batches:
        log.append([NewRecord(b"x")] * size, at_ms=0)
    expected = list(range(sum(batches)))[offset : offset + count]
    assert [each.offset for each in log.read(offset, count)] == expected
