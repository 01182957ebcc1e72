"""What /readyz says of a server that does not answer."""

from typing import cast

import pytest
from structlog.testing import capture_logs

from tidings.broker.base import Broker
from tidings.broker.broker_clock import BrokerClock, skew_ms
from tidings.errors import BrokerUnavailable
from tidings.runtime.health import Health
from tidings.runtime.reach import AWAY_AFTER_S, LogQuestion, Reach


def ready() -> Health:
    health = Health()
    health.set_ready(True)
    return health


@pytest.mark.field_case("38")
def test_a_server_that_is_away_makes_the_process_unready() -> None:
    health = ready()
    reach = Reach("kafka", health, now_s=100.0)
    reach.silent(100.0 + AWAY_AFTER_S - 1, "refused")
    assert health.readiness() == ""
    reach.silent(100.0 + AWAY_AFTER_S, "connection\nrefused")
    assert health.readiness() == "kafka: no answer for 15 s (connection refused)"
    assert health.own_readiness() == ""
    reach.answered(200.0)
    assert health.readiness() == ""


def test_a_short_silence_is_forgotten_by_an_answer() -> None:
    health = ready()
    reach = Reach("cassandra", health, now_s=0.0)
    for second in range(0, 600, 10):
        reach.silent(second + 9.0, "slow")
        reach.answered(second + 10.0)
        assert health.readiness() == ""


class DyingAdmin:
    def __init__(self, is_dead: bool) -> None:
        self.is_dead = is_dead
        self.is_stopped = False

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        self.is_stopped = True

    async def partition_counts(self, _names: object) -> dict[str, int]:
        if self.is_dead:
            raise BrokerUnavailable("gone")
        return {}


class Admins:
    """A broker as far as the question needs one."""

    def __init__(self) -> None:
        self.made: list[DyingAdmin] = []

    def admin(self) -> DyingAdmin:
        self.made.append(DyingAdmin(False))
        return self.made[-1]


async def test_probe_reconnects_after_a_failure_only() -> None:
    broker = Admins()
    ask = LogQuestion(cast(Broker, broker))
    await ask()
    await ask()
    assert len(broker.made) == 1
    broker.made[0].is_dead = True
    with pytest.raises(BrokerUnavailable):
        await ask()
    assert broker.made[0].is_stopped
    await ask()
    assert len(broker.made) == 2
    await ask.stop()
    assert broker.made[1].is_stopped


@pytest.mark.field_case("40")
@pytest.mark.parametrize(
    ("sent", "stamped", "confirmed", "skew"),
    [
        (1_000, 1_005, 1_010, 0),
        (1_000, 1_000, 1_000, 0),
        (1_000, 5_990, 6_000, 0),  # a slow append shows nothing
        (1_000_000, 640_000, 1_000_010, -360_000),  # the broker is 6 minutes behind
        (1_000_000, 4_600_000, 1_000_010, 3_599_990),  # the broker is an hour ahead
    ],
)
def test_skew_is_what_the_append_cannot_explain(sent: int, stamped: int, confirmed: int, skew: int) -> None:
    assert skew_ms(sent, stamped, confirmed) == skew


@pytest.mark.field_case("40")
def test_a_clock_that_is_off_is_said_once_a_minute() -> None:
    now = [0.0]
    clock = BrokerClock(lambda: now[0])
    with capture_logs() as lines:
        for second in range(120):
            now[0] = float(second)
            clock.compare(1_000_000, 640_000, 1_000_010)
            clock.compare(1_000_000, 1_000_005, 1_000_010)
            clock.compare(1_000_000, -1, 1_000_010)
            clock.compare(1_000_000, None, 1_000_010)
    assert [line["broker_ahead_s"] for line in lines] == [-360.0] * 2
