"""Scenarios: the same deployment, in which the test says what happens when, and nothing happens by chance.

A test starts processes, stops one before a certain call, scripts single faults, and appends commands as a gateway
would. There are no delays, so that the order of events is the test's.
"""

import asyncio
import functools
import inspect
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar, cast

from tests.simulation import promises
from tests.simulation.deployment import Instance
from tests.simulation.oracle import Oracle
from tests.simulation.ports import GATEWAYS, Breakpoint, Servers
from tests.simulation.virtual_time import run
from tests.simulation.watcher import Watcher
from tests.simulation.witness import check_directories
from tests.unit.persister.builders import SESSION, command
from tidings import ids, topics
from tidings.broker.base import Committed, NewRecord, Record, TopicPartition
from tidings.metrics import PARTITIONS
from tidings.runtime.initialise import initialise
from tidings.runtime.marks import Marks
from tidings.store.memory import MemoryStore
from tidings.store.rows import InboxRow, MessageRow
from tidings.topics import DELIVER, EXPAND, PERSISTER, RECEIPTS, Group, TopicSizes
from tidings.wire.common_pb2 import Stamps
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.inbound_pb2 import Command
from tidings.wire.presence_pb2 import Presence, PresenceKey
from tidings.wire.push_pb2 import Push, SendAck, SendError
from tidings.wire.receipts_pb2 import Receipt

if TYPE_CHECKING:
    from tests.simulation.schedule import Schedule

# Virtual seconds: a scenario that has not come to its end by then never will.
PATIENCE_S = 200.0
_LOOK_S = 0.05
_SILENT = {"expand": ("fanout", DELIVER.name), "deliver": ("fanout", EXPAND.name)}
P = ParamSpec("P")
R = TypeVar("R", bound="_OfTable")


class _OfTable(Protocol):
    table: ClassVar[str]


class _NoChance(random.Random):
    """No delay, no wrong clock, the first of every choice."""

    def random(self) -> float:
        return 0.0

    def choice(self, seq: Any) -> Any:
        return seq[0]


class Owner(Instance):
    """A process that the test stops, loses and kills."""

    def stop_before(self, breakpoint: Breakpoint) -> None:
        """SIGSTOP before the next such call."""
        self.reach.stop_before(breakpoint)

    async def stopped(self) -> None:
        """Returns when it stands there."""
        async with asyncio.timeout(PATIENCE_S):
            await self.reach.is_at_breakpoint.wait()

    def resume(self) -> None:
        """SIGCONT."""
        self.process.resume()

    def expire(self) -> None:
        """Its sessions run out: others get the partitions, and the process, a zombie now, has not noticed it."""
        for consumer in self.reach.consumers:
            consumer.lose_session()

    def kill(self) -> None:
        """kill -9, and its groups notice it at once."""
        self.process.kill()
        self.expire()

    async def dies(self) -> None:
        """Returns when it stands there, and is killed."""
        await self.stopped()
        self.kill()


class Scenario:
    """Servers and processes of one test."""

    def __init__(self, sizes: TopicSizes) -> None:
        self.servers = Servers(0, sizes, _NoChance())
        self.sizes, self.clock, self.witness = sizes, self.servers.clock, self.servers.witness
        self.broker, self.store = self.servers.broker, self.servers.store
        self.log_faults, self.store_faults = self.servers.log_faults, self.servers.store_faults
        self.oracle, self.watcher = Oracle(self.servers), Watcher(self.servers.confirmed, self.servers.admission)
        self.owners: list[Owner] = []

    # -- processes ---------------------------------------------------------------------------------

    def start(self, *roles: str, stop_before: Breakpoint | None = None) -> Owner:
        """One more process of each role; the last of them. `expand` and `deliver` are a fanout of which the other one
        never gets partitions, because a test of one of its stages has to hold the other still."""
        for role in roles:
            name, *silent = _SILENT.get(role, (role,))
            owner = Owner(self.servers, name, len(self.owners))
            owner.reach.silent_groups = frozenset(silent)
            self.owners.append(owner)
        if stop_before is not None:
            owner.stop_before(stop_before)
        return owner

    # -- what gateways do --------------------------------------------------------------------------

    def publish(self, *commands: Command) -> None:
        """Append commands."""
        for sent in commands:
            partition = ids.partition_of(sent.session_id, self.sizes.session_partitions)
            self.append(topics.MESSAGES_INBOUND, partition, sent.SerializeToString())

    def say(self, user_id: str, delivered_seq: int = 0, read_seq: int = 0, session_id: str = SESSION) -> None:
        """Append how far a user holds and has read the session."""
        receipt = Receipt(session_id=session_id, user_id=user_id, delivered_seq=delivered_seq, read_seq=read_seq)
        partition = ids.partition_of(session_id, self.sizes.session_partitions)
        self.append(topics.RECEIPTS_INBOUND, partition, receipt.SerializeToString())

    def start_gateway(self, gateway: int) -> int:
        """Append a gateway's start record; its epoch."""
        event = GatewayEvent(gateway=gateway, state=GatewayEvent.STATE_STARTED)
        return self.append(topics.GATEWAYS, 0, event.SerializeToString(), str(gateway).encode())

    def presence(self, user_id: str, connection_id: str, gateway: int, epoch: int, *, gone: bool = False) -> None:
        """Announce a connection, or its end. One device a user."""
        state = Presence.STATE_GONE if gone else Presence.STATE_HERE
        value = Presence(gateway_epoch=epoch, connection_id=connection_id, state=state)
        key = PresenceKey(user_id=user_id, device_id="phone", gateway=gateway)
        partition = ids.partition_of(user_id, self.sizes.user_partitions)
        self.append(topics.PRESENCE, partition, value.SerializeToString(), key.SerializeToString())

    async def online(self, user_id: str) -> int:
        """The first gateway starts, and a device of the user is connected to it; the gateway's epoch."""
        epoch = self.start_gateway(0)
        self.presence(user_id, "c1", 0, epoch)
        await asyncio.sleep(1)
        return epoch

    def append(self, topic: str, partition: int, value: bytes, key: bytes | None = None) -> int:
        """A record that has arrived, whatever faults the processes meet; its offset."""
        return self.broker.log.append(TopicPartition(topic, partition), [NewRecord(value, key)])

    # -- what there is to see ----------------------------------------------------------------------

    def rows(self, kind: type[R]) -> list[R]:
        """All rows of a table."""
        return cast(list[R], self.store.rows(kind.table))

    def messages(self) -> list[MessageRow]:
        """Every stored message."""
        return self.rows(MessageRow)

    def inboxes(self) -> dict[str, list[InboxRow]]:
        """Every user's inbox, by inbox_seq."""
        inboxes: dict[str, list[InboxRow]] = defaultdict(list)
        for row in sorted(self.rows(InboxRow), key=lambda row: row.inbox_seq):
            inboxes[row.user_id].append(row)
        return inboxes

    def dump(self) -> dict[str, list[object]]:
        """Every row of every table."""
        return {name.table: list(self.store.rows(name.table)) for name in self.store._partitions}

    def pushes(self, gateway: int = 0) -> list[Push]:
        """All that one gateway was sent."""
        return [Push.FromString(record.value or b"") for record in self.servers.read(topics.PUSH, gateway)]

    def pushed(self, content: str, *gateways: int) -> list[Any]:
        """All that these gateways, or else all, were sent of this kind."""
        pushes = (push for one in gateways or range(GATEWAYS) for push in self.pushes(one))
        return [getattr(push, content) for push in pushes if push.HasField(content)]

    def acks(self) -> list[SendAck]:
        """Every ack ever sent."""
        return self.pushed("send_ack")

    def errors(self) -> list[SendError]:
        """Every refusal ever sent."""
        return self.pushed("send_error")

    def records(self, topic: str) -> Sequence[Record]:
        """All records of a topic, by partition and offset."""
        return self.broker.records(topic)

    def committed(self, group: Group, topic: str, partition: int = 0) -> int:
        """The offset that the group has committed."""
        return self.broker.group(group).commits[TopicPartition(topic, partition)].offset

    def lags(self, group: Group) -> bool:
        """Something on the group's topics is not committed yet."""
        commits = self.broker.group(group).commits
        return any(commits[name].offset < self.broker.partition(name).end_offset for name in commits)

    def rewind(self, group: Group) -> None:
        """As `tidings init` left it: the next owner starts at offset 0 without any marks."""
        commits = self.broker.group(group).commits
        commits.update({name: Committed(0, Marks().encoded()) for name in commits})

    def check(self) -> None:
        """Raises AssertionError unless stored, acked and delivered messages are what the log says."""
        self.oracle.read_on()
        assert not self.witness.rewritten, f"two owners wrote different rows: {self.witness.rewritten[:3]}"
        sessions = {name: one for name, one in self.oracle.sessions.items() if one.messages}
        seen = cast("Schedule", self)  # for these checks: it has servers, an oracle and a watcher
        promises.check_messages(seen, sessions)
        promises.check_versions(seen, sessions)
        promises.check_answers(seen)
        promises.check_inboxes(seen, sessions)
        check_directories(self.store)
        promises.check_session_lists(seen, sessions)
        for ack in self.acks():
            message = sessions[ack.session_id].messages[ack.seq - 1]
            promised = (ack.client_msg_id, ack.message_id, ack.at_ms)
            assert promised == (message.client_msg_id, message.message_id, message.at), f"a false ack: {ack}"

    # -- waiting -----------------------------------------------------------------------------------

    async def stored(self, *commands: Command) -> None:
        """Publish these, and the persister has stored them."""
        self.publish(*commands)
        await self.settled(PERSISTER)

    async def delivered(self, *commands: Command) -> None:
        """Publish these, and they are in all inboxes."""
        self.publish(*commands)
        await self.settled()

    async def checked(self, *commands: Command) -> None:
        """Publish these; when they are in all inboxes, everything is what the log says."""
        await self.delivered(*commands)
        self.check()

    async def seen(self, *commands: Command) -> None:
        """Publish these; they are stored, and receipts has seen them."""
        self.publish(*commands)
        await self.settled(PERSISTER, RECEIPTS)

    async def claimed(self, user_id: str, delivered_seq: int = 0, read_seq: int = 0, session_id: str = SESSION) -> None:
        """Append how far a user holds and has read the session, and receipts has merged it."""
        self.say(user_id, delivered_seq, read_seq, session_id)
        await self.settled(RECEIPTS)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let virtual time go by until it is so. Raises what has ended a process."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for owner in self.owners:
                    if owner.task.done() and not owner.process.is_dead:
                        owner.task.result()
                if is_so():
                    return
                await asyncio.sleep(_LOOK_S)

    async def settled(self, *groups: Group) -> None:
        """These groups, or those a message passes, are at the end of their topics, and the last hints are out."""
        groups = groups or (PERSISTER, EXPAND, DELIVER)
        await self.until(lambda: not any(self.lags(group) for group in groups))
        await asyncio.sleep(3)


@asynccontextmanager
async def running(*roles: str, sessions: int = 1, users: int = 1) -> AsyncIterator[Scenario]:
    """Topics and first offsets, and these processes. At the end all are ended; what has ended one is raised."""
    line = Scenario(TopicSizes(sessions, users, GATEWAYS))
    await initialise(line.broker.admin(), line.sizes, 1)
    if roles:
        line.start(*roles)
    try:
        yield line
        await line.until(lambda: True)
    finally:
        await asyncio.gather(
            *(task for owner in line.owners for task in owner.process.cancel_tasks()), return_exceptions=True
        )


def scenario(
    *roles: str, sessions: int = 1, users: int = 1
) -> Callable[[Callable[Concatenate[Scenario, P], Coroutine[Any, Any, None]]], Callable[P, None]]:
    """Makes a plain test of an `async` one that takes a scenario with these processes first."""

    def decorated(test: Callable[Concatenate[Scenario, P], Coroutine[Any, Any, None]]) -> Callable[P, None]:
        async def played(*args: P.args, **named: P.kwargs) -> None:
            async with running(*roles, sessions=sessions, users=users) as line:
                await test(line, *args, **named)

        @functools.wraps(test)
        def plain(*args: P.args, **named: P.kwargs) -> None:
            run(lambda: played(*args, **named))

        _, *parameters = inspect.signature(test).parameters.values()
        plain.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return plain

    return decorated


def post(
    client_msg_id: str, text: str = "hello", sender: str = "alice", session_id: str = SESSION, **limits: int
) -> Command:
    """A text message on its way, with limits that a gateway stamped on it."""
    sent = command(client_msg_id, text, sender, session_id)
    sent.stamps.MergeFrom(Stamps(**limits))
    return sent


def writes_of(kind: type) -> Breakpoint:
    """Before a write that has such a row in it."""
    return lambda call, rows: call == "write" and any(isinstance(tagged.row, kind) for tagged in rows)


def produces_to(topic: str) -> Breakpoint:
    """Before a produce call to that topic."""
    return lambda call, target: call == "produce" and target.topic == topic


def second(breakpoint: Breakpoint) -> Breakpoint:
    """Not at the first such call, but at the next."""
    hits = itertools.count(1)
    return lambda call, what: breakpoint(call, what) and next(hits) == 2


def held_up(store: MemoryStore, name: str, wait: Callable[[], Awaitable[object]] | None = None) -> asyncio.Event:
    """This read has an answer, as of its beginning, only when the event is set. `delattr` ends it for later calls."""
    read, answers = getattr(store, name), asyncio.Event()

    async def late(*arguments: object) -> object:
        answer = await read(*arguments)
        await (wait or answers.wait)()
        return answer

    setattr(store, name, late)
    return answers


def slow(store: MemoryStore, name: str, delay_s: float) -> None:
    """This read takes so long from now on."""
    held_up(store, name, lambda: asyncio.sleep(delay_s))


def partitions_stopped(stage: str) -> float:
    """The alert metric."""
    gauge = PARTITIONS.labels(stage, "stopped")
    return float(next(sample.value for metric in gauge.collect() for sample in metric.samples))
