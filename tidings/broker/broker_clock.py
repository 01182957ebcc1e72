"""The broker's clock against ours: log time decides about ids, mutes and order, so a clock that is off must be seen."""

import logging
import time
from collections.abc import Callable

from tidings import metrics

# Clients are refused at 5 minutes; NTP keeps clocks within milliseconds. Below this a pause may be mistaken for skew.
WORTH_SAYING_S = 2.0
_SAY_AGAIN_S = 60.0

_log = logging.getLogger(__name__)


def skew_ms(sent_ms: int, stamped_ms: int, confirmed_ms: int) -> int:
    """How far the broker's clock is ahead (behind: negative) of ours, at least.

    The broker stamped the record between our sending and its confirmation: inside of that nothing is known.
    """
    if stamped_ms < sent_ms:
        return stamped_ms - sent_ms
    return max(0, stamped_ms - confirmed_ms)


class BrokerClock:
    """Looks at every confirmed batch of a producer; says what is off in a metric, and now and then in a line."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._said_at_s = -_SAY_AGAIN_S

    def compare(self, sent_ms: int, stamped_ms: int | None, confirmed_ms: int) -> None:
        """`stamped_ms`: the broker's append time; None or below 0 where the topic has none."""
        if stamped_ms is None or stamped_ms < 0:
            return
        skew_s = skew_ms(sent_ms, stamped_ms, confirmed_ms) / 1000
        metrics.CLOCK_SKEW_SECONDS.set(skew_s)
        if abs(skew_s) >= WORTH_SAYING_S and self._now_s() - self._said_at_s >= _SAY_AGAIN_S:
            self._said_at_s = self._now_s()
            _log.warning(
                "the broker's clock is %.1f s %s this process's: one of them is off; look at NTP on both machines",
                abs(skew_s),
                "ahead of" if skew_s > 0 else "behind",
            )
