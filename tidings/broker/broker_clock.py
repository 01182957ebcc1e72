"""Compares the broker's clock with ours. Log time decides about ids, mutes and order, so a wrong clock must be seen."""

import time
from collections.abc import Callable

from tidings import metrics
from tidings.logging import logger

# Gateways refuse ids at 5 minutes of skew; NTP keeps clocks within milliseconds. Below 2 s a pause can look like skew.
WORTH_SAYING_S = 2.0
_LOG_AGAIN_S = 60.0

_log = logger("tidings.broker")


def skew_ms(sent_ms: int, stamped_ms: int, confirmed_ms: int) -> int:
    """How far the broker's clock is at least ahead of ours (negative: behind).

    The broker stamped the record between sending and confirmation. A timestamp within that time shows no skew.
    """
    if stamped_ms < sent_ms:
        return stamped_ms - sent_ms
    return max(0, stamped_ms - confirmed_ms)


class BrokerClock:
    """Compares the clocks at every confirmed batch. Sets a metric, and logs a large skew at most once a minute."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._logged_at_s = -_LOG_AGAIN_S

    def compare(self, sent_ms: int, stamped_ms: int | None, confirmed_ms: int) -> None:
        """`stamped_ms`: the broker's append time; None or negative if the topic has none."""
        if stamped_ms is None or stamped_ms < 0:
            return
        skew_s = skew_ms(sent_ms, stamped_ms, confirmed_ms) / 1000
        metrics.CLOCK_SKEW_SECONDS.set(skew_s)
        if abs(skew_s) >= WORTH_SAYING_S and self._now_s() - self._logged_at_s >= _LOG_AGAIN_S:
            self._logged_at_s = self._now_s()
            _log.warning(
                "the clocks of a broker and of this process differ; look at NTP on both machines",
                broker_ahead_s=round(skew_s, 1),
            )
