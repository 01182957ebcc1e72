"""Any commands in any order, against a second, much simpler account of a group, and over any split into rounds."""

from dataclasses import dataclass, field, replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from services.persister.decisions import Accepted, Decision, Rejected, Repeated, Unchanged
from services.persister.sequence import users_concerned
from services.persister.state import Draft, SessionState
from tests.unit.persister.builders import GROUP, NOON_MS, GroupAction, Log, command, decided, group_command
from tidings.store.rows import MODE_READ, ROLE_OWNER, GroupRow, MemberRow
from tidings.wire.inbound_pb2 import (
    AddMembers,
    ChangeGroup,
    ChangeMember,
    Command,
    CreateGroup,
    DissolveGroup,
    GroupSettings,
    Post,
    RemoveMember,
    TransferGroup,
)

USERS = ["a", "b", "c", "d", "e", "f"]
WRITE_MAX, MEMBERS_MAX = 3, 5

a_user = st.sampled_from(USERS)
some_users = st.lists(a_user, min_size=1, max_size=6)
who = st.sampled_from(["all", "admins"])
an_action: st.SearchStrategy[GroupAction | None] = st.one_of(
    st.none(),
    st.builds(lambda users, blocking: AddMembers(user_ids=users, blocking_ids=blocking), some_users, st.lists(a_user)),
    st.builds(lambda user: RemoveMember(user_id=user), a_user),
    st.builds(lambda user, role: ChangeMember(user_id=user, role=role), a_user, st.sampled_from(["admin", "member"])),
    st.builds(
        lambda user, muted: ChangeMember(user_id=user, muted_until_ms=muted), a_user, st.sampled_from([0, 2 * NOON_MS])
    ),
    st.builds(lambda user: TransferGroup(user_id=user), a_user),
    st.builds(lambda one: ChangeGroup(settings=GroupSettings(who_can_send=one)), who),
    st.builds(lambda one: ChangeGroup(settings=GroupSettings(who_can_add=one)), who),
    st.builds(lambda name: ChangeGroup(name=name), st.sampled_from(["x", "y"])),
    st.builds(
        lambda users, blocking: CreateGroup(name="n", member_ids=users, blocking_ids=blocking),
        some_users,
        st.lists(a_user),
    ),
)
# Dissolving ends all the fun, so it is rare.
a_step = st.tuples(a_user, st.one_of(*[an_action] * 12, st.just(DissolveGroup())))
a_life = st.builds(
    lambda owner, members, blocking, steps: [
        (owner, CreateGroup(name="n", member_ids=members, blocking_ids=blocking)),
        *steps,
    ],
    a_user,
    some_users.filter(lambda users: len(set(users)) < MEMBERS_MAX),
    st.lists(a_user, max_size=2),
    st.lists(a_step, max_size=30),
)
Steps = list[tuple[str, GroupAction | None]]


def commands(steps: Steps) -> list[Command]:
    """Each under an id of its own; None is a text message."""
    made = [
        command(f"c{place}", sender=sender, session_id=GROUP)
        if action is None
        else group_command(f"c{place}", action, sender)
        for place, (sender, action) in enumerate(steps)
    ]
    for sent in made:
        sent.stamps.write_diffusion_max, sent.stamps.group_members_max = WRITE_MAX, MEMBERS_MAX
    return made


@dataclass
class Account:
    """PROTOCOL's rights, written a second time: roles by user, and a table of rights by role."""

    roles: dict[str, str] = field(default_factory=dict)
    muted: set[str] = field(default_factory=set)
    settings: dict[str, str] = field(default_factory=lambda: {"who_can_send": "all", "who_can_add": "all"})
    mode: str = "write"
    is_made: bool = False

    def take(self, sent: Command) -> str:
        """The code of what must become of it."""
        match sent.WhichOneof("action"):
            case "create_group":
                return self._create(sent.sender_id, sent.create_group)
            case _ if sent.sender_id not in self.roles:
                return "session_not_found"
            case "post":
                return self._post(sent.sender_id)
            case "add_members":
                return self._add(sent.sender_id, sent.add_members)
            case "remove_member":
                return self._remove(sent.sender_id, sent.remove_member.user_id)
            case "change_member":
                return self._change_member(sent.sender_id, sent.change_member)
            case "transfer_group":
                return self._transfer(sent.sender_id, sent.transfer_group.user_id)
            case "change_group":
                return self._change_group(sent.sender_id, sent.change_group)
        return self._dissolve(sent.sender_id)

    def _create(self, owner: str, create: CreateGroup) -> str:
        if self.is_made:
            return "conflict"
        users = {owner, *create.member_ids} - {*create.blocking_ids} | {owner}
        if len(users) > MEMBERS_MAX:
            return "group_full"
        self.is_made = True
        self.roles = dict.fromkeys(users, "member") | {owner: "owner"}
        return self._resized()

    def _post(self, user: str) -> str:
        if user in self.muted:
            return "muted"
        return "stored" if self._may(user, "who_can_send") else "forbidden"

    def _add(self, user: str, add: AddMembers) -> str:
        if not self._may(user, "who_can_add"):
            return "forbidden"
        added = {*add.user_ids} - {*add.blocking_ids} - self.roles.keys()
        if not added:
            return "unchanged"
        if len(self.roles) + len(added) > MEMBERS_MAX:
            return "group_full"
        self.roles |= dict.fromkeys(added, "member")
        return self._resized()

    def _remove(self, user: str, other: str) -> str:
        role = self.roles[user]
        if user == other:
            if role == "owner":
                return "forbidden"
        elif role == "member":
            return "forbidden"
        elif other not in self.roles:
            return "not_member"
        elif role == "admin" and self.roles[other] != "member":
            return "forbidden"
        del self.roles[other]
        return self._resized()

    def _change_member(self, user: str, change: ChangeMember) -> str:
        role, other = self.roles[user], change.user_id
        if role == "member":
            return "forbidden"
        if other not in self.roles:
            return "not_member"
        if role == "admin" and other != user and self.roles[other] != "member":
            return "forbidden"
        if role == "admin" and other == user and change.HasField("muted_until_ms"):
            return "forbidden"
        if change.HasField("role"):
            if self.roles[other] == "owner":
                return "forbidden"
            self.roles[other] = change.role
        if change.HasField("muted_until_ms"):
            (self.muted.add if change.muted_until_ms else self.muted.discard)(other)
        return "stored"

    def _transfer(self, user: str, other: str) -> str:
        if self.roles[user] != "owner" or user == other:
            return "forbidden"
        if other not in self.roles:
            return "not_member"
        self.roles |= {user: "admin", other: "owner"}
        return "stored"

    def _change_group(self, user: str, change: ChangeGroup) -> str:
        if self.roles[user] == "member":
            return "forbidden"
        given = {name: value for name in self.settings if (value := getattr(change.settings, name))}
        self.settings |= given
        return "stored"

    def _dissolve(self, user: str) -> str:
        if self.roles[user] != "owner":
            return "forbidden"
        self.roles, self.muted = {}, set()
        return "stored"

    def _may(self, user: str, setting: str) -> bool:
        return self.roles[user] != "member" or self.settings[setting] == "all"

    def _resized(self) -> str:
        if len(self.roles) > WRITE_MAX:
            self.mode = "read"
        elif len(self.roles) <= 0.8 * WRITE_MAX:
            self.mode = "write"
        return "stored"


def outcome(decision: Decision) -> str | None:
    match decision:
        case Accepted():
            return "stored"
        case Unchanged():
            return "unchanged"
        case Repeated():
            return "duplicate"
        case Rejected():
            return decision.code
        case _:
            return None


@given(a_life)
def test_any_commands_are_decided_as_the_simpler_account_says(steps: Steps) -> None:
    account, draft = Account(), Log().draft
    for offset, sent in enumerate(commands(steps)):
        before = draft.seq
        decision = decided(draft, sent, offset)
        assert outcome(decision) == account.take(sent), sent
        # Law 10: one command, at most one message.
        assert draft.seq == before + isinstance(decision, Accepted)
        members = {user: row for user in USERS if (row := draft.member(user)) is not None}
        assert members.keys() == account.roles.keys()
        assert draft.group is not None
        assert draft.group.member_count == len(members)
        assert (draft.group.mode == MODE_READ) == (account.mode == "read")
        owners = [user for user, row in members.items() if row.role == ROLE_OWNER]
        assert owners == ([draft.group.owner] if members else [])


@given(a_life)
def test_joining_and_leaving_users_are_on_the_record(steps: Steps) -> None:
    """Expand has the members from the records alone: laid one over the other they give what the versions say."""
    draft, members, mode = Log().draft, set[str](), 1
    for offset, sent in enumerate(commands(steps)):
        decision = decided(draft, sent, offset)
        if not isinstance(decision, Accepted):
            continue
        change = decision.entry.change
        assert not members & {*change.joined_ids}
        assert members | {*change.joined_ids} >= {*change.left_ids}
        members = set() if change.dissolves else (members | {*change.joined_ids}) - {*change.left_ids}
        assert members == {user for user in USERS if draft.member(user)}
        assert change.mode == (1 if change.mode_to else mode)
        assert (change.mode_from, change.mode_to) in {(0, 0), (mode, 3 - mode)}
        mode = change.mode_to or mode
        said = orjson.loads(decision.entry.body)
        assert ("mode_to" in said) == bool(change.mode_to)


@given(a_life)
def test_version_stays_a_row_of_its_own(steps: Steps) -> None:
    """Law 7: every version carries the seq and the place of its message, so none is written twice."""
    draft, seen = Log().draft, set[object]()
    for offset, sent in enumerate(commands(steps)):
        decision = decided(draft, sent, offset)
        if not isinstance(decision, Accepted):
            continue
        change = decision.entry.change
        rows: list[GroupRow | MemberRow] = [*change.members, *([change.group] if change.group else [])]
        for row in rows:
            assert (row.as_of_seq, row.log_offset) == (decision.stored.seq, offset)
            key = (row.table, row.user_id if isinstance(row, MemberRow) else "", row.as_of_seq)
            assert key not in seen
            seen.add(key)


@dataclass
class Tables:
    """The version rows of a whole life, also of what is still to come (a zombie's, or of a round that is repeated)."""

    groups: list[GroupRow] = field(default_factory=list)
    members: list[MemberRow] = field(default_factory=list)

    def take(self, decision: Decision) -> None:
        if isinstance(decision, Accepted):
            change = decision.entry.change
            self.members.extend(change.members)
            self.groups.extend([change.group] if change.group else [])

    def group_as_of(self, seq: int) -> GroupRow | None:
        return next((row for row in reversed(self.groups) if row.as_of_seq <= seq), None)

    def member_as_of(self, user_id: str, seq: int) -> MemberRow | None:
        rows = reversed(self.members)
        return next((row for row in rows if row.user_id == user_id and row.as_of_seq <= seq), None)


@given(a_life, st.data())
def test_any_split_into_rounds_and_owners_decides_the_same(steps: Steps, data: st.DataObject) -> None:
    """Laws 1 and 5: what was in memory, where rounds begin and what the tables hold of the future change nothing."""
    sent = commands(steps)
    whole, tables = Log().draft, Tables()
    at_once = [decided(whole, one, offset) for offset, one in enumerate(sent)]
    for decision in at_once:
        tables.take(decision)
    state, decisions, offset = SessionState(), list[Decision](), 0
    while offset < len(sent):
        size = data.draw(st.integers(1, 4))
        draft = Draft.of(state, 0)
        for user_id in {user for one in sent[offset : offset + size] for user in users_concerned(one)}:
            if draft.needs_member(user_id):
                draft.loaded[user_id] = tables.member_as_of(user_id, state.seq)
        decisions += [decided(draft, one, offset + place) for place, one in enumerate(sent[offset : offset + size])]
        if data.draw(st.booleans()):
            # Not confirmed: the same records again, from the state before.
            del decisions[offset:]
            continue
        offset += size
        state = draft.confirmed()
        if data.draw(st.booleans()) and state.seq:
            loaded = replace(state, members={}, group=tables.group_as_of(state.seq))
            state = loaded
    assert decisions == at_once


def test_the_content_of_a_post_is_untouched_by_groups() -> None:
    log = Log()
    log.stored(CreateGroup(name="n"))
    sent = command("m", session_id=GROUP, sender="alice")
    sent.post.MergeFrom(Post(mentions=["zoe"]))
    said = log.take(sent)
    assert isinstance(said, Accepted)
    assert (said.entry.body, tuple(said.entry.mentions)) == (sent.post.body, ("zoe",))
