"""Who is handed a push of a read-diffusion group: by cases, and against the log under any interleaving (H15, H35)."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.gateway.large_groups.tracker import MAX_TRACKED_GROUPS, GroupTracker
from tidings.store.rows import MODE_READ, MODE_WRITE, ROLE_MEMBER, GroupRow, MemberRow
from tidings.wire.common_pb2 import Message, Mode
from tidings.wire.push_pb2 import PushedMessage

GROUP = "g:1"
Names = tuple[str, ...]
# How far the group had come when its versions were read.
HEADS = {GROUP: 9}
READ, WRITE = Mode.MODE_READ, Mode.MODE_WRITE


def push(seq: int, *users: str, mode: Mode = READ, joined: Names = (), left: Names = ()) -> PushedMessage:
    message = Message(session_id=GROUP, seq=seq)
    return PushedMessage(message=message, user_ids=users, mode=mode, joined_ids=joined, left_ids=left)


def crossing(seq: int, to: Mode, *users: str) -> PushedMessage:
    pushed = push(seq, *users, mode=WRITE)
    pushed.mode_from, pushed.mode_to = (WRITE, READ) if to == READ else (READ, WRITE)
    return pushed


def group_row(as_of_seq: int, mode: int = MODE_READ, member_count: int = 3) -> GroupRow:
    return GroupRow(GROUP, as_of_seq, "Team", "owner", mode, member_count, "{}", 0, as_of_seq)


def member_row(user_id: str, as_of_seq: int, joined_seq: int, left_seq: int = 0) -> MemberRow:
    return MemberRow(GROUP, user_id, as_of_seq, joined_seq, 0, left_seq, ROLE_MEMBER, 0, 0, as_of_seq)


def learned(*users: str) -> GroupTracker:
    groups = GroupTracker()
    for user_id in users:
        groups.add_user(user_id)
        groups.apply_versions(groups.generation(user_id), [(group_row(9), member_row(user_id, 5, 5))], HEADS)
    return groups


def test_connected_members_get_a_push_without_user_ids() -> None:
    groups = learned("ann", "bob")
    groups.add_user("eve")
    assert groups.apply_push(push(10)) == ["ann", "bob"]
    assert groups.apply_push(push(10, "ann")) == []
    groups.remove_user("ann")
    assert groups.apply_push(push(11)) == ["bob"]


def test_inbox_push_of_a_group_log_message_changes_nothing() -> None:
    groups = learned("ann", "bob")
    assert groups.apply_push(push(11, "bob")) == []
    assert groups.apply_push(push(10)) == ["ann", "bob"]
    assert groups.apply_push(push(11)) == ["ann", "bob"]
    assert groups.take_unverified() == ()


def test_removed_member_gets_the_removal_and_no_later_message() -> None:
    groups = learned("ann", "bob")
    assert groups.apply_push(push(10, left=("bob",))) == ["ann", "bob"]
    assert groups.apply_push(push(11)) == ["ann"]


def test_joining_member_gets_the_joining_and_no_earlier_message() -> None:
    groups = learned("ann")
    groups.add_user("bob")
    assert groups.apply_push(push(10, joined=("bob", "stranger"))) == ["ann", "bob"]
    assert groups.apply_push(push(9)) == ["ann"]


@pytest.mark.hazard("H35")
def test_removal_pushed_during_a_read_outlasts_the_read() -> None:
    groups = GroupTracker()
    groups.add_user("bob")
    visit = groups.generation("bob")
    groups.apply_push(push(10, left=("bob",)))
    groups.apply_versions(visit, [(group_row(9), member_row("bob", 5, 5))], HEADS)
    assert groups.apply_push(push(11)) == []
    assert groups.read_sessions_of("bob") == []


def test_late_pushes_are_handed_out_up_to_the_leaving() -> None:
    groups = GroupTracker()
    groups.add_user("bob")
    groups.apply_versions(groups.generation("bob"), [(group_row(9), member_row("bob", 8, 5, left_seq=8))], HEADS)
    assert groups.apply_push(push(4)) == []
    assert groups.apply_push(push(5, joined=("bob",))) == ["bob"]
    assert groups.apply_push(push(8, left=("bob",))) == ["bob"]
    assert groups.apply_push(push(9)) == []


@pytest.mark.hazard("H15")
def test_removal_by_inbox_first_keeps_earlier_messages() -> None:
    groups = learned("ann", "bob")
    for _ in range(2):
        groups.apply_push(push(12, "bob", left=("bob",)))
    assert groups.read_sessions_of("bob") == []
    assert groups.apply_push(push(10)) == groups.apply_push(push(11)) == ["ann", "bob"]
    assert groups.apply_push(push(12, left=("bob",))) == ["ann", "bob"]
    assert groups.apply_push(push(13)) == ["ann"]


def test_group_end_by_inbox_first_keeps_earlier_messages() -> None:
    groups = learned("ann")
    last = push(11, "ann")
    last.dissolves = True
    groups.apply_push(last)
    assert groups.apply_push(push(10)) == ["ann"]
    assert groups.apply_push(push(12)) == []


def test_leaving_before_a_known_later_end_means_two_memberships() -> None:
    groups = learned("ann", "bob")
    groups.apply_push(push(14, "bob", left=("bob",)))
    assert groups.apply_push(push(10, left=("bob",))) == ["ann", "bob"]
    assert groups.apply_push(push(11)) == ["ann"]
    assert groups.apply_push(push(12, joined=("bob",))) == ["ann"]
    assert groups.apply_push(push(14, left=("bob",))) == []
    groups.apply_versions(
        groups.generation("bob"), [(group_row(9), member_row("bob", 14, 12, left_seq=14))], {GROUP: 14}
    )
    assert groups.apply_push(push(13)) == ["bob"]


def test_later_joining_from_tables_without_the_end_counts() -> None:
    groups = learned("bob")
    groups.apply_push(push(14, "bob", left=("bob",)))
    groups.apply_versions(groups.generation("bob"), [(group_row(9), member_row("bob", 12, 12))], {GROUP: 12})
    assert groups.apply_push(push(11)) == []
    assert groups.apply_push(push(13)) == ["bob"]


def test_end_of_the_group_does_not_verify_a_membership() -> None:
    groups = learned("bob")
    last = push(12)
    last.dissolves = True
    assert groups.apply_push(last) == []
    groups.apply_versions(
        groups.generation("bob"), [(group_row(12, member_count=0), member_row("bob", 10, 5, 10))], {GROUP: 12}
    )
    assert groups.apply_push(last) == []


def test_mode_switch_does_not_set_joined_seq_of_its_members() -> None:
    groups = learned("bob")
    groups.apply_push(crossing(10, WRITE))
    assert groups.apply_push(push(13)) == []
    groups.apply_push(crossing(17, READ, "bob"))
    assert groups.apply_push(push(13)) == []
    assert groups.apply_push(push(18)) == ["bob"]


def test_former_member_does_not_get_the_end_of_the_group() -> None:
    groups = learned("ann", "bob")
    groups.apply_push(push(10, left=("bob",)))
    last = push(11)
    last.dissolves = True
    assert groups.apply_push(last) == groups.apply_push(last) == ["ann"]


def test_switch_to_write_by_inbox_first_keeps_earlier_messages() -> None:
    groups = learned("ann", "bob")
    groups.apply_push(crossing(11, WRITE, "ann"))
    assert groups.read_sessions_of("ann") == []
    assert groups.apply_push(push(10)) == ["ann", "bob"]
    assert groups.apply_push(crossing(11, WRITE)) == []
    assert groups.apply_push(push(12)) == []


def test_membership_known_by_its_end_only_gets_no_messages() -> None:
    """It may have begun anywhere after the first."""
    groups = learned("bob")
    assert groups.apply_push(push(10, left=("bob",))) == ["bob"]
    groups.apply_push(push(14, "bob", left=("bob",)))
    assert groups.apply_push(push(11)) == groups.apply_push(push(12)) == []
    assert groups.apply_push(push(13, joined=("bob",))) == []
    assert groups.apply_push(push(14, left=("bob",))) == ["bob"]


def test_read_of_an_older_connection_generation_is_ignored() -> None:
    groups = GroupTracker()
    groups.add_user("bob")
    visit = groups.generation("bob")
    groups.remove_user("bob")
    groups.apply_push(push(10, left=("bob",)))
    groups.add_user("bob")
    groups.apply_versions(visit, [(group_row(9), member_row("bob", 5, 5))], HEADS)
    groups.apply_versions(0, [(group_row(9), member_row("bob", 5, 5))], HEADS)
    assert groups.apply_push(push(11)) == []


def test_group_tracker_memory_is_bounded_per_user() -> None:
    groups = learned("ann", "bob")
    visit = groups.generation("bob")
    for number in range(MAX_TRACKED_GROUPS):
        for pushed in (push(1, "bob", mode=WRITE, joined=("bob",)), push(2, "bob", mode=WRITE, left=("bob",))):
            pushed.message.session_id = f"g:made-{number}"
            groups.apply_push(pushed)
        assert len(groups.tracked_sessions("bob")) <= MAX_TRACKED_GROUPS
    assert groups.generation("bob") != visit
    assert groups.take_unverified() == ("bob",)
    assert groups.apply_push(push(10)) == ["ann"]
    groups.apply_versions(groups.generation("bob"), [(group_row(9), member_row("bob", 5, 5))], {GROUP: 10})
    assert groups.apply_push(push(11)) == ["ann", "bob"]


def test_second_connection_keeps_the_connection_generation() -> None:
    groups = learned("ann")
    visit = groups.generation("ann")
    groups.add_user("ann")
    assert groups.generation("ann") == visit
    assert groups.apply_push(push(10)) == ["ann"]


def test_mode_switch_names_the_readers_of_the_group_log() -> None:
    groups = GroupTracker()
    groups.add_user("ann")
    groups.add_user("bob")
    assert groups.apply_push(crossing(7, READ, "ann")) == []
    assert groups.apply_push(push(8)) == ["ann"]
    assert groups.read_sessions_of("ann") == [GROUP]


@pytest.mark.promise("G6")
@pytest.mark.hazard("H15")
def test_mode_switch_in_the_group_log_names_all_members() -> None:
    groups = GroupTracker()
    groups.add_user("ann")
    groups.add_user("eve")
    told = crossing(7, READ)
    told.member_ids.extend(["ann", "bob"])
    assert groups.apply_push(told) == []
    assert groups.apply_push(push(8)) == ["ann"]
    groups.apply_push(crossing(7, READ, "ann"))
    assert groups.apply_push(push(9)) == ["ann"]
    assert groups.take_unverified() == ()


def test_member_missing_from_the_mode_switch_gets_no_messages() -> None:
    """A removal in write diffusion was lost on its way."""
    groups = learned("ann", "bob")
    groups.apply_push(crossing(10, WRITE))
    told = crossing(13, READ)
    told.member_ids.append("ann")
    groups.apply_push(told)
    assert groups.apply_push(push(14)) == ["ann"]


def test_mode_switch_after_group_pushes_means_missed_messages() -> None:
    groups = GroupTracker()
    groups.add_user("ann")
    assert groups.apply_push(push(8)) == groups.apply_push(push(9)) == []
    assert groups.take_unverified() == ()
    groups.apply_push(crossing(7, READ, "ann"))
    assert groups.take_unverified() == ("ann",)
    groups.apply_versions(groups.generation("ann"), [(group_row(7), member_row("ann", 5, 5))], HEADS)
    assert groups.apply_push(push(10)) == ["ann"]
    assert groups.take_unverified() == ()


def test_joining_by_inbox_only_means_missed_messages() -> None:
    groups = learned("bob")
    groups.add_user("ann")
    groups.apply_push(push(11))
    groups.take_unverified()
    groups.apply_push(push(10, "ann", joined=("ann",)))
    assert groups.take_unverified() == ("ann",)


def test_mode_switch_in_time_means_no_missed_message() -> None:
    groups = GroupTracker()
    groups.add_user("ann")
    groups.apply_push(crossing(7, READ, "ann"))
    assert groups.apply_push(push(8)) == ["ann"]
    assert groups.take_unverified() == ()


def test_write_diffusion_leaves_no_reader_of_the_group_log() -> None:
    groups = learned("ann", "bob")
    assert groups.apply_push(crossing(10, WRITE)) == []
    assert groups.read_sessions_of("ann") == groups.read_sessions_of("bob") == []
    groups.apply_versions(groups.generation("ann"), [(group_row(9), member_row("ann", 5, 5))], HEADS)
    assert groups.read_sessions_of("ann") == []
    groups.apply_push(crossing(12, READ, "ann"))
    assert groups.apply_push(push(13)) == ["ann"]


def test_a_dissolved_group_has_no_members() -> None:
    groups = learned("ann", "bob")
    last = push(10)
    last.dissolves = True
    assert groups.apply_push(last) == ["ann", "bob"]
    groups.apply_versions(groups.generation("ann"), [(group_row(9), member_row("ann", 5, 5))], HEADS)
    assert groups.apply_push(push(11)) == []
    groups = GroupTracker()
    groups.add_user("ann")
    groups.apply_versions(groups.generation("ann"), [(group_row(10, member_count=0), member_row("ann", 5, 5))], HEADS)
    assert groups.apply_push(push(11)) == []


def test_lost_pushes_hold_back_messages_until_the_next_read() -> None:
    groups = learned("ann", "bob")
    visit = groups.generation("bob")
    groups.invalidate()
    assert groups.apply_push(push(10)) == []
    groups.apply_versions(visit, [(group_row(9), member_row("bob", 5, 5))], HEADS)
    groups.apply_versions(groups.generation("ann"), [(group_row(9), member_row("ann", 5, 5))], {GROUP: 10})
    assert groups.apply_push(push(11)) == ["ann"]


def test_gap_in_pushes_holds_back_messages_until_the_next_read() -> None:
    """It may have been a removal (G10)."""
    groups = learned("ann", "bob")
    assert groups.apply_push(push(10)) == ["ann", "bob"]
    assert groups.take_unverified() == ()
    assert groups.apply_push(push(12)) == []
    assert sorted(groups.take_unverified()) == ["ann", "bob"]
    assert groups.take_unverified() == ()
    groups.apply_versions(groups.generation("ann"), [(group_row(9), member_row("ann", 5, 5))], {GROUP: 12})
    groups.apply_versions(
        groups.generation("bob"), [(group_row(9), member_row("bob", 11, 5, left_seq=11))], {GROUP: 12}
    )
    assert groups.apply_push(push(13)) == ["ann"]
    assert groups.take_unverified() == ()


def test_views_of_disconnected_users_are_dropped() -> None:
    groups = learned("ann", "bob")
    groups.apply_push(push(10, left=("bob",)))
    for user_id in ("ann", "bob", "bob"):
        groups.remove_user(user_id)
    assert not groups._groups
    assert not groups._sessions_of
    assert not groups._generations


# -- any interleaving ------------------------------------------------------------------------------

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
    # Heads that were read to be told, and those of them at which the tables have said since that the user was in.
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
        """Another role, a mute: said of a member who stays."""
        if user in self.since:
            self._persist(named=(user,))

    def cross(self) -> None:
        """By a membership message of somebody at another gateway."""
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

    def read_told_head(self, user: str) -> None:
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
            "read_told_head",
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
@example([("part", "bob"), ("message",), ("join", "bob"), ("read_told_head", "bob"), ("ask", "bob"), ("vouch", "bob")])
def test_messages_outside_a_membership_are_never_handed_out(
    taken: list[tuple[str, ...]],
) -> None:
    world = World()
    play(world, IN_A_LARGE_GROUP)
    play(world, taken)


@given(st.lists(steps, max_size=60))
def test_after_all_pushes_and_reads_only_members_get_messages(
    taken: list[tuple[str, ...]],
) -> None:
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


def test_group_named_by_the_inbox_is_expected_once() -> None:
    groups = GroupTracker()
    assert not groups.expect("ann", GROUP)
    groups.add_user("ann")
    assert [groups.expect("ann", GROUP) for _ in range(2)] == [True, False]
    assert groups.tracked_sessions("ann") == (GROUP,)
