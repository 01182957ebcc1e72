"""Work below a rate, by a clock of the test's own."""

from tidings.pace import MOST_AHEAD_S, Pace


def test_transfer_takes_its_time_in_all() -> None:
    pace, now_s = Pace(5.0, 100.0), 5.0
    for passed_bytes in (1, 50, 200, 0, 49):
        now_s += pace.wait_s(passed_bytes, now_s)
    assert round(now_s, 6) == 8.0


def test_slow_transfer_does_not_wait() -> None:
    pace = Pace(0.0, 100.0)
    assert [pace.wait_s(10, now_s) for now_s in (1.0, 2.0, 3.0)] == [0.0, 0.0, 0.0]


def test_pause_saves_up_no_more_than_a_moment() -> None:
    pace = Pace(0.0, 100.0)
    assert round(pace.wait_s(200, 60.0), 6) == 2.0 - MOST_AHEAD_S


def test_rate_is_not_passed_in_the_mean() -> None:
    pace, now_s = Pace(0.0, 100), 0.0
    for _ in range(10):
        now_s += pace.wait_s(50, now_s)
    assert 4.9 <= now_s <= 5.1


def test_without_a_rate_nothing_waits() -> None:
    assert Pace(0.0, 0).wait_s(10**9, 0.0) == 0
