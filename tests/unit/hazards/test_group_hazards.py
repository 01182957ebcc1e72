"""Hazards at the persister of groups: version rows of the future, of repeated rounds, and of zombies."""

import pytest

from services.persister.effects import Effects
from services.persister.sequence import decide
from tests.faults.drawn import LogFaults, ProduceFault, StoreFaults, WriteFault
from tests.simulation.virtual_time import simulated
from tests.unit.hazards.owners import produces_to, second, writes_of
from tests.unit.hazards.pipeline import EPOCH, Pipeline, pipeline
from tests.unit.persister.builders import GROUP, GroupAction, command, fresh, group_command
from tidings.codec import decode_command
from tidings.metrics import PARTITIONS
from tidings.runtime.ordered_writes import MUTATION_BYTES
from tidings.store.rows import GroupRow, MemberRow, MessageRow
from tidings.topics import MESSAGES_INBOUND, MESSAGES_PERSISTED, PERSISTER
from tidings.wire.common_pb2 import MODE_READ, MODE_WRITE
from tidings.wire.inbound_pb2 import (
    AddMembers,
    ChangeGroup,
    ChangeMember,
    Command,
    CreateGroup,
    DissolveGroup,
    GroupSettings,
    RemoveMember,
)
from tidings.wire.persisted_pb2 import Persisted

# What one command writes, in this order: in Cassandra tables with an equal partition key share a mutation.
# In the order in which a group command's round writes them; messages wait until the others are confirmed.
MUTATIONS = (("message_keys",), ("group_members", "groups"), ("messages",))
ALL_TABLES = tuple(table for mutation in MUTATIONS for table in mutation)


def act(
    client_msg_id: str, action: GroupAction, sender: str = "alice", write_max: int = 500, session_id: str = GROUP
) -> Command:
    """A group command, with the line that its gateway stamped on it."""
    sent = group_command(client_msg_id, action, sender, session_id)
    sent.stamps.write_diffusion_max = write_max
    return sent


def say(client_msg_id: str, sender: str = "bob") -> Command:
    """A text message to the group."""
    return command(client_msg_id, sender=sender, session_id=GROUP)


def create(*members: str, write_max: int = 500) -> Command:
    """The group of alice and these others."""
    return act("create", CreateGroup(name="crew", member_ids=members), write_max=write_max)


def decided_at_once(line: Pipeline) -> Effects:
    """What the log of the group says when it is decided in one go: no loading, no cache, no rounds."""
    effects, draft = Effects(), fresh()
    for record in line.records(MESSAGES_INBOUND):
        command = decode_command(record.value)
        effects.add(decide(draft, command, record, EPOCH), command, record, EPOCH)
    return effects


def check_group(line: Pipeline) -> None:
    """Tables, answers and records are those of the log, and nobody wrote a row otherwise than somebody else."""
    assert not line.witness.rewritten, f"two owners wrote different rows: {line.witness.rewritten[:3]}"
    expected = decided_at_once(line)
    rows = [tagged.row for wave in expected.ordered_writes().waves() for tagged in wave]
    for table in ALL_TABLES:
        stored = list(line.store.rows(table))
        assert sorted(map(str, stored)) == sorted(str(row) for row in rows if row.table == table), table
    pushes = [answer.push for answer in expected.answers]
    assert {str(answer) for answer in line.acks()} <= {str(push.send_ack) for push in pushes}
    assert {str(answer) for answer in line.errors()} <= {str(push.send_error) for push in pushes}
    assert pushes
    emitted = [record.value for _, tagged in expected.outbox.targets() for _, record in tagged]
    assert {record.value for record in line.records(MESSAGES_PERSISTED)} == set(emitted)


def stopped(stage: str) -> float:
    """The alert metric."""
    gauge = PARTITIONS.labels(stage, "stopped")
    return float(next(sample.value for metric in gauge.collect() for sample in metric.samples))


def codes(line: Pipeline) -> list[tuple[str, str]]:
    """Every refusal by its command."""
    return [(error.client_msg_id, error.refusal.code) for error in line.errors()]


def persisted(line: Pipeline) -> list[Persisted]:
    return [Persisted.FromString(record.value or b"") for record in line.records(MESSAGES_PERSISTED)]


async def decided(line: Pipeline, *sent: Command) -> None:
    """One round with these, by a persister of its own."""
    owner = line.persister()
    line.publish(*sent)
    await line.settled(PERSISTER)
    owner.kill()


# What a user does, and the command after it that would change the answer were it known already.
FUTURES = {
    "admin": (act("m", ChangeGroup(name="mine"), "bob"), act("f", ChangeMember(user_id="bob", role="admin"))),
    "removed": (say("m"), act("f", RemoveMember(user_id="bob"))),
    "added": (say("m", "zoe"), act("f", AddMembers(user_ids=["zoe"]))),
    "muted": (say("m"), act("f", ChangeMember(user_id="bob", muted_until_ms=2**50))),
    "settings": (say("m"), act("f", ChangeGroup(settings=GroupSettings(who_can_send="admins")))),
    "mode": (say("m"), act("f", AddMembers(user_ids=["zoe"]), write_max=3)),
    "dissolved": (say("m"), act("f", DissolveGroup())),
}


@pytest.mark.hazard("H3")
@pytest.mark.parametrize("future", FUTURES)
@simulated
async def test_h3_versions_of_the_future_decide_nothing(future: str) -> None:
    """The versions are stored, their message is not: the next owner decides what stands before it anew."""
    async with pipeline() as line:
        await decided(line, create("bob", "carl"))
        first = line.persister()
        # The directory row of the new segment and all side rows go in the first wave, the message in the next.
        first.pause_before(writes_of(MessageRow))
        line.publish(*map(_in_segments_of_one, FUTURES[future]))
        await first.paused()
        assert max(_seqs(line)) > 1
        first.expire()
        line.persister()
        await line.settled(PERSISTER)
        check_group(line)
        first.resume()
        line.publish(say("after", "carl"))
        await line.settled(PERSISTER)
        check_group(line)


def _in_segments_of_one(sent: Command) -> Command:
    copy = Command.FromString(sent.SerializeToString())
    copy.stamps.segment_messages = 1
    return copy


def _seqs(line: Pipeline) -> set[int]:
    rows = [*line.store.rows("groups"), *line.store.rows("group_members")]
    return {row.as_of_seq for row in rows if isinstance(row, GroupRow | MemberRow)}


@pytest.mark.hazard("H3")
@pytest.mark.parametrize("future", FUTURES)
@simulated
async def test_h3_a_round_that_is_repeated_after_all_was_written_decides_the_same(future: str) -> None:
    """Everything of the round is stored and nothing handed on: what was read is no reason to decide otherwise."""
    async with pipeline() as line:
        await decided(line, create("bob", "carl"))
        first = line.persister()
        first.pause_before(produces_to(MESSAGES_PERSISTED))
        line.publish(*FUTURES[future])
        await first.paused()
        first.kill()
        line.persister()
        await line.settled(PERSISTER)
        check_group(line)


@pytest.mark.hazard("H4")
@simulated
async def test_h4_a_join_that_crosses_the_line_is_one_record_that_says_both() -> None:
    async with pipeline() as line:
        joined = act("join", AddMembers(user_ids=["dora", "emil"]), write_max=3)
        await decided(
            line, create("bob", "carl"), joined, say("m"), act("back", RemoveMember(user_id="emil"), write_max=5)
        )
        check_group(line)
        _, crossing, post, _back = records = persisted(line)
        assert [record.source.offset for record in records] == [0, 1, 2, 3]
        assert [record.message.seq for record in records] == [1, 2, 3, 4]
        assert (crossing.mode, crossing.mode_from, crossing.mode_to) == (MODE_WRITE, MODE_WRITE, MODE_READ)
        assert list(crossing.joined_ids) == ["dora", "emil"]
        assert post.mode == MODE_READ


@pytest.mark.parametrize("missing", range(len(MUTATIONS)))
@simulated
async def test_a_group_command_is_acked_and_handed_on_only_when_all_its_rows_are_confirmed(missing: int) -> None:
    """Law 6: whichever row of the round is not confirmed, all of the round waits for it."""
    faults = StoreFaults()
    async with pipeline(store_faults=faults) as line:
        await decided(line, create("bob"))
        before = {table: len(line.store.rows(table)) for table in ALL_TABLES}
        first = line.persister()
        faults.script_write(*[WriteFault.NONE] * missing, WriteFault.LOST)
        first.pause_before(second(writes_of(MemberRow)))
        line.publish(act("add", AddMembers(user_ids=["carl"])))
        await first.paused()
        first.kill()
        added = {table: len(line.store.rows(table)) - before[table] for table in ALL_TABLES}
        assert added == {table: int(table not in (*MUTATIONS[missing], "messages")) for table in ALL_TABLES}
        assert [ack.client_msg_id for ack in line.acks()] == ["create"]
        assert len(persisted(line)) == 1
        line.persister()
        await line.settled(PERSISTER)
        check_group(line)
        assert [ack.client_msg_id for ack in line.acks()] == ["create", "add"]


@simulated
async def test_members_in_memory_follow_every_change() -> None:
    """One owner, a round for each command: what was cached before a change is not asked after it."""
    async with pipeline() as line:
        line.persister()
        for sent in (
            create("bob", "carl"),
            say("m1"),
            act("mute", ChangeMember(user_id="bob", muted_until_ms=2**50)),
            say("m2"),
            act("lift", ChangeMember(user_id="bob", muted_until_ms=0)),
            say("m3"),
            act("out", RemoveMember(user_id="bob")),
            say("m4"),
            act("in", AddMembers(user_ids=["bob"]), "carl"),
            say("m5"),
            act("quiet", ChangeGroup(settings=GroupSettings(who_can_send="admins"))),
            say("m6"),
            act("end", DissolveGroup()),
            say("m7", "alice"),
        ):
            line.publish(sent)
            await line.settled(PERSISTER)
        check_group(line)
        assert codes(line) == [
            ("m2", "muted"),
            ("m4", "session_not_found"),
            ("m6", "forbidden"),
            ("m7", "session_not_found"),
        ]


@simulated
async def test_memory_that_holds_few_members_decides_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.persister.worker._STATE_BYTES", 0)
    async with pipeline() as line:
        line.persister()
        for sent in (
            create("bob", "carl"),
            say("m1"),
            act("out", RemoveMember(user_id="bob")),
            say("m2"),
            say("m3", "carl"),
        ):
            line.publish(sent)
            await line.settled(PERSISTER)
        check_group(line)
        # Nothing stays cached, so each round after the first loads the group.
        assert line.store.calls["groups_as_of"] == 4
        assert codes(line) == [("m2", "session_not_found")]


@pytest.mark.parametrize("future", FUTURES)
@simulated
async def test_versions_of_a_round_that_failed_never_enter_the_cache(future: str) -> None:
    """The round fails after its decisions; the same owner decides the same records again."""
    faults = LogFaults()
    async with pipeline(log_faults=faults) as line:
        line.persister()
        line.publish(create("bob", "carl"))
        await line.settled(PERSISTER)
        faults.script_produce(*[ProduceFault.LOST] * 3)
        line.publish(*FUTURES[future])
        await line.settled(PERSISTER)
        check_group(line)


@simulated
async def test_one_read_a_group_and_round_loads_all_who_act_or_are_named() -> None:
    async with pipeline() as line:
        await decided(line, create(*(f"u{number}" for number in range(50))))
        before = line.store.calls["members_as_of"]
        line.publish(*(say(f"m{number}", f"u{number}") for number in range(50)))
        line.publish(act("add", AddMembers(user_ids=[f"u{number}" for number in range(100)])))
        await decided(line)
        assert line.store.calls["members_as_of"] == before + 1
        check_group(line)


@simulated
async def test_a_stranger_costs_the_same_reads_whether_the_group_exists_has_ended_or_never_was() -> None:
    """G11, in time too: what takes longer would tell."""
    async with pipeline() as line:
        line.persister()
        line.publish(create(), act("create", CreateGroup(name="n"), "alice", session_id="g:ended"))
        line.publish(act("end", DissolveGroup(), session_id="g:ended"))
        line.publish(command("m0", sender="mallory", session_id="g:never"))
        await line.settled(PERSISTER)
        reads = []
        for session_id in (GROUP, "g:ended", "g:never"):
            before = line.store.calls.copy()
            line.publish(command("m1", sender="mallory", session_id=session_id))
            await line.settled(PERSISTER)
            reads.append(line.store.calls - before)
        assert reads == [{"members_as_of": 1}] * 3
        assert len({error.refusal.text for error in line.errors()}) == 1


@simulated
async def test_h24_a_round_that_adds_thousands_is_cut_into_mutations_that_fit() -> None:
    async with pipeline() as line:
        users = [f"{number:064d}" for number in range(5_000)]
        adds = [act(f"add{start}", AddMembers(user_ids=users[start : start + 500])) for start in range(0, 5_000, 500)]
        await decided(line, create(), *adds)
        check_group(line)
        for wave in decided_at_once(line).ordered_writes().waves():
            versions = [tagged.row for tagged in wave if isinstance(tagged.row, MemberRow | GroupRow)]
            assert sum(_columns_bytes(row) for row in versions) <= MUTATION_BYTES


@simulated
async def test_who_can_read_what_follows_a_removal_finds_the_removal_in_the_tables() -> None:
    """G10: a reader asks for its membership after the head; a version behind its message would let it read on."""
    async with pipeline() as line:
        users = [f"{number:064d}" for number in range(1_500)]
        adds = [act(f"add{start}", AddMembers(user_ids=users[start : start + 500])) for start in range(0, 1_500, 500)]
        removal = act("remove", RemoveMember(user_id="bob"))
        await decided(line, create("bob"), *adds, removal, say("after"))
        waves = [[tagged.row for tagged in wave] for wave in decided_at_once(line).ordered_writes().waves()]
        versions = [at for at, rows in enumerate(waves) if any(isinstance(row, MemberRow | GroupRow) for row in rows)]
        messages = [at for at, rows in enumerate(waves) if any(isinstance(row, MessageRow) for row in rows)]
        assert len(versions) > 1
        assert max(versions) < min(messages)


def _columns_bytes(row: MemberRow | GroupRow) -> int:
    """More than Cassandra makes of it: each of ten columns at most 20 bytes beside its text."""
    text = row.user_id if isinstance(row, MemberRow) else row.name + row.owner + row.settings
    return len(row.session_id) + len(text.encode()) + 10 * 20


@simulated
async def test_h8_a_group_with_messages_but_without_a_version_stops_its_partition() -> None:
    async with pipeline() as line:
        await decided(line, create("bob"))
        line.store._partitions = {name: rows for name, rows in line.store._partitions.items() if name.table != "groups"}
        line.persister()
        line.publish(say("m1"))
        await line.until(lambda: stopped("persister") == 1)
        assert [ack.client_msg_id for ack in line.acks()] == ["create"]
