"""The four services as processes of one run: started, stopped, killed and replaced as an operator or a fault does it.

Persister, fanout and receipts are their `serve`. A gateway is everything of `services.gateway` but HTTP's own server:
its clients reach it through network.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cache
from typing import Any, cast

from services.fanout import service as fanout
from services.fanout.settings import FanoutSettings
from services.gateway.connections.build import Connections, SocketRules, build_connections
from services.gateway.media.build import build_media
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.push.build import build_push
from services.gateway.push.reader import Superseded, read_log, take_push_partition
from services.gateway.reads.build import build_reads
from services.gateway.rest.build import RestRules, build_calls
from services.gateway.rest.routes import Route, routes_of
from services.gateway.submit.build import SubmitRules, build_submit
from services.gateway.submit.publisher import announce_gateway
from services.persister import service as persister
from services.persister.settings import PersisterSettings
from services.receipts import service as receipts
from services.receipts.settings import CoalesceSettings, ReceiptsSettings
from tests.simulation.ports import GATEWAYS, SIZES, Reach, Servers
from tests.simulation.virtual_time import Process
from tests.unit.gateway.parts import MEDIA_RULES
from tidings.broker.base import NewRecord, Producer, TopicPartition
from tidings.clock import SystemClock
from tidings.codec import RULES
from tidings.cold.reader import ColdReader
from tidings.errors import BrokerUnavailable
from tidings.media.memory import MemoryMediaStore
from tidings.runtime.health import Health
from tidings.runtime.settings import KafkaSettings, ProcessSettings, ServiceSettings
from tidings.runtime.start import patiently
from tidings.runtime.worker import Worker
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Stamps

SESSION_S = KafkaSettings().session_timeout_ms / 1000
# Below the number of users, so that groups are full.
GROUP_MEMBERS_MAX = 5
# After a stop a gateway may use what it had read before.
_STALE_S = 1.0
ROLES = ("persister", "fanout", "receipts", *(f"gateway-{ordinal}" for ordinal in range(GATEWAYS)))
_SERVE = {"persister": persister.serve, "fanout": fanout.serve, "receipts": receipts.serve}


@cache
def _settings(role: str, sizes: TopicSizes) -> ServiceSettings:
    process = ProcessSettings()
    kafka = KafkaSettings(
        session_partitions=sizes.session_partitions,
        user_partitions=sizes.user_partitions,
        push_partitions=sizes.push_partitions,
    )
    if role == "receipts":
        return ReceiptsSettings(process=process, kafka=kafka, coalesce=CoalesceSettings(coalesce_ms=250))
    return {"persister": PersisterSettings, "fanout": FanoutSettings}[role](process=process, kafka=kafka)


class Instance:
    """One process of one service."""

    def __init__(self, servers: Servers, role: str, number: int, cold: ColdReader | None = None) -> None:
        """It starts at once. `cold`: what a gateway reads archived messages with."""
        self.role = role
        # Not of gateways: which of two connections of a device is the newer one, their clocks decide.
        error_ms = 0 if role.startswith("gateway") else servers.chance.choice((0, 0, -3_000, 3_000))
        self.process = Process(f"{role}-{number}", error_ms)
        self.reach = Reach(servers, self.process)
        self.gateway: Gateway | None = None
        self._cold = cold
        self.stopping = asyncio.Event()
        self.could_not_start = False
        self.resumed_at_s = -_STALE_S
        self.task = self.process.spawn(self._work(servers))

    @property
    def is_alive(self) -> bool:
        """It has not ended, though it may be stopped."""
        return not self.process.is_dead and not self.task.done()

    def kill(self) -> None:
        """kill -9. Its group learns of it when the session times out."""
        self.process.kill()
        self._lose_sessions_after(SESSION_S)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after some time. It is a zombie then, if that was longer than its session."""
        self.process.stop()
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, self.resume)
        if seconds > SESSION_S:
            self._lose_sessions_after(SESSION_S)

    def resume(self) -> None:
        """SIGCONT."""
        self.resumed_at_s = asyncio.get_running_loop().time()
        self.process.resume()

    def lose_sessions(self) -> None:
        """The coordinator receives no heartbeat, while the process continues as a zombie until it rejoins."""
        self._lose_sessions_after(0.0)

    def rejoin(self) -> None:
        """The members that were dropped notice it."""
        for consumer in self.reach.consumers if self.is_alive else ():
            self.process.spawn(consumer.rejoin_if_dropped())

    def _lose_sessions_after(self, seconds: float) -> None:
        for consumer in self.reach.consumers:
            asyncio.get_running_loop().call_later(seconds, consumer.lose_session)

    async def _work(self, servers: Servers) -> None:
        broker = self.reach.broker()
        if self.role in _SERVE:
            serve, settings = _SERVE[self.role], _settings(self.role, servers.sizes)
            await serve(settings, broker, self.reach.store(), Health(), self.stopping)  # type: ignore[operator]
            return
        ordinal = int(self.role.removeprefix("gateway-"))
        producer, reader = cast(Producer, _Noting(broker.producer(self.role), self, servers)), broker.reader(self.role)
        await patiently(lambda: take_push_partition(reader, ordinal), "push partition")
        try:
            identity = await announce_gateway(producer, ordinal)
        except BrokerUnavailable:
            self.could_not_start = True
            return
        rules = SubmitRules(SIZES, _stamps(servers), messages_per_s=1_000, burst=10_000, pending_calls=1_000)
        clock, store = SystemClock(), self.reach.store(of_gateway=True)
        if self._cold is not None:
            await self._cold.start()
        reads = build_reads(store, clock, history_cache_bytes=1_000_000, pages_at_once=8, cold=self._cold)
        submit = build_submit(producer, identity, reads, store, clock, rules)
        media = build_media(store, MemoryMediaStore(), clock, MEDIA_RULES)
        deployment = store.deployment.fields()
        connections = build_connections(
            reads,
            submit,
            store,
            clock,
            ConnectionRules(_identity, deployment=deployment),
            SocketRules(f"{identity.ordinal:x}-{identity.epoch:x}", AllowedOrigins(), 1_000),
        )
        router = build_push(connections, submit, reads, identity.epoch, clock)
        rest = RestRules(_identity, signing=None, audience="", group_key=b"g" * 32, deployment=deployment)
        self.gateway = Gateway(connections, routes_of(build_calls(reads, submit, media, clock, rest)))
        works: list[Coroutine[Any, Any, Any]] = [read_log(reader, identity, router), connections.ticker.run()]
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.wait([*tasks, asyncio.ensure_future(self.stopping.wait())], return_when="FIRST_COMPLETED")
        finally:
            self.gateway = None
            for task in tasks:
                task.cancel()
        for task in tasks:
            if task.done() and not task.cancelled() and not isinstance(task.exception(), Superseded):
                task.result()


class _Noting:
    """The producer of a gateway, whose records are judged when they are published."""

    def __init__(self, producer: Producer, instance: Instance, servers: Servers) -> None:
        self._producer, self._instance, self._servers = producer, instance, servers

    def send(self, topic: str, partition: int, record: NewRecord) -> Awaitable[int]:
        was_stopped = asyncio.get_running_loop().time() < self._instance.resumed_at_s + _STALE_S
        self._servers.admission.published(topic, record.value or b"", was_stopped=was_stopped)
        return self._producer.send(topic, partition, record)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


class Gateway:
    """What network.py reaches of one gateway while it runs."""

    def __init__(self, connections: Connections, routes: Sequence[Route]) -> None:
        self.connections = connections
        self.routes = routes


class Deployment:
    """All processes, and a supervisor that replaces those that have ended."""

    def __init__(self, servers: Servers, cold: Callable[[int], ColdReader] | None = None) -> None:
        """Nothing runs yet. `cold` makes the reader of archived messages of the gateway with that number."""
        self.servers = servers
        self._cold = cold
        self.instances: list[Instance] = []
        self._numbers = dict.fromkeys(ROLES, 0)

    def start(self, role: str) -> Instance:
        """One more process."""
        self._numbers[role] += 1
        has_cold = self._cold is not None and role.startswith("gateway")
        cold = self._cold(len(self.instances)) if self._cold is not None and has_cold else None
        instance = Instance(self.servers, role, self._numbers[role], cold)
        self.instances.append(instance)
        return instance

    def alive(self, role: str = "") -> list[Instance]:
        """Those that have not ended, stopped ones included."""
        return [one for one in self.instances if one.is_alive and role in ("", one.role)]

    def gateways(self) -> list[Instance]:
        """Those that a load balancer sends clients to: the newest of each ordinal, once it is ready."""
        newest = {one.role: one for one in self.instances if one.gateway is not None and one.is_alive}
        return list(newest.values())

    def confirmed_offset(self, group: str, partition: TopicPartition) -> int:
        """How far the current owner of a partition has come, whether or not it has committed that."""
        held = [
            consumer._listener._lanes[partition].confirmed_offset
            for instance in self.alive()
            for consumer in instance.reach.consumers
            if consumer.group_name == group
            and isinstance(consumer._listener, Worker)
            and partition in (consumer._held or ())
            and partition in consumer._listener._lanes
        ]
        return max(held, default=0)

    def supervise(self) -> None:
        """Start what is missing. Raises what has ended a process that was not stopped."""
        for instance in self.instances:
            if instance.task.done() and not instance.process.is_dead and not instance.could_not_start:
                instance.task.result()
                instance.kill()  # nothing of it runs on
        for role in ROLES:
            if not self.alive(role):
                self.start(role)

    def cancel_tasks(self) -> list[asyncio.Task[Any]]:
        """Cancel all; the tasks to wait for."""
        return [task for instance in self.instances for task in instance.process.cancel_tasks()]


def _identity(token: str, _wall_ms: int) -> Identity:
    """Tokens are user ids: what tests/unit/gateway/test_tokens.py tests is not tested here."""
    return Identity(token, 10**9)


def _stamps(servers: Servers) -> Stamps:
    """Every start of a gateway may come with other settings."""
    choice = servers.chance.choice
    return Stamps(
        rules=RULES,
        segment_messages=choice((3, 7, 10_000)),
        bucket_rows=choice((3, 7, 5_000)),
        recipients_per_part=choice((1, 2, 1_000)),
        write_diffusion_max=choice((2, 3, 4)),
        month_shards=16,
        group_members_max=choice((GROUP_MEMBERS_MAX - 1, GROUP_MEMBERS_MAX)),
    )
