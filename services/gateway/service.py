"""Builds the gateway from its ports. `__main__` builds the adapters. Start order: ARCHITECTURE, Stages; H13."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from services.gateway.connections.build import SocketRules, build_connections
from services.gateway.connections.draining import Drain
from services.gateway.http.server import HttpServer, public_listener
from services.gateway.http.socket_limits import socket_limits
from services.gateway.media.build import build_media
from services.gateway.push.build import build_push
from services.gateway.push.reader import read_log, take_push_partition
from services.gateway.reads.build import build_reads
from services.gateway.rest.build import RestRules, build_rest
from services.gateway.settings import GatewaySettings, read_group_key, read_keys
from services.gateway.submit.build import build_submit
from services.gateway.submit.publisher import GatewayIdentity, announce_gateway, say_goodbye
from services.gateway.tokens import Tokens
from services.gateway.trace_call import PATH, TraceCall
from tidings.broker.base import Broker, Producer
from tidings.clock import Clock, SystemClock
from tidings.cold.cache import ObjectCache
from tidings.cold.reader import ColdReader
from tidings.errors import ConfigurationError, Retryable
from tidings.logging import logger
from tidings.media.base import MediaStore
from tidings.own_folder import own_folder
from tidings.runtime.admin_calls import OperatorTokens
from tidings.runtime.file_limit import raise_file_limit
from tidings.runtime.health import Health
from tidings.runtime.settings import ColdSettings
from tidings.runtime.start import check_topics, patiently, started, unless
from tidings.store.base import ColdRows, Store

GOODBYE_S = 2.0
# A REST call waits up to 5 s for its ack, and calls in progress at the end of the drain are answered.
LAST_CALLS_S = 5.5


async def serve(
    settings: GatewaySettings,
    broker: Broker,
    store: Store,
    health: Health,
    stopping: asyncio.Event,
    listening: Callable[[int], None] = lambda _port: None,
    *,
    objects: MediaStore,
) -> None:
    """Serve clients until `stopping` is set, then drain. The caller starts and stops `store` and `objects`.

    `listening` gets the public port. Raises ConfigurationError, and Superseded
    if another process starts with this ordinal.
    """
    ordinal, kafka = settings.process.ordinal, settings.kafka
    check_settings(settings)
    with contextlib.closing(public_listener(settings.http.http_host, settings.http.http_port)) as listener:
        await check_topics(broker, kafka.sizes(), stopping)
        name = f"gateway-{ordinal}"
        producer, reader = broker.producer(name), broker.reader(name)
        async with (
            own_folder(settings.media.upload_dir, "TIDINGS_MEDIA_UPLOAD_DIR") as uploads,
            _started_cold_reader(settings.cold, objects) as cold,
            started(producer, reader, stopping=stopping),
        ):
            async with unless(stopping):
                await patiently(lambda: take_push_partition(reader, ordinal), "push partition")
            identity = await announce_gateway(producer, ordinal)
            stores = Stores(store, objects, cold, uploads)
            gateway = Gateway(settings, producer, stores, identity, SystemClock(), listener)
            trace = TraceCall(
                OperatorTokens(settings.admin.token_file), store, broker, kafka.epoch, kafka.sizes(), cold
            )
            reading = asyncio.create_task(read_log(reader, identity, gateway.router))
            ticking = asyncio.create_task(gateway.connections.ticker.run())
            try:
                with health.calls.serving(PATH, trace):
                    await gateway.run(health, stopping, listening, (reading, ticking))
            finally:
                await _cancelled(reading, ticking)
            with contextlib.suppress(TimeoutError, Retryable):
                await asyncio.wait_for(say_goodbye(producer, identity), GOODBYE_S)


def check_settings(settings: GatewaySettings) -> None:
    """Check the settings that need no server, before the process waits for one. Raises ConfigurationError."""
    ordinal, push_partitions = settings.process.ordinal, settings.kafka.push_partitions
    if ordinal >= push_partitions:
        raise ConfigurationError(
            f"TIDINGS_ORDINAL={ordinal} has no push partition: TIDINGS_KAFKA_PUSH_PARTITIONS={push_partitions}"
        )
    read_keys(settings.tokens, settings.process.development)
    read_group_key(settings.groups, settings.tokens, settings.process.development)
    public_listener(settings.http.http_host, settings.http.http_port).close()


@contextlib.asynccontextmanager
async def _started_cold_reader(settings: ColdSettings, objects: MediaStore) -> AsyncIterator[ColdReader]:
    """The reader of archived messages while the block runs. ConfigurationError: its folder cannot be used."""
    cache = ObjectCache(objects, Path(settings.cache_dir), settings.cache_bytes, settings.fetch_timeout_s)
    cold = ColdReader(cache, SystemClock())
    await cold.start()
    try:
        yield cold
    finally:
        await cold.close()


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Stores(NamedTuple):
    """What a gateway reads and writes besides the log. `uploads`: a folder for images while they are checked."""

    tables: Store
    objects: MediaStore
    cold: ColdRows
    uploads: Path


class Gateway:
    """The parts of one gateway epoch."""

    def __init__(
        self,
        settings: GatewaySettings,
        producer: Producer,
        stores: "Stores",
        identity: GatewayIdentity,
        clock: Clock,
        listener: socket.socket,
    ) -> None:
        """The producer must be started, and the start record written."""
        store, objects, cold, uploads = stores
        http = settings.http
        keys = read_keys(settings.tokens, settings.process.development)
        verify = Tokens(keys.verifying, settings.tokens.audience).verify
        deployment = store.deployment.fields()
        limits = socket_limits(raise_file_limit(), http.max_connections)
        self._drain_s = http.drain_s
        self._clock = clock
        self._log = logger("tidings.gateway")
        self._identity = identity
        reads = build_reads(
            store,
            clock,
            block_rules=http.block_rules(),
            history_cache_bytes=http.history_cache_bytes,
            pages_at_once=http.resumes_at_once,
            cold=cold,
        )
        self.submit = build_submit(producer, identity, reads, store, clock, settings.submit_rules())
        self.connections = build_connections(
            reads,
            self.submit,
            store,
            clock,
            http.connection_rules(verify, deployment),
            SocketRules(f"{identity.ordinal:x}-{identity.epoch:x}", http.origins(), limits.connections),
        )
        self.router = build_push(self.connections, self.submit, reads, identity.epoch, clock)
        rules = RestRules(
            verify=verify,
            signing=keys.signing,
            audience=settings.tokens.audience,
            group_key=read_group_key(settings.groups, settings.tokens, settings.process.development),
            deployment=deployment,
            bodies=http.body_rules(),
        )
        media = build_media(
            store, objects, clock, settings.media.rules(rules.group_key, uploads, limits.uploads, limits.downloads)
        )
        rest = build_rest(reads, self.submit, media, clock, rules, http.origins())
        self._server = HttpServer(
            listener, self.connections.endpoint, rest, http.origins(), http.idle_s, limits.sockets
        )

    async def run(
        self,
        health: Health,
        stopping: asyncio.Event,
        listening: Callable[[int], None],
        watched: tuple[asyncio.Task[None], ...],
    ) -> None:
        """Listen until `stopping` is set, then drain. Raises the error of a watched task."""
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
        """Drain the connections, stop accepting, wait for the calls in progress, and flush the producer."""
        self._server.is_leaving = True
        drain_ms = round(self._drain_s * 1000)
        drain = Drain(self.connections.registry, self._clock, drain_ms, random.random, lambda: self._server.calls_begun)
        try:
            await drain.run(self._refuse_more)
        finally:
            # Also if a second signal has cancelled the drain.
            self._refuse_more()
            self._server.stop_accepting()
            drain.close_all()
            await asyncio.gather(
                self._server.calls_done(LAST_CALLS_S), self.connections.endpoint.claims.settled(LAST_CALLS_S)
            )
            await self.submit.publisher.flush(GOODBYE_S)

    def _refuse_more(self) -> None:
        self.connections.endpoint.is_accepting = False


async def _first_of(stopping: asyncio.Event, watched: tuple[asyncio.Task[None], ...]) -> None:
    """Wait until the event is set. Raises the error of a watched task that ends before."""
    waiting = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait((waiting, *watched), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    for task in done:
        task.result()
