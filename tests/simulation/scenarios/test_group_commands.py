"""The persister for groups: version rows of the future, of repeated rounds, and of zombies."""

import pytest

from services.persister.effects import Effects
from services.persister.sequence import decide
from tests.faults.drawn import ProduceFault, WriteFault
from tests.simulation.ports import EPOCH
from tests.simulation.scenario import Scenario, partitions_stopped, produces_to, scenario, second, writes_of
from tests.simulation.scenarios.groups import act, create, say
from tests.unit.persister.builders import GROUP, command, fresh
from tidings.codec import decode_command
from tidings.runtime.ordered_writes import MUTATION_BYTES
from tidings.store.rows import GroupRow, MemberRow, MessageRow
from tidings.topics import MESSAGES_INBOUND, MESSAGES_PERSISTED
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


def decided_at_once(line: Scenario) -> Effects:
    """What the log of the group says when it is decided in one go: no loading, no cache, no rounds."""
    effects, draft = Effects(), fresh()
    for record in line.records(MESSAGES_INBOUND):
        command = decode_command(record.value)
        effects.add(decide(draft, command, record, EPOCH), command, record, EPOCH)
    return effects


def check_group(line: Scenario) -> None:
    """Tables, answers and records are those of the log, and every owner wrote the same rows."""
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


async def checked(line: Scenario, *sent: Command) -> None:
    """Publish these; when they are stored, everything is what the log says."""
    await line.stored(*sent)
    check_group(line)


def codes(line: Scenario) -> list[tuple[str, str]]:
    """Every refusal by its command."""
    return [(error.client_msg_id, error.refusal.code) for error in line.errors()]


def persisted(line: Scenario) -> list[Persisted]:
    return [Persisted.FromString(record.value or b"") for record in line.records(MESSAGES_PERSISTED)]


async def decided(line: Scenario, *sent: Command) -> None:
    """One round with these, by a persister of its own."""
    owner = line.start("persister")
    await line.stored(*sent)
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
@scenario()
async def test_group_versions_of_the_future_decide_nothing(line: Scenario, future: str) -> None:
    """The versions are stored, their message is not: the next owner decides again what stands before it."""
    await decided(line, create("bob", "carl"))
    first = line.start("persister")
    # The directory row of the new segment and all side rows go in the first wave, the message in the next.
    first.stop_before(writes_of(MessageRow))
    line.publish(*map(_in_segments_of_one, FUTURES[future]))
    await first.stopped()
    seqs = {row.as_of_seq for row in line.rows(GroupRow)} | {row.as_of_seq for row in line.rows(MemberRow)}
    assert max(seqs) > 1
    first.expire()
    line.start("persister")
    await checked(line)
    first.resume()
    await checked(line, say("after", "carl"))


def _in_segments_of_one(sent: Command) -> Command:
    copy = Command.FromString(sent.SerializeToString())
    copy.stamps.segment_messages = 1
    return copy


@pytest.mark.hazard("H3")
@pytest.mark.parametrize("future", FUTURES)
@scenario()
async def test_group_round_repeated_after_all_writes_decides_the_same(line: Scenario, future: str) -> None:
    """Everything of the round is stored and nothing handed on: what was read is no reason to decide otherwise."""
    await decided(line, create("bob", "carl"))
    first = line.start("persister", stop_before=produces_to(MESSAGES_PERSISTED))
    line.publish(*FUTURES[future])
    await first.dies()
    line.start("persister")
    await checked(line)


@pytest.mark.hazard("H4")
@scenario()
async def test_join_that_switches_the_mode_is_one_record(line: Scenario) -> None:
    joined = act("join", AddMembers(user_ids=["dora", "emil"]), write_max=3)
    await decided(line, create("bob", "carl"), joined, say("m"), act("back", RemoveMember(user_id="emil"), write_max=5))
    check_group(line)
    _, crossing, post, _back = records = persisted(line)
    assert [record.source.offset for record in records] == [0, 1, 2, 3]
    assert [record.message.seq for record in records] == [1, 2, 3, 4]
    assert (crossing.mode, crossing.mode_from, crossing.mode_to) == (MODE_WRITE, MODE_WRITE, MODE_READ)
    assert list(crossing.joined_ids) == ["dora", "emil"]
    assert post.mode == MODE_READ


@pytest.mark.parametrize("missing", range(len(MUTATIONS)))
@scenario()
async def test_group_command_is_acked_when_all_its_rows_are_confirmed(line: Scenario, missing: int) -> None:
    """Law 6: whichever row of the round is not confirmed, all of the round waits for it."""
    await decided(line, create("bob"))
    before = {table: len(line.store.rows(table)) for table in ALL_TABLES}
    first = line.start("persister")
    line.store_faults.script_write(*[WriteFault.NONE] * missing, WriteFault.LOST)
    first.stop_before(second(writes_of(MemberRow)))
    line.publish(act("add", AddMembers(user_ids=["carl"])))
    await first.dies()
    added = {table: len(line.store.rows(table)) - before[table] for table in ALL_TABLES}
    assert added == {table: int(table not in (*MUTATIONS[missing], "messages")) for table in ALL_TABLES}
    assert [ack.client_msg_id for ack in line.acks()] == ["create"]
    assert len(persisted(line)) == 1
    line.start("persister")
    await checked(line)
    assert [ack.client_msg_id for ack in line.acks()] == ["create", "add"]


@scenario("persister")
async def test_cached_members_follow_every_change(line: Scenario) -> None:
    """One owner, a round for each command: what was cached before a change is not asked after it."""
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
        await line.stored(sent)
    check_group(line)
    assert codes(line) == [
        ("m2", "muted"),
        ("m4", "session_not_found"),
        ("m6", "forbidden"),
        ("m7", "session_not_found"),
    ]


@scenario("persister")
async def test_group_decisions_do_not_depend_on_the_cache_size(line: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.persister.worker._STATE_BYTES", 0)
    for sent in (
        create("bob", "carl"),
        say("m1"),
        act("out", RemoveMember(user_id="bob")),
        say("m2"),
        say("m3", "carl"),
    ):
        await line.stored(sent)
    check_group(line)
    # Nothing stays cached, so each round after the first loads the group.
    assert line.store.calls["groups_as_of"] == 4
    assert codes(line) == [("m2", "session_not_found")]


@pytest.mark.parametrize("future", FUTURES)
@scenario("persister")
async def test_versions_of_a_failed_round_never_enter_the_cache(line: Scenario, future: str) -> None:
    """The round fails after its decisions; the same owner decides the same records again."""
    await line.stored(create("bob", "carl"))
    line.log_faults.script_produce(*[ProduceFault.LOST] * 3)
    await checked(line, *FUTURES[future])


@scenario()
async def test_round_loads_all_members_of_a_group_in_one_read(line: Scenario) -> None:
    await decided(line, create(*(f"u{number}" for number in range(50))))
    before = line.store.calls["members_as_of"]
    line.publish(*(say(f"m{number}", f"u{number}") for number in range(50)))
    line.publish(act("add", AddMembers(user_ids=[f"u{number}" for number in range(100)])))
    await decided(line)
    assert line.store.calls["members_as_of"] == before + 1
    check_group(line)


@scenario("persister")
async def test_non_member_costs_the_same_reads_for_any_group_id(line: Scenario) -> None:
    """G11, in time too: a longer answer would disclose the group."""
    line.publish(create(), act("create", CreateGroup(name="n"), "alice", session_id="g:ended"))
    line.publish(act("end", DissolveGroup(), session_id="g:ended"))
    await line.stored(command("m0", sender="mallory", session_id="g:never"))
    reads = []
    for session_id in (GROUP, "g:ended", "g:never"):
        before = line.store.calls.copy()
        await line.stored(command("m1", sender="mallory", session_id=session_id))
        reads.append(line.store.calls - before)
    assert reads == [{"members_as_of": 1}] * 3
    assert len({error.refusal.text for error in line.errors()}) == 1


@scenario()
async def test_round_adding_thousands_is_cut_into_mutations_that_fit(line: Scenario) -> None:
    users = [f"{number:064d}" for number in range(5_000)]
    adds = [act(f"add{start}", AddMembers(user_ids=users[start : start + 500])) for start in range(0, 5_000, 500)]
    await decided(line, create(), *adds)
    check_group(line)
    for wave in decided_at_once(line).ordered_writes().waves():
        versions = [tagged.row for tagged in wave if isinstance(tagged.row, MemberRow | GroupRow)]
        assert sum(_columns_bytes(row) for row in versions) <= MUTATION_BYTES


@scenario()
async def test_removal_is_stored_before_the_messages_after_it(line: Scenario) -> None:
    """G10: a reader asks for its membership after the head; a version behind its message would let it read on."""
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
    """More than Cassandra makes of it: each of ten columns at most 20 bytes more than its text."""
    text = row.user_id if isinstance(row, MemberRow) else row.name + row.owner + row.settings
    return len(row.session_id) + len(text.encode()) + 10 * 20


@scenario()
async def test_group_without_a_version_stops_its_partition(line: Scenario) -> None:
    await decided(line, create("bob"))
    line.store._partitions = {name: rows for name, rows in line.store._partitions.items() if name.table != "groups"}
    line.start("persister")
    line.publish(say("m1"))
    await line.until(lambda: partitions_stopped("persister") == 1)
    assert [ack.client_msg_id for ack in line.acks()] == ["create"]
