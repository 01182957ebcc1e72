"""The tracker against the log, under any interleaving of pushes, losses, reads and reconnects (H15, H35)."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.gateway.large_groups.tracker import GroupTracker
from tests.unit.gateway.large_groups.pushes import GROUP, READ, WRITE, Names, crossing, group_row, member_row, push
from tidings.store.rows import MODE_READ, MODE_WRITE, GroupRow, MemberRow
from tidings.wire.common_pb2 import Mode
from tidings.wire.push_pb2 import PushedMessage

USERS = ("ann", "bob")


@dataclass
class World:
    """One group: its log, the two ways of pushes, a gateway, and reads of the tables under way."""

    groups: GroupTracker = field(default_factory=GroupTracker)
    seq: int = 0
    mode: Mode = WRITE
    changed_seq: int = 0
    since: dict[str, int] = field(default_factory=dict)
    stays: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {user: [] for user in USERS})
    rows: dict[str, MemberRow] = field(default_factory=dict)
    to_all: deque[PushedMessage] = field(default_factory=deque)
    to_user: dict[str, deque[PushedMessage]] = field(default_factory=lambda: {user: deque() for user in USERS})
    asked: dict[str, tuple[int, int]] = field(default_factory=dict)
    reading: dict[str, tuple[int, list[tuple[GroupRow, MemberRow]], dict[str, int]]] = field(default_factory=dict)
    # Heads that were read to be sent, and those of them at which the tables have said since that the user was in.
    heads: dict[str, int] = field(default_factory=dict)
    vouched: dict[str, int] = field(default_factory=dict)

    def message(self) -> None:
        self._persist()

    def join(self, user: str) -> None:
        if user not in self.since:
            self.since[user] = self.seq + 1
            self.rows[user] = member_row(user, self.seq + 1, self.seq + 1)
            self._persist(joined=(user,))

    def part(self, user: str) -> None:
        if user in self.since:
            joined = self.since.pop(user)
            self.stays[user].append((joined, self.seq + 1))
            self.rows[user] = member_row(user, self.seq + 1, joined, self.seq + 1)
            self._persist(left=(user,))

    def name(self, user: str) -> None:
        """Another role, a mute: said of a member that stays."""
        if user in self.since:
            self._persist(named=(user,))

    def cross(self) -> None:
        """By a membership message of a user at another gateway."""
        self.changed_seq = self.seq + 1
        self._persist(to=WRITE if self.mode == READ else READ)

    def connect(self, user: str) -> None:
        self.groups.add_user(user)

    def disconnect(self, user: str) -> None:
        self.groups.remove_user(user)

    def read_head(self, user: str) -> None:
        self.groups.begin_load(self.groups.generation(user), user, [GROUP])
        self.asked[user] = (self.groups.generation(user), self.seq)

    def read_tables(self, user: str) -> None:
        if user in self.rows:
            if user not in self.asked:
                self.read_head(user)
            mode = MODE_READ if self.mode == READ else MODE_WRITE
            visit, head = self.asked.pop(user)
            self.reading[user] = (visit, [(group_row(self.changed_seq, mode), self.rows[user])], {GROUP: head})

    def learn(self, user: str) -> None:
        if user in self.reading:
            self.groups.apply_versions(*self.reading.pop(user))

    def read_sent_head(self, user: str) -> None:
        self.heads[user] = self.seq

    def ask(self, user: str) -> None:
        head = self.heads.pop(user, 0)
        if user in self.since and self.since[user] <= head:
            self.vouched[user] = head

    def vouch(self, user: str) -> None:
        if user in self.vouched:
            self.groups.confirm_membership(user, GROUP, self.vouched.pop(user))

    def hand_log(self) -> None:
        if self.to_all:
            pushed = self.to_all.popleft()
            for user in self.groups.apply_push(pushed):
                assert self.groups.generation(user)
                assert self.may_see(user, pushed.message.seq), (user, pushed)

    def lose_log(self) -> None:
        if self.to_all:
            self.to_all.popleft()

    def hand_inbox(self, user: str) -> None:
        if self.to_user[user]:
            pushed = self.to_user[user].popleft()
            if self.groups.generation(user):
                assert self.groups.apply_push(pushed) == []

    def check_what_is_sure(self) -> None:
        for user in USERS:
            for seq in range(1, self.seq + 1):
                is_wrong = self.groups.is_verified_member(user, GROUP, seq) and not self.may_see(user, seq)
                assert not is_wrong, f"{user} may not know of {seq}"

    def may_see(self, user: str, seq: int) -> bool:
        now = self.since.get(user)
        return any(a <= seq <= r for a, r in self.stays[user]) or (now is not None and now <= seq)

    def _persist(self, joined: Names = (), left: Names = (), named: Names = (), to: Mode | None = None) -> None:
        self.seq += 1
        if to is not None:
            for user in self.since:
                self.to_user[user].append(crossing(self.seq, to, user))
            in_line = crossing(self.seq, to)
            in_line.member_ids.extend(self.since if to == READ else ())
            self.to_all.append(in_line)
            self.mode = to
        elif self.mode == READ:
            self.to_all.append(push(self.seq, joined=joined, left=left))
            for user in (*joined, *left, *named):
                self.to_user[user].append(push(self.seq, user, joined=joined, left=left))
        else:
            for user in (*self.since, *left):
                self.to_user[user].append(push(self.seq, user, mode=WRITE, joined=joined, left=left))


user_steps = st.tuples(
    st.sampled_from(
        [
            "join",
            "part",
            "name",
            "connect",
            "disconnect",
            "read_head",
            "read_tables",
            "learn",
            "read_sent_head",
            "ask",
            "vouch",
            "hand_inbox",
            "hand_inbox",
        ]
    ),
    st.sampled_from(USERS),
)
steps = st.one_of(user_steps, st.tuples(st.sampled_from(["message", "cross", "hand_log", "hand_log", "lose_log"])))
IN_A_LARGE_GROUP: list[tuple[str, ...]] = [("join", "ann"), ("join", "bob"), ("cross",)]


IN_A_LARGE_GROUP += [(name, user) for user in USERS for name in ("connect", "read_tables", "learn")]


IN_A_LARGE_GROUP += [("hand_inbox", user) for user in USERS for _ in range(3)]


def play(world: World, taken: list[tuple[str, ...]]) -> None:
    for name, *arguments in taken:
        getattr(world, name)(*arguments)
        world.check_what_is_sure()


@pytest.mark.promise("G10")
@pytest.mark.hazard("H35")
@settings(max_examples=500)
@given(st.lists(steps, max_size=60))
@example([("part", "bob"), ("lose_log",), ("message",), ("hand_log",)])
@example(
    [("read_head", "bob"), ("part", "bob"), ("message",), ("join", "bob"), ("read_tables", "bob"), ("learn", "bob")]
)
@example([("part", "bob"), ("message",), ("join", "bob"), ("read_sent_head", "bob"), ("ask", "bob"), ("vouch", "bob")])
def test_messages_outside_a_membership_are_never_handed_out(taken: list[tuple[str, ...]]) -> None:
    world = World()
    play(world, IN_A_LARGE_GROUP)
    play(world, taken)


@given(st.lists(steps, max_size=60))
def test_after_all_pushes_and_reads_only_members_get_messages(taken: list[tuple[str, ...]]) -> None:
    world = World()
    play(world, taken)
    for user in USERS:
        world.connect(user)
        world.read_head(user)
        world.read_tables(user)
        world.learn(user)
        while world.to_user[user]:
            world.hand_inbox(user)
    while world.to_all:
        world.hand_log()
    members = set(world.since) if world.mode == READ else set()
    assert {user for user in USERS if world.groups.read_sessions_of(user)} == members
    assert set(world.groups.apply_push(push(world.seq + 1))) == members
