"""The pauses between tries."""

from hypothesis import given
from hypothesis import strategies as st

from tidings_client import backoff


@given(st.integers(0, 100), st.floats(-1, 1))
def test_backoff_is_a_power_of_two_with_jitter_up_to_30_s(repeat: int, jitter: float) -> None:
    plain_ms = min(1_000 * 2**repeat, 1 << 40)
    pause_ms = backoff.delay_ms(repeat, jitter)
    assert pause_ms <= 30_000
    assert pause_ms == 30_000 or 0.8 * plain_ms - 1 <= pause_ms <= 1.2 * plain_ms
