"""The gateway put together from its ports; `__main__` brings the adapters. Start order: DESIGN section 5, H13."""

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable

from services.gateway.connections.draining import Drain
from services.gateway.connections.endpoint import WebSocketEndpoint
from services.gateway.connections.live import Lives
from services.gateway.connections.registry import Hub
from services.gateway.connections.timers import Ticker
from services.gateway.http.server import HttpServer, public_listener
from services.gateway.http.socket_limits import socket_limits
from services.gateway.protocol.commands import stamps_of
from services.gateway.protocol.connection import ConnectionRules
from services.gateway.protocol.rate_limits import RateLimits
from services.gateway.push.reader import read_log, take_push_partition
from services.gateway.push.router import PushRouter
from services.gateway.reads.block_lists import Blocks
from services.gateway.reads.groups import GroupReads
from services.gateway.reads.inbox import InboxReads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.receipts import ReceiptReads
from services.gateway.reads.session_list import SessionLists
from services.gateway.reads.session_order import SessionOrders
from services.gateway.reads.sessions import SessionReads
from services.gateway.rest.app import rest_app
from services.gateway.rest.parts import RestParts
from services.gateway.settings import GatewaySettings, read_group_key, read_keys
from services.gateway.submit.hidden_receipts import HiddenReceipts
from services.gateway.submit.latency import SendTimes
from services.gateway.submit.pending_calls import WaitingCalls
from services.gateway.submit.publisher import GatewayIdentity, Publisher, announce_gateway, say_goodbye
from services.gateway.submit.read_marks import ReadMarks
from services.gateway.submit.submitter import Posting
from services.gateway.submit.watermarks import WatermarkMoves
from services.gateway.tokens import Tokens
from tidings.broker.base import Broker, Producer
from tidings.clock import Clock, SystemClock
from tidings.errors import ConfigurationError, Retryable
from tidings.logging import logger
from tidings.runtime.file_limit import raise_file_limit
from tidings.runtime.health import Health
from tidings.runtime.start import check_topics, patiently, started, unless
from tidings.store.base import Store

GOODBYE_S = 2.0
# A REST call waits up to 5 s for its ack; those in progress at the end of the drain are answered.
LAST_CALLS_S = 5.5


async def serve(
    settings: GatewaySettings,
    broker: Broker,
    store: Store,
    health: Health,
    stopping: asyncio.Event,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve clients until `stopping` is set, then drain. `store` is started and stopped by the caller.

    `listening` is told the public port. Raises ConfigurationError; Superseded
    when another process takes our ordinal.
    """
    ordinal, kafka = settings.process.ordinal, settings.kafka
    check_settings(settings)
    with contextlib.closing(public_listener(settings.http.http_host, settings.http.http_port)) as listener:
        await check_topics(broker, kafka.sizes(), stopping)
        name = f"gateway-{ordinal}"
        producer, reader = broker.producer(name), broker.reader(name)
        async with started(producer, reader, stopping=stopping):
            async with unless(stopping):
                await patiently(lambda: take_push_partition(reader, ordinal), "push partition")
            identity = await announce_gateway(producer, ordinal)
            gateway = Gateway(settings, producer, store, identity, SystemClock(), listener)
            reading = asyncio.create_task(read_log(reader, identity, gateway.router))
            ticking = asyncio.create_task(gateway.ticker.run())
            try:
                await gateway.run(health, stopping, listening, (reading, ticking))
            finally:
                await _cancelled(reading, ticking)
            with contextlib.suppress(TimeoutError, Retryable):
                await asyncio.wait_for(say_goodbye(producer, identity), GOODBYE_S)


def check_settings(settings: GatewaySettings) -> None:
    """What this machine alone tells, before a server is waited for. Raises ConfigurationError."""
    ordinal, push_partitions = settings.process.ordinal, settings.kafka.push_partitions
    if ordinal >= push_partitions:
        raise ConfigurationError(
            f"TIDINGS_ORDINAL={ordinal} has no push partition: TIDINGS_KAFKA_PUSH_PARTITIONS={push_partitions}"
        )
    read_keys(settings.tokens, settings.process.development)
    read_group_key(settings.groups, settings.tokens, settings.process.development)
    public_listener(settings.http.http_host, settings.http.http_port).close()


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Gateway:
    """The parts of one gateway epoch, wired."""

    def __init__(
        self,
        settings: GatewaySettings,
        producer: Producer,
        store: Store,
        identity: GatewayIdentity,
        clock: Clock,
        listener: socket.socket,
    ) -> None:
        """The producer is started, the identity written."""
        http, kafka = settings.http, settings.kafka
        limits = socket_limits(raise_file_limit(), http)
        keys = read_keys(settings.tokens, settings.process.development)
        tokens = Tokens(keys.verifying, settings.tokens.audience)
        self._drain_s = http.drain_s
        self._clock = clock
        self._log = logger("tidings.gateway")
        self._identity = identity
        blocks = Blocks(store, clock, http.block_rules())
        hidden = HiddenReceipts(blocks)
        self.publisher = Publisher(producer, identity, kafka.sizes(), stamps_of(settings.limits), hidden)
        deployment = store.deployment.fields()
        rules = ConnectionRules(
            tokens.verify,
            http.heartbeat_s,
            http.messages_per_s,
            http.burst,
            http.body_rules(),
            http.outbox_limits(),
            deployment,
        )
        self.hub = Hub(rules, self.publisher, clock, f"{identity.ordinal:x}-{identity.epoch:x}")
        times = SendTimes()
        self.waiting = WaitingCalls(http.waiting_calls)
        messages = MessageReads(store, clock, http.history_cache_bytes)
        memberships = Memberships(store)
        sessions = SessionReads(store, messages, memberships, blocks, self.hub.known_heads)
        lives = Lives(self.hub, store, memberships, sessions, clock)
        orders = SessionOrders()
        self.router = PushRouter(self.hub, self.waiting, times, lives, orders, identity.epoch, clock)
        inbox = InboxReads(store, messages, http.resumes_at_once, self.hub.known_heads)
        rates = RateLimits(http.messages_per_s, http.burst)
        posting = Posting(self.publisher, rates, blocks, store, times, clock)
        self.ticker = Ticker(self.hub, inbox, lives, clock)
        self.endpoint = WebSocketEndpoint(
            self.hub,
            posting,
            WatermarkMoves(self.publisher, memberships, sessions, clock),
            inbox,
            clock,
            http.origins(),
            limits.connections,
        )
        rest = RestParts(
            tokens,
            keys.signing,
            settings.tokens.audience,
            posting,
            self.publisher,
            self.waiting,
            blocks,
            inbox,
            sessions,
            SessionLists(store, inbox, sessions, orders, clock),
            memberships,
            GroupReads(store),
            ReceiptReads(store, memberships, blocks),
            ReadMarks(self.publisher, sessions.watermarks, http.waiting_calls),
            read_group_key(settings.groups, settings.tokens, settings.process.development),
            http.body_rules(),
            deployment,
            clock,
        )
        origins = http.origins()
        app = rest_app(rest, origins)
        self._server = HttpServer(listener, self.endpoint, app, origins, http.idle_s, limits.sockets)

    async def run(
        self,
        health: Health,
        stopping: asyncio.Event,
        listening: Callable[[int], None],
        watched: tuple[asyncio.Task[None], ...],
    ) -> None:
        """Listen until `stopping`, then drain. Raises what a watched task raises."""
        async with self._server.listening() as port:
            health.set_ready(True)
            listening(port)
            self._log.info("gateway is listening", port=port, epoch=self._identity.epoch)
            try:
                await _first_of(stopping, watched)
            finally:
                health.set_ready(False, "draining")
                await self._end()

    async def _end(self) -> None:
        """Send clients away, each at its time; then no more connections, the calls in progress, and the flush."""
        self._server.is_leaving = True
        drain_ms = round(self._drain_s * 1000)
        drain = Drain(self.hub, self._clock, drain_ms, random.random, lambda: self._server.calls_begun)
        try:
            await drain.run(self._refuse_more)
        finally:
            # Also where a second signal has cut the drain short.
            self._refuse_more()
            self._server.stop_accepting()
            drain.close_all()
            await asyncio.gather(self._server.calls_done(LAST_CALLS_S), self.endpoint.claims.settled(LAST_CALLS_S))
            await self.publisher.flush(GOODBYE_S)

    def _refuse_more(self) -> None:
        self.endpoint.is_accepting = False


async def _first_of(stopping: asyncio.Event, watched: tuple[asyncio.Task[None], ...]) -> None:
    """Until the event is set, or a watched task ends, which is always an error: it is raised."""
    waiting = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait((waiting, *watched), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    for task in done:
        task.result()
