"""How a message is found, and the answers where there is none. Log and tables are written by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.builders import session, write_confirmed
from tests.fakes.cold import FakeCold, purge
from tests.unit.persister.builders import SESSION, command
from tidings import ids
from tidings.broker.base import Committed, NewRecord, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.errors import BrokerUnavailable
from tidings.runtime.initialise import initialise
from tidings.runtime.marks import Marks
from tidings.store.base import KeyBucket, SessionSegment
from tidings.store.memory import MemoryStore
from tidings.store.memory_archive import MemoryArchiveTables
from tidings.store.rows import MODE_WRITE, KeyRow, UserSessionRow
from tidings.topics import MESSAGES_INBOUND, PERSISTER, TopicSizes
from tidings.tracing.finding import Finder, Found
from tidings.tracing.lines import Outcome, Source, Trace
from tidings.tracing.log_view import LogView, log_view
from tidings.tracing.subjects import ByKey, ByMessageId, ByPlace, Subject
from tidings.wire.inbound_pb2 import CloseSegment, Command

SIZES = TopicSizes(2, 2, 2)
PARTITION = ids.partition_of(SESSION, 2)
INBOUND = TopicPartition(MESSAGES_INBOUND, PARTITION)


@dataclass
class World:
    """Commands on the log, and what a persister has stored of them."""

    broker: MemoryBroker = field(default_factory=MemoryBroker)
    store: MemoryStore = field(default_factory=MemoryStore)
    cold: FakeCold = field(default_factory=FakeCold)
    epoch: int = 0

    async def begin(self, *lengths: int) -> None:
        """Empty topics, and a session with segments of these lengths, whose commands are not on the log."""
        await initialise(self.broker.admin(), SIZES, 1)
        await write_confirmed(self.store, session(SESSION, *lengths))

    async def append(self, *values: bytes | Command) -> None:
        records = [NewRecord(value if isinstance(value, bytes) else value.SerializeToString()) for value in values]
        await self.broker.producer("test").produce(*INBOUND, records)

    def confirm(self, offset: int) -> None:
        """The persister has committed up to this offset."""
        self.broker.group(PERSISTER).commits[INBOUND] = Committed(offset, Marks().encoded())

    async def key(self, sent: Command, seq: int, message_id: int, session_id: str = SESSION) -> None:
        bucket = KeyBucket.of(session_id, sent.client_msg_id)
        row = KeyRow(*bucket, sent.sender_id, sent.client_msg_id, seq, message_id, sent.digest, seq, 0, seq)
        await write_confirmed(self.store, [row])

    async def find(self, subject: Subject) -> Found | Trace:
        async with log_view(self.broker, self.epoch, SIZES) as log:
            return await Finder(self.store, log, self.cold).find(subject)

    async def ended(self, subject: Subject) -> tuple[Outcome, str]:
        """The outcome, and all texts, of a trace that finds no message."""
        found = await self.find(subject)
        assert isinstance(found, Trace)
        return found.outcome, " | ".join(line.text for line in found.lines)

    async def found(self, subject: Subject) -> Found:
        found = await self.find(subject)
        assert isinstance(found, Found)
        return found


def message_id(offset: int, epoch: int = 0, partition: int = PARTITION) -> ByMessageId:
    return ByMessageId(ids.message_id(epoch, partition, offset))


async def world(*lengths: int) -> World:
    made = World()
    await made.begin(*(lengths or (3,)))
    return made


# -- by message id -----------------------------------------------------------------------------------


async def test_a_stored_message_is_found_by_its_id() -> None:
    here, sent = await world(), command("m1")
    await here.append(command("m0"), sent)
    await here.key(sent, 2, message_id(1).message_id)
    found = await here.found(message_id(1))
    assert (found.session_id, found.seq, found.is_hot, found.notes) == (SESSION, 2, True, ())
    assert found.record is not None
    assert found.record.offset == 1


async def test_a_command_above_the_commit_waits() -> None:
    here = await world()
    await here.append(command("m0"), command("m1"), command("m2"))
    here.confirm(1)
    outcome, text = await here.ended(message_id(2))
    assert outcome is Outcome.WAITING
    assert "post of alice in d:alice:bob | not confirmed: the persister stands at offset 1, 1 before it" in text


async def test_a_confirmed_command_without_a_row_made_no_message() -> None:
    here = await world()
    await here.append(command("m0"), command("m1"))
    here.confirm(2)
    outcome, text = await here.ended(message_id(1))
    assert outcome is Outcome.NOT_FOUND
    assert "the persister, now at offset 2, has decided it and stored nothing" in text


async def test_a_persister_without_a_commit_is_unknown() -> None:
    here = await world()
    await here.append(command("m0"))
    here.broker.group(PERSISTER).commits.clear()
    assert (await here.ended(message_id(0)))[0] is Outcome.UNKNOWN


async def test_a_repeat_leads_to_the_first_message() -> None:
    here, sent = await world(), command("m1")
    await here.append(sent, sent)
    await here.key(sent, 2, message_id(0).message_id)
    found = await here.found(message_id(1))
    assert found.seq == 2
    assert "a repeat" in found.notes[0].text
    assert found.record is None  # it is not the record of the stored message


async def test_a_conflict_made_no_message() -> None:
    here = await world()
    await here.append(command("m1", "other text"))
    await here.key(command("m1"), 2, 99)
    outcome, text = await here.ended(message_id(0))
    assert outcome is Outcome.NOT_FOUND
    assert "conflict" in text


@pytest.mark.parametrize(
    ("subject", "outcome", "text"),
    [
        (message_id(7), Outcome.NOT_FOUND, "the partition ends at offset 1"),
        (message_id(0, partition=2), Outcome.NOT_FOUND, "has no partition 2"),
        (message_id(0, epoch=4), Outcome.NOT_FOUND, "is of epoch 4, and this deployment is at epoch 3"),
        (message_id(0, epoch=2), Outcome.UNKNOWN, "is of epoch 2, whose topics are gone"),
        (ByMessageId(2**63 - 1), Outcome.NOT_FOUND, "is of epoch 63"),
    ],
)
async def test_impossible_ids_are_explained(subject: ByMessageId, outcome: Outcome, text: str) -> None:
    here = await world()
    await here.append(command("m0"))
    here.epoch = 3
    if ids.split_message_id(subject.message_id)[0] == 0:
        here.epoch = 0
    found = await here.ended(subject)
    assert found[0] is outcome
    assert text in found[1]


async def test_an_id_older_than_the_topic_asks_for_another_name() -> None:
    here = await world()
    await here.append(command("m0"), command("m1"))
    here.broker.partition(INBOUND).delete_before(1)
    outcome, text = await here.ended(message_id(0))
    assert outcome is Outcome.UNKNOWN
    assert "keeps 7 days, and no table is by message_id: name it by session and seq" in text


async def test_records_that_are_no_messages_are_explained() -> None:
    here = await world()
    closing = Command(stamps=command("m").stamps, session_id=SESSION, close_segment=CloseSegment(segment=1, last_seq=3))
    newer = command("m2")
    newer.stamps.rules = 60
    await here.append(b"\xff\xff poison", closing, newer)
    outcome, text = await here.ended(message_id(0))
    assert (outcome, "tidings dlq list" in text) == (Outcome.NOT_FOUND, True)
    outcome, text = await here.ended(message_id(1))
    assert (outcome, "archiver" in text) == (Outcome.NOT_FOUND, True)
    outcome, text = await here.ended(message_id(2))
    assert (outcome, "the partition stops at this command" in text) == (Outcome.WAITING, True)


# -- by place ----------------------------------------------------------------------------------------


async def test_places_outside_of_a_session_are_explained() -> None:
    here = await world(3)
    assert (await here.found(ByPlace(SESSION, 3))).seq == 3
    outcome, text = await here.ended(ByPlace(SESSION, 4))
    assert (outcome, "ends at seq 3" in text) == (Outcome.NOT_FOUND, True)
    outcome, text = await here.ended(ByPlace("d:alice:zoe", 1))
    assert (outcome, text) == (Outcome.NOT_FOUND, "d:alice:zoe has no messages")


async def test_a_lost_row_is_reported_as_lost() -> None:
    here = await world(3)
    await MemoryArchiveTables(here.store).drop_messages(SessionSegment(SESSION, 1), 3, 2**62)
    outcome, text = await here.ended(ByPlace(SESSION, 2))
    assert outcome is Outcome.NOT_FOUND
    assert text.startswith("LOST: seq 2 is below the head, 3")


async def test_a_purged_message_is_gone_for_good() -> None:
    here = await world(3, 4)
    await purge(here.store, SESSION, 3)
    outcome, text = await here.ended(ByPlace(SESSION, 2))
    assert outcome is Outcome.NOT_FOUND
    assert "removed for good: messages up to seq 3" in text
    assert (await here.found(ByPlace(SESSION, 4))).is_hot


async def test_a_cold_message_is_read_from_its_object() -> None:
    here = await world(3, 4)
    await here.cold.take(here.store, SESSION, 1)
    found = await here.found(ByPlace(SESSION, 2))
    assert (found.is_hot, found.problem) == (False, "")
    assert found.message is not None
    assert found.message.client_msg_id == "m-2"
    assert found.segment.cold is not None


async def test_a_cold_message_that_cannot_be_read_is_still_found() -> None:
    here = await world(3, 4)
    await here.cold.take(here.store, SESSION, 1)
    here.cold.away.add(SESSION)
    found = await here.found(ByPlace(SESSION, 2))
    assert found.message is None
    assert "cannot be read now" in found.problem


# -- by key ------------------------------------------------------------------------------------------


def listed(*names: str) -> Sequence[UserSessionRow]:
    return [UserSessionRow("alice", name, 1, 0, 0, MODE_WRITE) for name in names]


async def test_a_key_is_found_with_and_without_its_session() -> None:
    here = await world(3)
    await write_confirmed(here.store, listed("d:alice:zoe", SESSION))
    await here.key(command("m1"), 2, 5)
    assert (await here.found(ByKey("alice", "m1"))).seq == 2
    assert (await here.found(ByKey("alice", "m1", SESSION))).seq == 2


async def test_one_key_in_several_sessions_is_noted() -> None:
    here = await world(3)
    await write_confirmed(here.store, [*listed("d:alice:zoe", SESSION), *session("d:alice:zoe", 5)])
    await here.key(command("m1"), 2, 5)
    await here.key(command("m1"), 4, 6, "d:alice:zoe")
    found = await here.found(ByKey("alice", "m1"))
    assert (found.session_id, found.seq) == (SESSION, 2)
    assert found.notes[0].text == "the same id is also in d:alice:zoe seq 4"


@pytest.mark.parametrize("session_id", ["", SESSION])
async def test_a_key_without_a_row_may_wait_in_the_log(session_id: str) -> None:
    here = await world()
    await here.append(b"\xff poison", command("m0"), command("m1"))
    assert (await here.ended(ByKey("alice", "m1", session_id)))[0] is Outcome.WAITING
    # Without a session the search cannot be complete: fanout lists a new session later.
    expected = Outcome.NOT_FOUND if session_id else Outcome.UNKNOWN
    assert (await here.ended(ByKey("alice", "m9", session_id)))[0] is expected
    assert (await here.ended(ByKey("zoe", "m1", session_id)))[0] is expected


async def test_without_the_log_only_tables_answer() -> None:
    here = await world(3)
    await here.key(command("m1"), 2, 5)
    away = LogView(here.broker.admin(), here.broker.reader(""), 0, SIZES, BrokerUnavailable("gone"))
    finder = Finder(here.store, away, None)
    assert isinstance(await finder.find(ByKey("alice", "m1", SESSION)), Found)
    for subject in (message_id(0), ByKey("alice", "m9", SESSION)):
        found = await finder.find(subject)
        assert isinstance(found, Trace)
        assert found.outcome is Outcome.UNKNOWN
        assert found.lines[-1] == replace(found.lines[-1], stage="received", source=Source.UNKNOWN)
        assert "Kafka does not answer: gone" in found.lines[-1].text
