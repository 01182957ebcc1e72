"""One run: what people do and what befalls the servers, drawn from the seed; then healing, and everything at rest."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from tests.simulation.archiving import Archiving
from tests.simulation.auditing import Auditing
from tests.simulation.deployment import ROLES, SESSION_S, Deployment
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.people import People
from tests.simulation.ports import SIZES, Servers
from tests.simulation.promises import missing_at
from tests.simulation.virtual_time import current_process
from tests.simulation.watcher import Watcher
from tidings.runtime.initialise import initialise
from tidings.store.rows import MessageRow
from tidings.topics import DELIVERIES, GROUPS, declared

STEPS = 90
# Virtual seconds between two steps, in the mean.
_STEP_S = 0.12
_SWEEP_S = 0.2
# How likely a member that was dropped notices it at a sweep: 3 s in the mean, as with heartbeats of the group.
_NOTICED = 0.06
# Until everything is at rest: an SDK's retry waits up to 36 s, a heartbeat 20 s, and a device is dropped after 40 s.
_REST_S = 400.0


class NoEnd(AssertionError):
    """The deployment does not come to rest. What is missing then, the promises say more precisely."""


class Schedule:
    """Everything of one run."""

    def __init__(self, seed: int, *, archives: bool = False) -> None:
        """`archives`: archivers run, too."""
        self.servers = Servers(seed)
        self.archiving = Archiving(self.servers, seed) if archives else None
        # Only here, because its reads draw faults, and the runs without archivers stay what they were.
        self.auditing = Auditing(self.servers, self.archiving.objects) if self.archiving else None
        self.chance = self.servers.chance
        self.oracle = Oracle(self.servers)
        self.watcher = Watcher(self.servers.confirmed, self.servers.admission)
        self.deployment = Deployment(self.servers, self.archiving.reader if self.archiving else None)
        self.network = Network(self.deployment, self.watcher)
        self.people = People(self.servers, self.oracle, self.watcher)
        # Where the counts begin that nothing changes any more, by partition of `deliveries`.
        self.counts_from: dict[int, int] = {}
        self.failed: list[BaseException] = []
        self._sweeping: asyncio.Task[None] | None = None
        self._archiving: asyncio.Task[None] | None = None
        self._auditing: asyncio.Task[None] | None = None

    async def go(self) -> None:
        """The whole run, with its end."""
        assert current_process() is None
        await initialise(self.servers.broker.admin(), SIZES, 1)
        with self.network.installed():
            self._sweeping = asyncio.create_task(self._sweep())
            try:
                await self._begin()
                await self._run_actions()
                await self._end()
            finally:
                await self._cancel_tasks()

    async def _begin(self) -> None:
        for role in ROLES:
            self.deployment.start(role)
        await self._until(lambda: len(self.deployment.gateways()) == SIZES.push_partitions, "the gateways are ready")
        await self.people.come()
        await self._until(
            lambda: not any(device.is_busy for device in self.people.devices), "every device is connected"
        )
        self.servers.begin_faults()
        if self.archiving is not None:
            self._archiving = asyncio.create_task(self.archiving.go())
        if self.auditing is not None:
            self._auditing = asyncio.create_task(self.auditing.go())

    async def _run_actions(self) -> None:
        weighted: tuple[tuple[Callable[[], object], int], ...] = (
            (self.people.say, 46),
            (self.people.administer, 20),
            (self.people.block, 5),
            (self.people.read_something, 18),
            (self.restart_device, 3),
            (self.break_connections, 3),
            (self.kill, 3),
            (self.freeze, 3),
            (self.lose_sessions, 3),
            (self.one_more, 3),
            (self.one_less, 1),
            (self.outage, 1),
            (self.jump, 1),
        )
        steps = self.chance.choices([step for step, _ in weighted], [weight for _, weight in weighted], k=STEPS)
        for step in steps:
            await asyncio.sleep(self.chance.expovariate(1 / _STEP_S))
            done = step()
            if isinstance(done, Awaitable):
                await done
            self._look()

    def _look(self) -> None:
        self.oracle.read_on()
        if self.failed:
            raise self.failed[0]

    async def _sweep(self) -> None:
        """What systems around the product do: replace what has ended, and break connections to it."""
        try:
            while True:
                await asyncio.sleep(_SWEEP_S)
                self.network.sweep()
                for instance in self.deployment.alive():
                    if self.chance.random() < _NOTICED:
                        instance.rejoin()
                if self.chance.random() < 0.2:
                    self.deployment.supervise()
        except Exception as error:  # noqa: BLE001 - it is raised by the next step
            self.failed.append(error)

    # -- faults --------------------------------------------------------------------------------------

    async def restart_device(self) -> None:
        device = self.chance.choice(self.people.devices)
        await device.end()
        await device.start()
        if self.chance.random() < 0.7:
            self.people.say_at_once(device)

    def break_connections(self) -> None:
        """Some devices lose their networks."""
        connections = sorted(self.network.connections, key=lambda one: one.name)
        for connection in self.chance.sample(connections, k=min(2, len(connections))):
            connection.break_off()

    def kill(self) -> None:
        """kill -9."""
        alive = self.deployment.alive()
        if alive:
            self.chance.choice(alive).kill()

    def freeze(self) -> None:
        """SIGSTOP for some time, mostly in the middle of a round."""
        running = [one for one in self.deployment.alive() if not one.process.is_stopped]
        if running:
            self.chance.choice(running).freeze(self.chance.choice((0.3, 3.0, 9.0, 13.0)))

    def lose_sessions(self) -> None:
        """A process continues next to its successor until it notices."""
        workers = [one for one in self.deployment.alive() if one.reach.consumers]
        if workers:
            self.chance.choice(workers).lose_sessions()

    def one_more(self) -> None:
        """A second process of a stage joins its group."""
        role = self.chance.choice(("persister", "fanout", "receipts"))
        if len(self.deployment.alive(role)) < 2:
            self.deployment.start(role)

    def one_less(self) -> None:
        """SIGTERM."""
        role = self.chance.choice(("persister", "fanout", "receipts"))
        alive = self.deployment.alive(role)
        if len(alive) > 1:
            alive[0].stopping.set()

    async def outage(self) -> None:
        """Kafka or Cassandra does not answer."""
        server = self.chance.choice((self.servers.broker, self.servers.store))
        server.stall()
        if server is self.servers.store:
            self.servers.read_store.stall()
        await asyncio.sleep(self.chance.choice((0.5, 6.0)))
        server.heal()
        self.servers.read_store.heal()

    def jump(self) -> None:
        """The brokers' clock is set."""
        self.servers.clock.jumped_ms += self.chance.choice((-360_000, -5_000, 5_000, 310_000))

    # -- the end -------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """No more faults. Processes are replaced again, so that what was not committed is done again."""
        self.servers.heal()
        await self._end_archivers()
        for instance in self.deployment.alive():
            instance.resume()
        for instance in self.deployment.alive():
            if instance.gateway is None and self.chance.random() < 0.5:
                instance.kill()
        # Until the groups have noticed the kills. A later owner would not know whose the last messages are.
        await asyncio.sleep(SESSION_S + 4)
        await self._rests()
        await self._last_words()
        await self._rests()
        self.people.look_at_peers()
        await self._until(lambda: not self.people.calls_under_way, "every look is answered")
        if self.archiving is not None:
            await self.archiving.finish()
        if self.auditing is not None and self._auditing is not None:
            self._auditing.cancel()
            await asyncio.gather(self._auditing, return_exceptions=True)
            await self.auditing.audit()

    async def _end_archivers(self) -> None:
        """Those that run continue to their ends, or their deaths, while devices come to rest."""
        if self._archiving is not None:
            self._archiving.cancel()
            await asyncio.gather(self._archiving, return_exceptions=True)

    async def _last_words(self) -> None:
        """In every group the owner says something, and every member reads it, so that the last counts are final."""
        self.counts_from = {number: self.servers.end(DELIVERIES, number) for number in range(SIZES.user_partitions)}
        for session_id in self.groups_in_use():
            self.people.say_to(session_id, self.oracle.session(session_id).owner)
        await self._rests()
        for session_id in self.groups_in_use():
            session = self.oracle.session(session_id)
            for user_id in sorted(session.members.keys() - {session.owner}):
                self.people.device_of(user_id).read(session_id, session.seq)

    def groups_in_use(self) -> list[str]:
        """Those with members whose owner may speak."""
        sessions = [self.oracle.session(name) for name in self.people.groups]
        return [one.session_id for one in sessions if one.members and not one.members[one.owner].muted_until]

    async def _rests(self) -> None:
        """Nothing is under way: calls, sends, rounds, deliveries; and for two seconds nothing has moved."""
        moved = [-1, -2]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REST_S):
                while moved[-1] != moved[-2] or self._left():
                    await asyncio.sleep(1.0)
                    self._look()
                    moved = [moved[-1], self._moved()]
                return
        raise NoEnd(f"no end in sight: {self._left()}")

    def _moved(self) -> int:
        topics = [(topic.name, number) for topic in declared(SIZES) for number in range(topic.partitions)]
        shown = sum(len(some) for device in self.people.devices for some in device.shown.values())
        return shown + sum(self.servers.end(*place) for place in topics if place[0] != "presence")

    def _left(self) -> list[str]:
        left = [f"{one.user_id}.{one.device_id} is busy" for one in self.people.devices if one.is_busy]
        if self.people.calls_under_way:
            left.append(f"{self.people.calls_under_way} calls")
        for group in GROUPS:
            for partition, committed in self.servers.broker.group(group).commits.items():
                # A commit may have been lost although it was confirmed: then its owner has it as done.
                done = max(committed.offset, self.deployment.confirmed_offset(group.name, partition))
                if done != self.servers.end(*partition):
                    left.append(f"{group.name} at {committed.offset} of {partition}")
        sessions = {name: session for name, session in self.oracle.sessions.items() if session.messages}
        return left or [
            f"{device.user_id}.{device.device_id} lacks {missing}"
            for device in self.people.devices
            if (missing := missing_at(device, sessions))
        ]

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(_REST_S):
                while not holds():
                    await asyncio.sleep(0.1)
                    self._look()
        except TimeoutError:
            raise AssertionError(f"not within {_REST_S} s: {what}") from None

    async def _cancel_tasks(self) -> None:
        """Leave no task behind."""
        for task in (self._sweeping, self._auditing):
            if task is not None:
                task.cancel()
        self.servers.heal()
        await self.people.go()
        archivers = self.archiving.end() if self.archiving is not None else []
        await asyncio.gather(*self.deployment.cancel_tasks(), *archivers, return_exceptions=True)

    def messages(self) -> list[MessageRow]:
        """Every stored message, hot or cold."""
        if self.archiving is not None:
            return list(self.archiving.messages())
        return [row for row in self.servers.store.rows("messages") if isinstance(row, MessageRow)]
