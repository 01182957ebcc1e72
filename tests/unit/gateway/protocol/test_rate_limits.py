"""A burst, then the rate, and waits that suffice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.protocol.rate_limits import RateLimits
from tidings.errors import Refused


def refused_for(rates: RateLimits, messages: int, now_ms: int) -> int:
    """The wait; 0 for a call that was taken."""
    try:
        rates.take("alice", messages, now_ms)
    except Refused as refused:
        return refused.retry_after_ms or -1
    return 0


@pytest.mark.field_case("36")
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 500), st.integers(1, 60))
def test_refused_calls_are_taken_after_their_waits(sizes: list[int], per_s: int, burst: int) -> None:
    """All sent at once, each repeated at its stated time: as long as together they are no more than a burst."""
    rates = RateLimits(per_s, burst)
    rates.take("alice", burst, 0)
    waits: list[tuple[int, int]] = []
    promised = 0
    for size in sizes:
        promised += min(size, burst)
        if promised <= burst:
            waits.append((refused_for(rates, size, 0), size))
    for wait_ms, size in sorted(waits):
        assert wait_ms > 0
        assert refused_for(rates, size, wait_ms) == 0


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 100)), max_size=40), st.integers(1, 500))
def test_lone_caller_is_taken_after_its_wait(calls: list[tuple[int, int]], per_s: int) -> None:
    rates, now_ms = RateLimits(per_s, burst=50), 0
    for pause_ms, messages in calls:
        now_ms += pause_ms
        wait_ms = refused_for(rates, messages, now_ms)
        now_ms += wait_ms
        assert not wait_ms or refused_for(rates, messages, now_ms) == 0


def test_lone_caller_gets_no_longer_wait_than_needed() -> None:
    rates = RateLimits(messages_per_s=1, burst=20)
    rates.take("alice", 2, 0)
    assert refused_for(rates, 20, 500) == 1_501
    assert refused_for(rates, 20, 2_001) == 0


def test_wait_never_exceeds_that_for_a_whole_burst() -> None:
    rates = RateLimits(messages_per_s=10, burst=20)
    rates.take("alice", 20, 0)
    assert max(refused_for(rates, 1, 0) for _ in range(1_000)) == 2_001


@given(st.integers(0, 60), st.integers(1, 40))
def test_batch_is_taken_as_a_whole_after_its_wait(spent: int, size: int) -> None:
    rates = RateLimits(messages_per_s=10, burst=60)
    for _ in range(spent):
        rates.take("alice", 1, 0)
    refused = sum(refused_for(rates, 1, 0) > 0 for _ in range(size))
    if refused:
        wait_ms = rates.wait_ms("alice", size - refused, 0)
        assert not any(refused_for(rates, 1, wait_ms) for _ in range(size))


def test_a_burst_is_allowed_and_then_the_rate_holds() -> None:
    rates = RateLimits(messages_per_s=10, burst=3)
    for _ in range(3):
        rates.take("alice", 1, 0)
    with pytest.raises(Refused) as refused:
        rates.take("alice", 1, 0)
    assert refused.value.retry_after_ms == 101
    rates.take("bob", 3, 0)
    rates.take("alice", 1, 101)
    with pytest.raises(Refused):
        rates.take("alice", 1, 102)


def test_more_than_a_burst_at_once_waits_for_a_whole_burst() -> None:
    rates = RateLimits(messages_per_s=10, burst=3)
    rates.take("alice", 500, 0)
    with pytest.raises(Refused) as refused:
        rates.take("alice", 500, 0)
    assert refused.value.retry_after_ms == 301
    rates.take("alice", 500, 301)
