"""Whether Kafka and Cassandra answer this process: a small request every few seconds, whose result /readyz shows."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from tidings import metrics
from tidings.broker.base import Admin, Broker
from tidings.errors import Retryable
from tidings.logging import logger
from tidings.runtime.health import Health
from tidings.runtime.start import STOP_S
from tidings.topics import MESSAGES_INBOUND

ASK_EVERY_S = 3.0
# The same time as an append may take.
ASK_WITHIN_S = 5.0
# A failover takes 9 s until Kafka notices the lost broker, plus an election. A process that waits for that must stay
# in the load balancer.
AWAY_AFTER_S = 15.0
_LOG_AGAIN_S = 30.0

Question = Callable[[], Awaitable[object]]


class Reach:
    """The reachability of one server, from its answers. Pure: every call gets the time as an argument."""

    def __init__(self, server: str, health: Health, now_s: float) -> None:
        """The server counts as reachable until AWAY_AFTER_S have passed without an answer."""
        self.server = server
        self._health = health
        self._answered_at_s = now_s
        self._logged_at_s = -_LOG_AGAIN_S
        self._is_away = False
        self._silence = metrics.SERVER_SILENT_SECONDS.labels(server)
        self._log = logger("tidings.reach")

    def answered(self, now_s: float) -> None:
        """The server has answered."""
        if self._is_away:
            silent_s = round(now_s - self._answered_at_s)
            self._log.info("a server answers again", server=self.server, silent_s=silent_s)
        self._is_away = False
        self._answered_at_s = now_s
        self._silence.set(0)
        self._health.set_server(self.server, "")

    def silent(self, now_s: float, reason: str) -> None:
        """The server has not answered a request, for this reason."""
        silent_s = now_s - self._answered_at_s
        self._silence.set(silent_s)
        if silent_s < AWAY_AFTER_S:
            return
        self._is_away = True
        reason = " ".join(reason.split())
        self._health.set_server(self.server, f"no answer for {silent_s:.0f} s ({reason})")
        if now_s - self._logged_at_s >= _LOG_AGAIN_S:
            self._logged_at_s = now_s
            self._log.warning("a server does not answer", server=self.server, silent_s=round(silent_s), reason=reason)


class LogQuestion:
    """Asks Kafka for one topic. Each failure closes the connection, and the next request opens a new one."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._admin: Admin | None = None

    async def __call__(self) -> None:
        """Raises BrokerUnavailable."""
        admin = self._admin or self._broker.admin()
        is_new, self._admin = self._admin is None, None
        try:
            if is_new:
                await admin.start()
            await admin.partition_counts([MESSAGES_INBOUND])
        except BaseException:
            await _stop(admin)
            raise
        self._admin = admin

    async def stop(self) -> None:
        """Close the connection."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await _stop(admin)


@contextlib.asynccontextmanager
async def watching(broker: Broker, ask_tables: Question, health: Health) -> AsyncIterator[None]:
    """Ask both servers while the block runs. This includes the start, while the block waits for them."""
    log = LogQuestion(broker)
    tasks = [
        asyncio.create_task(_watch(Reach("kafka", health, time.monotonic()), log)),
        asyncio.create_task(_watch(Reach("cassandra", health, time.monotonic()), ask_tables)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await log.stop()


async def _watch(reach: Reach, ask: Question) -> None:
    while True:
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                await ask()
        except Exception as error:  # noqa: BLE001 - any error means that the server has not answered
            reach.silent(time.monotonic(), str(error) or f"nothing within {ASK_WITHIN_S:g} s")
        else:
            reach.answered(time.monotonic())
        await asyncio.sleep(ASK_EVERY_S)


async def _stop(admin: Admin) -> None:
    with contextlib.suppress(TimeoutError, Retryable):
        await asyncio.wait_for(admin.stop(), STOP_S)
