"""How a gateway sends its connections away: evenly, in order, each at its time."""

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.connections.draining import leaving_times


@given(st.integers(1, 20_000), st.integers(0, 3_600_000))
def test_leaving_times_are_spread_evenly(count: int, span_ms: int) -> None:
    times = leaving_times(count, span_ms)
    assert len(times) == count
    assert times == sorted(times)
    assert times[-1] == span_ms
    gaps = [later - earlier for earlier, later in zip([0, *times], times, strict=False)]
    assert max(gaps) - min(gaps) <= 1
