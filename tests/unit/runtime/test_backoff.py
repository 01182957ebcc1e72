"""The wait after failures."""

from tidings.runtime.backoff import Backoff


def test_backoff_doubles_up_to_its_bound() -> None:
    backoff = Backoff(first_ms=50, most_ms=300)
    assert [backoff.wait_ms(failures) for failures in (0, 1, 2, 3, 4, 99)] == [0, 50, 100, 200, 300, 300]
