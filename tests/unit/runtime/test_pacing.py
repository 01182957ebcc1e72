"""Round spacing and the turns of failing partitions: policies with the time as an argument."""

from hypothesis import given
from hypothesis import strategies as st

from tidings.broker.base import Record, TopicPartition
from tidings.runtime.lanes import Arrival, Lane
from tidings.runtime.pacing import FAILURES_TOGETHER, Pacing, Spacing, Turns


def lane(number: int, failures: int, retry_at_s: float = 0.0) -> Lane[str]:
    made: Lane[str] = Lane(TopicPartition("t", number), 1)
    made.put(Arrival(Record("t", number, 0, 0, None, b""), "any"))
    made.failures, made.retry_at_s = failures, retry_at_s
    return made


def test_a_lone_record_waits_for_nothing() -> None:
    assert Pacing(Spacing()).wait_s(1.0) == 0
    pacing = Pacing(Spacing())
    pacing.begin(5.0)
    pacing.end(5.001)
    assert pacing.wait_s(5.05) == 0


def test_a_linger_is_waited_always() -> None:
    assert Pacing(Spacing(linger_ms=250)).wait_s(100.0) == 0.25


@given(took_s=st.floats(0, 10), since_s=st.floats(0, 10), least_ms=st.integers(0, 50), most_ms=st.integers(0, 100))
def test_rounds_begin_within_the_bounds(took_s: float, since_s: float, least_ms: int, most_ms: int) -> None:
    pacing = Pacing(Spacing(least_ms, most_ms))
    pacing.begin(100.0)
    pacing.end(100.0 + took_s)
    now_s = 100.0 + took_s + since_s
    apart_s = now_s + pacing.wait_s(now_s) - pacing.began_s
    assert 0 <= pacing.wait_s(now_s) <= most_ms / 1000 + 1e-6
    assert apart_s >= min(least_ms, most_ms) / 1000 - 1e-6
    assert apart_s >= min(2 * took_s, most_ms / 1000) - 1e-6


@given(st.lists(st.integers(0, 5), max_size=6))
def test_no_healthy_partition_waits_two_rounds_for_a_failing_one(failures: list[int]) -> None:
    turns, lanes = Turns(), [lane(number, count) for number, count in enumerate(failures)]
    healthy = [one for one in lanes if one.failures < FAILURES_TOGETHER]
    failing = [one for one in lanes if one.failures >= FAILURES_TOGETHER]
    rounds = [turns.next(lanes) for _ in range(4)]
    for one in rounds:
        assert one == healthy or (len(one) == 1 and one[0] in failing)
    if healthy:
        assert all(healthy in pair for pair in (rounds[:2], rounds[1:3], rounds[2:]))
    if failing:
        assert any(one != healthy or not healthy for one in rounds[:2])


def test_the_longest_waiting_failing_partition_has_the_turn() -> None:
    lanes = [lane(1, 5, retry_at_s=9.0), lane(2, 3, retry_at_s=4.0)]
    assert Turns().next(lanes) == [lanes[1]]
