"""Membership changes and messages, cut anywhere into rounds, repeated, reloaded: users get theirs once, in order."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.fanout.deliver_worker import DeliverStage
from services.fanout.expand_worker import ExpandStage
from services.fanout.presence_reader import PresenceReader
from tests.unit.fanout.groups import GroupLog, Session
from tidings.broker.base import NewRecord, Record, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.ids import Position
from tidings.runtime.hints import HintSender
from tidings.runtime.lanes import Arrival
from tidings.runtime.marks import Marks
from tidings.runtime.round import Round
from tidings.store.memory import MemoryStore
from tidings.store.rows import InboxRow, UserSessionRow
from tidings.topics import DELIVERIES, MESSAGES_PERSISTED, PUSH
from tidings.wire.deliveries_pb2 import Delivery
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.push_pb2 import Push

PERSISTED = TopicPartition(MESSAGES_PERSISTED, 0)
USERS = [f"user{number}" for number in range(7)]
USER_PARTITIONS = 2

# What happens to a round: done; not confirmed and run again; the same by another owner; done, and then given up.
FATES = ("confirmed", "repeated", "given up", "taken over")

Steps = list[tuple[str, int, int]]  # what, which group, which user
Cuts = list[tuple[int, str]]  # records in a round, and its fate
steps = st.lists(
    st.tuples(
        st.sampled_from(["say", "say", "add", "add", "remove", "name", "again", "dissolve"]),
        st.integers(0, 1),
        st.integers(0, len(USERS) - 1),
    ),
    max_size=40,
)
cuts = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(FATES)), min_size=1, max_size=10)
# A new owner has no record of what was pushed before, and pushes again.
cuts_of_one_owner = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(FATES[:3])), min_size=1, max_size=10)


class Emitted:
    """A producer that keeps what it gets."""

    def __init__(self) -> None:
        self.records: dict[TopicPartition, list[NewRecord]] = defaultdict(list)

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """See Producer."""
        self.records[TopicPartition(topic, partition)].extend(records)
        return 0

    def send(self, topic: str, partition: int, record: NewRecord) -> asyncio.Future[int]:
        """See Producer. No test here uses it."""
        raise NotImplementedError

    async def start(self) -> None:
        """See Producer."""

    async def stop(self) -> None:
        """See Producer."""


def played(script: Steps, sizes: int) -> tuple[list[GroupLog], list[Persisted]]:
    """Two groups and the records of messages.persisted; `again`: the persister replays its last records."""
    groups = [GroupLog(f"g:{number}", 3, recipients_per_part=sizes) for number in range(2)]
    originals = [group.add(offset, USERS[: 2 + 3 * offset]) for offset, group in enumerate(groups)]
    log = list(originals)
    for what, number, index in script:
        if what == "again":
            log.extend(originals[-index - 1 :])
            continue
        persisted = _done(groups[number], len(originals), what, index)
        if persisted is not None:
            originals.append(persisted)
            log.append(persisted)
    return groups, log


def _done(group: GroupLog, offset: int, what: str, index: int) -> Persisted | None:
    user = USERS[index]
    is_in, is_last = user in group.members, len(group.members) == 1
    if what == "say" and not group.is_dissolved:
        return group.say(offset)
    if what == "add" and not is_in and not group.is_dissolved:
        return group.add(offset, [user])
    if what == "remove" and is_in and not is_last and not group.is_dissolved:
        return group.remove(offset, user)
    if what == "name" and is_in and not group.is_dissolved:
        return group.name(offset, user)
    if what == "dissolve" and index == 0 and not group.is_dissolved:
        return group.dissolve(offset)
    return None


def no_round() -> None:
    """A request for a round that no worker runs."""


def presence_of(broker: MemoryBroker) -> PresenceReader:
    presence = PresenceReader(broker.reader("presence"), no_round)
    presence.gateways.apply(GatewayEvent(gateway=1, state=GatewayEvent.STATE_STARTED), 7)
    return presence


class Expanding:
    """Expand's stage, round by round."""

    def __init__(self, groups: list[GroupLog]) -> None:
        self.groups = groups
        self.store = MemoryStore()
        self.emitted = Emitted()
        self.confirmed = Emitted()
        self.hinted = Emitted()
        self.hints = HintSender(self.hinted, "expand", 2)
        self.marks = Marks()
        self.stage = ExpandStage(
            self.store, self.emitted, self.hints, presence_of(MemoryBroker()), user_partitions=USER_PARTITIONS
        )

    async def run(self, log: Sequence[Persisted], rounds: Cuts) -> None:
        """All of the log, cut into these rounds over and over."""
        at, number = 0, 0
        while at < len(log):
            size, fate = rounds[number % len(rounds)]
            arrivals = [self._arrival(offset, log[offset]) for offset in range(at, min(at + size, len(log)))]
            await self._round(arrivals, fate)
            at, number = at + size, number + 1
        await self.hints.stop()

    def _arrival(self, offset: int, persisted: Persisted) -> Arrival[Persisted]:
        value = persisted.SerializeToString()
        record = Record(MESSAGES_PERSISTED, 0, offset, persisted.message.at_ms, None, value)
        return Arrival(record, self.stage.decode(record))

    async def _round(self, arrivals: list[Arrival[Persisted]], fate: str) -> None:
        await self._store_up_to(arrivals)
        if fate in ("repeated", "taken over"):
            await self._run(arrivals)
            self.stage.confirmed([])
        if fate == "taken over":
            self.stage.forget()
        before = {target: len(records) for target, records in self.emitted.records.items()}
        work = await self._run(arrivals)
        assert not work.failed
        self.marks = work.marks[PERSISTED]
        self.stage.confirmed([PERSISTED])
        for target, records in self.emitted.records.items():
            self.confirmed.records[target].extend(records[before.get(target, 0) :])
        if fate == "given up":
            self.stage.forget()

    async def _run(self, arrivals: list[Arrival[Persisted]]) -> Round[Persisted]:
        first = Position(0, arrivals[0].record.offset)
        work = Round({PERSISTED: arrivals}, {PERSISTED: self.marks}, {PERSISTED: first}, lambda: True)
        await self.stage.run(work)
        return work

    async def _store_up_to(self, arrivals: list[Arrival[Persisted]]) -> None:
        """The tables hold the versions of what is on the log, and of one message more: its round is not confirmed."""
        for group in self.groups:
            seqs = [
                arrival.content.message.seq
                for arrival in arrivals
                if isinstance(arrival.content, Persisted) and arrival.content.message.session_id == group.session_id
            ]
            await self.store.write(group.rows_up_to(max(seqs, default=0) + 1))

    @property
    def pushed(self) -> dict[str, list[int]]:
        """What gateway 1 was sent, per session."""
        seqs: dict[str, list[int]] = defaultdict(list)
        for record in self.hinted.records[TopicPartition(PUSH, 1)]:
            push = Push.FromString(record.value or b"")
            assert push.gateway_epoch == 7
            assert not push.message.user_ids
            seqs[push.message.message.session_id].append(push.message.message.seq)
        return seqs


@pytest.mark.promise("G10")
@settings(max_examples=300)
@given(steps, cuts, st.integers(1, 3))
def test_members_get_exactly_the_messages_of_their_intervals(
    script: Steps, rounds: Cuts, recipients_per_part: int
) -> None:
    groups, log = played(script, recipients_per_part)
    expanding = Expanding(groups)

    async def play() -> MemoryStore:
        await expanding.run(log, rounds)
        return await delivered(expanding.emitted)

    store = asyncio.run(play())
    for group in groups:
        for user in USERS:
            assert inbox_of(store, user, group.session_id) == group.inboxes[user]
            assert session_of(store, user, group.session_id) == group.sessions.get(user)


@settings(max_examples=200)
@given(steps, cuts_of_one_owner)
def test_gateway_gets_each_group_log_push_once_and_in_order(script: Steps, rounds: Cuts) -> None:
    groups, log = played(script, 1_000)
    expanding = Expanding(groups)
    asyncio.run(expanding.run(log, rounds))
    for group in groups:
        assert expanding.pushed[group.session_id] == group.reads


@settings(max_examples=200)
@given(steps, cuts, st.integers(1, 3))
def test_expand_emits_once_and_alike_at_every_owner(script: Steps, rounds: Cuts, recipients_per_part: int) -> None:
    groups, log = played(script, recipients_per_part)
    expanding = Expanding(groups)
    asyncio.run(expanding.run(log, rounds))
    for target, records in expanding.confirmed.records.items():
        values = Counter(record.value for record in records)
        assert max(values.values()) == 1
        assert values.keys() == {record.value for record in expanding.emitted.records[target]}


async def delivered(emitted: Emitted) -> MemoryStore:
    """The tables after deliver has gone through these records."""
    store, broker = MemoryStore(), MemoryBroker()
    presence = PresenceReader(broker.reader("presence"), no_round)
    deliver = DeliverStage(store, HintSender(Emitted(), "deliver", 1), presence, 0)
    arrivals, marks = {}, {}
    for target, records in emitted.records.items():
        found = [Record(DELIVERIES, target.partition, offset, 0, None, one.value) for offset, one in enumerate(records)]
        arrivals[target] = [Arrival(record, deliver.decode(record)) for record in found]
        marks[target] = Marks()
    work: Round[Delivery] = Round(arrivals, marks, {target: Position(0, 0) for target in arrivals}, lambda: True)
    await deliver.run(work)
    assert not work.failed
    return store


def inbox_of(store: MemoryStore, user: str, session_id: str) -> list[int]:
    rows = [row for row in store.rows("inbox") if isinstance(row, InboxRow) and row.user_id == user]
    rows.sort(key=lambda row: row.inbox_seq)
    assert [row.inbox_seq for row in rows] == list(range(1, len(rows) + 1))
    return [row.seq for row in rows if row.session_id == session_id]


def session_of(store: MemoryStore, user: str, session_id: str) -> Session | None:
    for row in store.rows("user_sessions"):
        if isinstance(row, UserSessionRow) and (row.user_id, row.session_id) == (user, session_id):
            return Session(row.joined_seq, row.joined_count, row.left_seq, row.mode)  # type: ignore[arg-type]
    return None
