"""One run: what happens, step by step, drawn from its seed."""

from collections import defaultdict

from tests.simulation.clients import Device, Gateway
from tests.simulation.commands import USERS, Commands
from tests.simulation.oracle import Oracle
from tests.simulation.processes import STAGES, Members, Process
from tests.simulation.world import GATEWAYS, SIZES, World
from tidings.topics import DELIVERIES
from tidings.wire.inbound_pb2 import Command

STEPS = 200
_QUIET_ROUNDS = 80
_DEVICES = ("phone", "laptop")


class Schedule:
    """Users, gateways, processes, and what befalls them."""

    def __init__(self, world: World) -> None:
        self.world, self.chance = world, world.chance
        self.oracle = Oracle(world)
        self.commands = Commands(world, self.oracle)
        self.gateways = [Gateway(world, ordinal) for ordinal in range(GATEWAYS)]
        self.devices = [Device(world, user_id, name) for user_id in USERS for name in _DEVICES]
        self.stages = {stage: Members(world, stage) for stage in STAGES}
        self.zombies: list[tuple[Members, Process]] = []
        self.gone: list[Process] = []
        # (session, user) -> the highest delivered and read that a gateway has passed on.
        self.claims: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        # Where the counts begin that nothing changes any more, by partition of `deliveries`.
        self.counts_from: dict[int, int] = {}
        self._sent: list[Command] = []

    async def go(self, steps: int) -> None:
        """The run itself."""
        for gateway in self.gateways:
            gateway.start()
        for members in self.stages.values():
            members.start()
        for device in self.devices:
            device.connect(self.chance.choice(self.gateways))
        weighted = (
            (self.post, 22),
            (self.administration, 14),
            (self.repeat, 5),
            (self.work, 60),
            (self.listen, 35),
            (self.say, 8),
            (self.heartbeat, 3),
            (self.reconnect, 5),
            (self.gateway_crashes, 1),
            (self.deploy, 1),
            (self.commit, 10),
            (self.time_goes_by, 10),
            (self.clock_jumps, 1),
            (self.outage, 1),
            (self.process_joins, 2),
            (self.process_crashes, 3),
            (self.session_runs_out, 3),
            (self.zombie_wakes, 3),
            (self.zombie_notices, 2),
        )
        weights = [weight for _, weight in weighted]
        for step in self.chance.choices([step for step, _ in weighted], weights, k=steps):
            await step()
            self.oracle.read_on()

    # -- users -------------------------------------------------------------------------------------

    async def post(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            user_id = self.chance.choice(USERS)
            self._send(self.commands.post(user_id))

    async def administration(self) -> None:
        user_id = self.chance.choice(USERS)
        if not self.commands.groups or (self.commands.wants_group and self.chance.random() < 0.5):
            self._send(self.commands.create(user_id))
        else:
            self._send(self.commands.administration(user_id))

    def _send(self, command: Command) -> None:
        """Through a device of its sender that is connected."""
        devices = self._connected(command.sender_id)
        if devices:
            self.chance.choice(devices).send(command)
            self._sent.append(command)

    def _connected(self, user_id: str = "") -> list[Device]:
        return [one for one in self.devices if one.gateway is not None and user_id in ("", one.user_id)]

    async def repeat(self) -> None:
        """Without an answer, again; with one too, now and then, from another device, or with another content."""
        waiting = [(device, key) for device in self._connected() for key in device.unanswered]
        for device, key in self.chance.sample(waiting, k=min(3, len(waiting))):
            device.retry(key)
        if self._sent and self.chance.random() < 0.4:
            again = self.chance.choice(self._sent[-30:])
            if self.chance.random() < 0.2:
                again = self.commands.other_content(again)
            devices = self._connected(again.sender_id)
            if devices:
                device = self.chance.choice(devices)
                assert device.gateway is not None
                device.gateway.publish(device, again)

    async def listen(self) -> None:
        """Gateways route, devices handle what has come, and sync where they saw a gap."""
        for gateway in self.gateways:
            if self.chance.random() < 0.7:
                await gateway.read(self.chance.choice((1, 5, 50)))
        for device in self._connected():
            if self.chance.random() < 0.5:
                await device.handle(self.chance.choice((1, 3, 50)))
                if device.needs_sync and self.chance.random() < 0.5:
                    await device.sync(self.chance.choice((2, 10, 200)))

    async def say(self) -> None:
        """Watermarks out of order, repeated, from all devices of a user; some above the head."""
        for device in self.chance.sample(self._connected(), k=min(4, len(self._connected()))):
            if device.shown:
                session_id = self.chance.choice(sorted(device.shown))
                last = device.shown[session_id][-1].seq
                delivered = max(1, last - self.chance.choice((0, 0, 0, 1, 3)))
                read = self.chance.choice((0, delivered, max(1, delivered - 2)))
                await self._claim(device, session_id, delivered, read)

    async def _claim(self, device: Device, session_id: str, delivered: int, read: int) -> None:
        if await device.say(session_id, delivered, read):
            claim = self.claims[session_id, device.user_id]
            claim[0], claim[1] = max(claim[0], delivered, read), max(claim[1], read)

    async def heartbeat(self) -> None:
        for device in self._connected():
            if device.gateway is not None and self.chance.random() < 0.3:
                await device.gateway.heartbeat(device)

    async def reconnect(self) -> None:
        for device in self.chance.sample(self.devices, k=2):
            if device.gateway is not None:
                device.disconnect()
            if self.chance.random() < 0.7:
                device.connect(self.chance.choice(self.gateways))

    # -- servers -----------------------------------------------------------------------------------

    async def gateway_crashes(self) -> None:
        self.chance.choice(self.gateways).crash()

    async def deploy(self) -> None:
        self.commands.deploy()

    async def time_goes_by(self) -> None:
        self.world.clock.now_ms += self.chance.choice((1, 20, 300, 1_000, 6_000))

    async def clock_jumps(self) -> None:
        self.world.clock.jumped_ms += self.chance.choice((-360_000, -5_000, 5_000, 310_000, 660_000))

    async def outage(self) -> None:
        self.world.store.stall()
        await self.work()
        self.world.clock.now_ms += 2_000
        self.world.store.heal()

    # -- processes ---------------------------------------------------------------------------------

    async def work(self) -> None:
        """Some processes run a round each, side by side; one may be stopped in its middle."""
        running = [process for members in self.stages.values() for process in members.members]
        running += [process for _, process in self.zombies if not process.stop.is_parked]
        chosen = [process for process in running if self.chance.random() < 0.7]
        for process in chosen:
            process.reading.read_on()
            process.begin(self.chance.choice((1, 5, 500)))
        if chosen and self.chance.random() < 0.12:
            self.chance.choice(chosen).stop.after(self.chance.choice((0, 1, 2, 3, 4, 6, 9, 14)))
        for process in chosen:
            await process.settle()
            if not process.stop.is_parked:
                process.stop.never()
        for stage, members in self.stages.items():
            for process in [one for one in members.members if one.stop.is_parked]:
                self._falls_behind(self.stages[stage], process)

    def _falls_behind(self, members: Members, process: Process) -> None:
        """Stopped in mid-round: its session runs out, and others go on."""
        members.drop(process)
        self.zombies.append((members, process))
        if not members.members or self.chance.random() < 0.3:
            members.start()

    def _any(self) -> tuple[Members, Process]:
        members = self.stages[self.chance.choice(sorted(self.stages))]
        return members, self.chance.choice(members.members)

    async def commit(self) -> None:
        for members in self.stages.values():
            for process in members.members:
                if self.chance.random() < 0.6:
                    process.commit()

    async def process_joins(self) -> None:
        members, _ = self._any()
        if len(members.members) < 2:
            members.start()

    async def process_crashes(self) -> None:
        members, process = self._any()
        members.drop(process)
        self.gone.append(process)
        if not members.members or self.chance.random() < 0.3:
            members.start()

    async def session_runs_out(self) -> None:
        """It works on beside its successor, and does not know."""
        self._falls_behind(*self._any())

    async def zombie_wakes(self) -> None:
        asleep = [process for _, process in self.zombies if process.stop.is_parked]
        if asleep:
            process = self.chance.choice(asleep)
            process.stop.wake()
            await process.settle()

    async def zombie_notices(self) -> None:
        awake = [pair for pair in self.zombies if not pair[1].stop.is_parked]
        if awake:
            members, process = pair = self.chance.choice(awake)
            self.zombies.remove(pair)
            members.join(process)

    # -- the end -----------------------------------------------------------------------------------

    async def end(self) -> None:
        """No more faults; half of the zombies wake once more; new processes replay what was not committed."""
        self.world.heal()
        for _, process in self.zombies:
            if self.chance.random() < 0.5:
                process.stop.wake()
                process.begin(500)
                await process.settle()
        self.gone += [process for _, process in self.zombies]
        self.zombies.clear()
        for members in self.stages.values():
            for process in list(members.members):
                members.drop(process)
                self.gone.append(process)
            members.start()
        for device in self.devices:
            if device.gateway is None:
                device.connect(self.chance.choice(self.gateways))
        await self._quiet(all_is_shown=False)
        self.oracle.read_on()
        await self._last_words()
        await self._quiet(all_is_shown=True)
        self.oracle.read_on()

    async def _last_words(self) -> None:
        """In every group somebody says something and all read it; some go, some come, and some read once more.

        Nobody fails any more: what authors are told now is the truth, and that of the second time is to the last.
        """
        groups = self.commands.groups_in_use()
        for is_last in (False, True):
            for session_id in groups:
                changes = self.commands.change_of_members(session_id) if is_last else []
                for command in (*changes, self.commands.post_to(self.oracle.session(session_id).owner, session_id)):
                    self._send(command)
            await self._seconds_go_by(1)
            self.oracle.read_on()
            self.counts_from = {number: self.world.end(DELIVERIES, number) for number in range(SIZES.user_partitions)}
            for session_id in groups:
                await self._read_now(session_id, is_last)
            await self._seconds_go_by(3)

    async def _read_now(self, session_id: str, is_last: bool) -> None:
        """All but the owner, the last time some: what the others have read is only in the tables, or in memory."""
        session = self.oracle.session(session_id)
        readers = sorted(session.members.keys() - {session.owner})
        for user_id in self.chance.sample(readers, k=(len(readers) + 1) // 2) if is_last else readers:
            device = self.chance.choice(self._connected(user_id))
            await self._claim(device, session_id, session.seq, session.seq)

    async def _quiet(self, all_is_shown: bool) -> None:
        """Until nobody has anything to do: everything is answered and delivered, and shown where that is asked for."""
        shown = -1
        for turn in range(_QUIET_ROUNDS):
            await self._seconds_go_by(1)
            for device in self.devices:
                for key in list(device.unanswered):
                    device.retry(key)
                assert device.gateway is not None
                if turn % 2:
                    await device.gateway.heartbeat(device)
                await device.handle(1_000)
                if device.needs_sync:
                    await device.sync(200)
            if not all_is_shown and not self._what_is_left():
                return
            if turn % 2 and not self._what_is_left():
                before, shown = shown, sum(len(some) for device in self.devices for some in device.shown.values())
                if shown == before:
                    return
        raise AssertionError(f"no end in sight: {self._what_is_left()}")

    async def _seconds_go_by(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.clock.now_ms += 1_000
            await self._everybody_works()

    async def _everybody_works(self) -> None:
        for members in self.stages.values():
            for process in members.members:
                process.reading.read_on()
                process.begin(500)
                await process.settle()
                process.commit()
        for gateway in self.gateways:
            await gateway.read(1_000)

    def _what_is_left(self) -> list[str]:
        processes = [process for members in self.stages.values() for process in members.members]
        left = [f"{one.name} lags {one.stopped_partitions}" for one in processes if not one.is_idle]
        waiting = [one for one in self.devices if one.unanswered or one.frames or one.needs_sync]
        return left + [f"{one.connection_id}: {list(one.unanswered)[:3]} {one.needs_sync}" for one in waiting]

    def bury(self) -> None:
        """Leave no task behind."""
        zombies = [process for _, process in self.zombies]
        members = [process for one in self.stages.values() for process in one.members]
        for process in (*self.gone, *zombies, *members):
            if process.task is not None:
                process.task.cancel()
