"""A group over its whole life, as one device sees it: memberships, both ways of delivery, every loss and repeat."""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.client.test_receiving import ME, Device, message
from tidings_client import frames, groups, receiving
from tidings_client.effects import Cursor, FetchHistory
from tidings_client.frames import Live, Message, Position, Push
from tidings_client.progress import Progress

GROUP = "g:x"
READ, WRITE = "read", "write"


@dataclass
class Log:
    """The group at the server: its log, the user's inbox, and who may read what."""

    messages: list[Message] = field(default_factory=list)
    inbox: list[Message] = field(default_factory=list)
    spans: list[tuple[int, int | None]] = field(default_factory=list)
    write_diffused: set[int] = field(default_factory=set)
    read_diffused: set[int] = field(default_factory=set)
    mode: str = WRITE

    @property
    def is_member(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] is None

    def say(self) -> None:
        self.append()

    def append(self, *, to_inbox: bool = False, **body: object) -> None:
        seq = len(self.messages) + 1
        entry = message(GROUP, seq, "alice", **body)
        self.messages.append(entry)
        if to_inbox or (self.is_member and self.mode == WRITE):
            self.inbox.append(entry)
            self.write_diffused.add(seq)
        if self.mode == READ and "mode_to" not in body:
            self.read_diffused.add(seq)

    def join(self) -> None:
        if not self.is_member:
            self.spans.append((len(self.messages) + 1, None))
            self.append(to_inbox=True, event="members_added", user_ids=[ME], mode=self.mode)

    def leave(self) -> None:
        if self.is_member:
            self.append(to_inbox=True, event="member_removed", user_id=ME)
            self.spans[-1] = (self.spans[-1][0], len(self.messages))

    def name(self) -> None:
        self.append(to_inbox=self.is_member, event="member_changed", user_id=ME, muted_until=1)

    def switch(self) -> None:
        before, self.mode = self.mode, READ if self.mode == WRITE else WRITE
        self.append(to_inbox=self.is_member, event="members_added", user_ids=["zoe"], mode=self.mode,
                    mode_from=before, mode_to=self.mode)  # fmt: skip

    def is_mine(self, seq: int) -> bool:
        return any(first <= seq <= (last or seq) for first, last in self.spans)

    def must_be_shown(self) -> set[int]:
        """What the inbox has, and all of a membership that still holds: its log can be read."""
        current = self.spans[-1][0] if self.is_member else len(self.messages) + 1
        return self.write_diffused | set(range(current, len(self.messages) + 1))


@dataclass
class Member:
    """A device of the user, and the server's side of what it does."""

    log: Log = field(default_factory=Log)
    seen: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = Device(inbox=self.log.inbox)
        self.device.open()
        self.connect()

    def connect(self) -> None:
        self.device.connect(live=False)
        self.live()

    def live(self) -> None:
        self.device.give(Live(inbox_seq=len(self.log.inbox), heads=self.heads))

    @property
    def heads(self) -> tuple[Position, ...]:
        is_read = self.log.is_member and self.log.mode == READ
        return (Position(GROUP, len(self.log.messages)),) if is_read else ()

    def push(self, seq: int, number: int) -> None:
        """By a way that this message went; what names the user in a read group goes both."""
        if not self.log.is_mine(seq) or seq > len(self.log.messages):
            return
        entry = self.log.messages[seq - 1]
        if seq in self.log.read_diffused and (number % 2 or seq not in self.log.write_diffused):
            self.device.give(Push(message=entry))
        else:
            self.device.push(1 + self.log.inbox.index(entry))

    def answer_history(self) -> None:
        fetch = self.device.histories.pop(0)
        if not self.log.is_member:
            self.device.take(self.device.core.history_failed(self.device.now_ms, GROUP, gone=True))
            return
        first = max(self.log.spans[-1][0], 1 + (fetch.after_seq or 0))
        page = self.log.messages[first - 1 :][:3]
        more = bool(page) and page[-1].seq < len(self.log.messages)
        self.device.take(self.device.core.history(self.device.now_ms, GROUP, page, more))

    def fail_history(self) -> None:
        self.device.histories.pop(0)
        self.device.take(self.device.core.history_failed(self.device.now_ms, GROUP, gone=False))

    def restart(self) -> None:
        """Nothing is kept but the cursor; and of what was shown only that counts which was handled."""
        self.seen += self.shown[: len(self.shown) - len(self.device.tickets)]
        self.device = Device(self.log.inbox, self.device.cursor, now_ms=self.device.now_ms)
        self.device.open()
        self.connect()

    @property
    def shown(self) -> list[int]:
        return [entry.seq for entry in self.device.shown]

    def do(self, name: str, number: int = 0) -> None:
        match name:
            case "push":
                self.push(1 + number // 2, number)
            case "newest":
                self.push(len(self.log.messages), number)
            case "advance":
                self.advance(number)
            case "lose":
                self.device.lose_connection()
                self.advance(1_000)
            case "live" | "restart":
                getattr(self, name)()
            case "say" | "join" | "leave" | "name" | "switch":
                getattr(self.log, name)()
            case _:
                self.serve(name, number)

    def serve(self, name: str, number: int) -> None:
        device = self.device
        match name:
            case "handle":
                device.handle(number)
            case "heartbeat":
                device.give(frames.Heartbeat(inbox_seq=len(self.log.inbox), heads=self.heads))
            case "sync" if device.syncs:
                device.answer()
            case "history" if device.histories:
                self.answer_history()
            case "fail" if device.histories:
                self.fail_history()

    def advance(self, ms: int) -> None:
        device, until = self.device, self.device.now_ms + ms
        while (at := device.core.next_tick_ms(device.now_ms)) is not None and at <= until:
            device.now_ms = max(device.now_ms, at)
            device.take(device.core.tick(device.now_ms))
            if device.connecting:
                self.connect()
        device.now_ms = until

    def settle_down(self) -> None:
        # 30 s at least, which is how long history is left alone after many failures.
        for _ in range(len(self.log.messages) + 30):
            self.do("heartbeat")
            self.advance(1_100)
            while self.device.syncs:
                self.device.answer()
            while self.device.histories:
                self.answer_history()
            self.device.handle(len(self.device.tickets))
        self.advance(1_000)


NAMES = ["say", "say", "say", "join", "leave", "name", "switch", "newest", "newest", "live", "heartbeat", "sync"]
STEPS = st.one_of(
    st.tuples(st.sampled_from([*NAMES, "history", "fail", "lose"]), st.integers(0, 1)),
    st.tuples(st.just("push"), st.integers(0, 60)),
    st.tuples(st.just("advance"), st.sampled_from([1, 200, 1_000, 6_000])),
    st.tuples(st.just("handle"), st.integers(1, 5)),
)


def rises(seqs: list[int]) -> bool:
    return all(before < after for before, after in pairwise(seqs))


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=80))
def test_any_interleaving_shows_each_message_of_the_memberships_once_in_order(schedule: list[tuple[str, int]]) -> None:
    member = Member()
    for name, number in schedule:
        member.do(name, number)
    member.settle_down()
    assert rises(member.shown)
    assert all(map(member.log.is_mine, member.shown))
    assert member.log.must_be_shown() <= set(member.shown)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(STEPS, st.just(("restart", 0))), max_size=80))
def test_through_restarts_nothing_is_left_out_and_nothing_comes_from_outside_a_membership(
    schedule: list[tuple[str, int]],
) -> None:
    member = Member()
    for name, number in schedule:
        before = member.shown
        member.do(name, number)
        assert rises(member.shown), before
    member.settle_down()
    assert rises(member.shown)
    assert all(map(member.log.is_mine, member.seen + member.shown))
    assert member.log.must_be_shown() <= set(member.seen + member.shown)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60), st.integers(0, 60))
@example([(name, 0) for name in ("join", "say", "switch", "say")], 60)
@example([(name, 0) for name in ("join", "switch", "say", "switch", "say", "switch", "say")], 60)
def test_to_a_new_device_whose_inbox_has_expired_the_log_tells_what_the_inbox_has_not(
    schedule: list[tuple[str, int]], expired: int
) -> None:
    member = Member()
    for name, number in schedule:
        member.do(name, number)
    log = member.log
    member.device = Device(log.inbox, expired=min(expired, len(log.inbox)), now_ms=member.device.now_ms)
    member.device.open()
    member.connect()
    member.settle_down()
    log.say()
    member.do("newest")
    member.settle_down()
    assert rises(member.shown)
    assert all(map(log.is_mine, member.shown))
    kept = {entry.seq for entry in log.inbox[member.device.expired :]}
    assert kept <= set(member.shown)
    if log.is_member and log.mode == READ:
        # What the inbox still has is the beginning, as in a group without logs; without any of it, the joining.
        first = min((seq for seq in kept if seq >= log.spans[-1][0]), default=log.spans[-1][0])
        assert set(range(first, len(log.messages) + 1)) <= set(member.shown)


def settled(*steps: str) -> Member:
    member = Member()
    for name in steps:
        member.do(name)
    member.settle_down()
    return member


def resumed(cursor: Cursor) -> Device:
    device = Device(cursor=cursor)
    device.open()
    device.connect()
    return device


def test_what_was_handled_of_a_log_is_not_shown_again_by_the_next_process() -> None:
    member = settled("join", "say", "switch", "say", "say")
    assert member.shown == [1, 2, 3, 4, 5]
    member.do("say")
    member.restart()
    member.settle_down()
    assert member.shown == [6]


def test_what_names_the_user_in_a_large_group_is_shown_once_although_it_comes_by_inbox_and_log() -> None:
    member = settled("join", "switch", "say", "name", "say")
    member.push(4, 0)
    member.push(4, 1)
    assert member.shown == [1, 2, 3, 4, 5]
    assert member.device.cursor is not None
    member.settle_down()
    assert member.device.cursor.inbox_seq == len(member.log.inbox) == 3


def test_a_switch_made_while_the_device_was_away_shows_nothing_again() -> None:
    member = settled("join", "say", "say")
    for name in ("switch", "say", "say"):
        member.do(name)
    member.restart()
    member.advance(20_000)
    assert member.device.histories == []
    member.settle_down()
    assert member.shown == [4, 5, 6]


def test_between_leaving_and_joining_again_nothing_is_waited_for() -> None:
    member = settled("switch", "join", "say")
    member.device.lose_connection()
    for name in ("leave", "say", "join", "say"):
        member.do(name)
    member.advance(1_000)
    member.settle_down()
    assert member.shown == [2, 3, 4, 6, 7]


def test_a_device_that_begins_with_live_reads_no_log_from_before() -> None:
    log = Log()
    for name in ("join", "switch", "say"):
        getattr(log, name)()
    device = Device(inbox=log.inbox, from_live=True)
    device.open()
    device.connect(live=False)
    device.give(Live(inbox_seq=len(log.inbox), heads=(Position(GROUP, 3),)))
    device.advance(15_000)
    assert (device.histories, device.shown) == ([], [])
    device.give(Push(message=message(GROUP, 5)))
    device.advance(200)
    assert device.histories == [FetchHistory(GROUP, 3)]
    assert device.cursor is not None
    assert device.cursor.groups == {GROUP: 3}


def test_a_log_that_is_followed_again_is_read_up_to_the_head_that_was_told_before() -> None:
    member = settled("join", "switch", "say")
    member.device.lose_connection()
    for name in ("switch", "say", "switch", "say", "say"):
        member.do(name)
    member.advance(1_000)
    for _ in range(4):  # and no heartbeat says it again
        while member.device.syncs:
            member.device.answer()
        while member.device.histories:
            member.answer_history()
        member.advance(1_000)
    assert member.shown == list(range(1, 9))


def test_of_a_page_that_goes_past_a_switch_to_write_the_inbox_shows_the_rest() -> None:
    member = settled("join", "switch", "say")
    device = member.device
    for name in ("say", "switch", "say"):
        member.do(name)
    member.live()
    device.syncs.clear()
    device.take(device.core.received(device.now_ms, Push(message=message(GROUP, 9))))
    page = member.log.messages[3:]
    device.take(device.core.history(device.now_ms, GROUP, page, False))
    assert member.shown == [1, 2, 3, 4, 5]
    member.settle_down()
    assert member.shown == [1, 2, 3, 4, 5, 6]


def test_history_that_begins_above_the_next_seq_waits_for_the_inbox_to_say_why() -> None:
    member = settled("switch", "join", "say")
    device = member.device
    for name in ("leave", "say", "join", "say"):
        member.do(name)
    device.take(device.core.history(device.now_ms, GROUP, member.log.messages[5:], False))
    assert member.shown == [2, 3]
    member.settle_down()
    assert member.shown == [2, 3, 4, 6, 7]


def waits_ms(member: Member, failures: int) -> list[int]:
    """From each failure of history to the next question, while heartbeats and pushes tell of the group all along."""
    found = []
    for _ in range(failures):
        member.fail_history()
        failed_ms = member.device.now_ms
        while not member.device.histories:
            member.do("heartbeat")
            member.do("newest")
            member.advance(500)
        found.append(member.device.now_ms - failed_ms)
    return found


def test_history_that_is_unavailable_is_asked_for_more_and_more_rarely_until_it_answers() -> None:
    member = settled("join", "switch")
    for _ in range(2):
        member.log.say()
        member.log.say()
        member.do("heartbeat")
        member.advance(0)
        assert waits_ms(member, 7) == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        member.answer_history()
        assert member.shown == list(range(1, 1 + len(member.log.messages)))


def test_a_new_connection_asks_for_history_at_once_however_often_the_last_one_failed() -> None:
    logs = groups.Groups()
    logs.follow("g:x", 0)
    logs.head(0, "g:x", 5)
    for now_ms in (0, 1_000, 3_000):
        assert list(logs.tick(now_ms, 5)) == [FetchHistory("g:x", 0)]
        assert not list(logs.history_failed(now_ms, "g:x", gone=False, jitter=0.0))
    logs.head(4_000, "g:x", 6)
    assert not list(logs.tick(4_000, 5))
    logs.ready("ann")
    logs.head(4_000, "g:x", 6)
    assert list(logs.tick(4_000, 5)) == [FetchHistory("g:x", 0)]


def test_groups_do_not_ask_for_history_again_all_at_once() -> None:
    logs = groups.Groups()
    for session_id, jitter in (("g:x", -1.0), ("g:y", 1.0)):
        logs.follow(session_id, 0)
        logs.head(0, session_id, 5)
        assert list(logs.tick(0, 5)) == [FetchHistory(session_id, 0)]
        assert not list(logs.history_failed(0, session_id, gone=False, jitter=jitter))
    asked = {at_ms: list(logs.tick(at_ms, 5)) for at_ms in (799, 800, 1_199, 1_200)}
    assert asked == {799: [], 800: [FetchHistory("g:x", 0)], 1_199: [], 1_200: [FetchHistory("g:y", 0)]}


def test_without_the_inbox_s_word_the_log_goes_on_where_history_begins() -> None:
    device = resumed(Cursor(0, {GROUP: 3}))
    for _ in range(groups.GAPS_ACCEPTED):
        device.take(device.core.history(device.now_ms, GROUP, [message(GROUP, 9)], False))
    assert device.positions == [(GROUP, 9)]


def test_the_inbox_s_place_never_passes_a_switch_that_its_groups_place_has_not() -> None:
    progress = Progress(inbox_seq=4)
    log, switch = progress.issue(None), progress.issue(5)
    progress.shown(log, "g:other", 8, in_group_log=True)
    progress.shown(switch, GROUP, 3, in_group_log=True)
    assert not progress.handled(switch)
    assert progress.handled(log)
    assert progress.cursor == Cursor(5, {"g:other": 8, GROUP: 3})


def test_a_head_told_before_the_inbox_names_its_group_waits_ten_seconds() -> None:
    device = resumed(Cursor(0))
    device.give(frames.Heartbeat(inbox_seq=0, heads=(Position(GROUP, 3),)))
    device.advance(9_999)
    assert device.histories == []
    device.advance(1)
    assert device.histories == [FetchHistory(GROUP, None)]


def test_joining_again_in_write_mode_ends_the_log() -> None:
    device = resumed(Cursor(0, {GROUP: 3}))
    device.inbox += [message(GROUP, 9, event="members_added", user_ids=[ME], mode=WRITE), message(GROUP, 10)]
    device.push(1)
    device.push(2)
    device.handle(2)
    device.advance(1_000)
    assert device.positions == [(GROUP, 9), (GROUP, 10)]
    assert device.cursor == Cursor(2, {})


def test_what_waited_for_a_log_is_put_into_the_log_that_the_next_switch_begins() -> None:
    member = settled("join", "switch", "say")
    device, log = member.device, member.log
    for name in ("say", "switch", "say", "switch", "say", "leave"):
        member.do(name)
    for inbox_seq in range(3, len(log.inbox) + 1):
        device.push(inbox_seq)
    device.take(device.core.history(device.now_ms, GROUP, log.messages[3:5], True))
    assert member.shown == [1, 2, 3, 4, 5, 6, 7]
    device.take(device.core.history(device.now_ms, GROUP, log.messages[7:], False))
    assert member.shown == list(range(1, 10))


def test_a_push_of_the_next_log_does_not_overtake_the_inbox_at_a_switch_to_write() -> None:
    member = settled("join", "switch", "say")
    device, log = member.device, member.log
    for name in ("say", "switch", "say", "switch", "say"):
        member.do(name)
    device.give(Push(message=log.messages[7]))
    device.take(device.core.history(device.now_ms, GROUP, log.messages[3:5], True))
    assert member.shown == [1, 2, 3, 4, 5]
    member.settle_down()
    assert member.shown == list(range(1, 9))


def test_what_was_pushed_again_after_a_restart_is_not_shown_again() -> None:
    member = settled("join", "switch", "say")
    cursor = member.device.cursor
    assert cursor == Cursor(2, {GROUP: 3}, is_whole=True)
    device = Device(member.log.inbox, Cursor(0, {GROUP: 3}))
    device.open()
    device.connect(live=False)
    device.give(Live(inbox_seq=2, heads=(Position(GROUP, 3),)))
    device.advance(0)
    device.answer()
    assert device.shown == []


def test_the_inbox_does_not_pass_a_switch_that_the_log_has_shown_and_nobody_has_handled() -> None:
    member = settled("join", "switch", "say")
    device, log = member.device, member.log
    for name in ("say", "switch"):
        member.do(name)
    device.give(Push(message=log.messages[3]))
    device.take(device.core.history(device.now_ms, GROUP, log.messages[4:], False))
    device.push(len(log.inbox))
    device.advance(1_000)
    assert member.shown == [1, 2, 3, 4, 5]
    assert device.cursor == Cursor(2, {GROUP: 3}, is_whole=True)
    device.handle(2)
    device.advance(1_000)
    assert device.cursor == Cursor(3, {}, is_whole=True)


def test_logs_are_read_no_faster_than_the_application_takes_them() -> None:
    names = [f"g:{number}" for number in range(60)]
    device = Device(cursor=Cursor(0, dict.fromkeys(names, 1)))
    device.open()
    device.connect(live=False)
    device.give(Live(inbox_seq=0, heads=tuple(Position(name, 201) for name in names)))
    for done in range(0, 60 * 200, 200):
        device.advance(100)
        assert len(device.histories) <= 5
        while device.histories:
            name = device.histories.pop(0).session_id
            page = [message(name, seq) for seq in range(2, 202)]
            device.take(device.core.history(device.now_ms, name, page, False))
        assert len(device.tickets) <= receiving.WINDOW
        assert len(device.shown) == min(done + receiving.WINDOW, 60 * 200)
        device.handle(200)


def test_pushes_of_a_group_that_the_inbox_does_not_name_make_no_more_than_a_sync_a_second() -> None:
    device = resumed(Cursor(0))
    for seq in range(1, 501):
        device.give(Push(message=message(GROUP, seq)))
        device.advance(10)
        while device.syncs:
            device.answer()
    assert 2 <= len(device.sync_times) <= 6


def test_an_answer_for_a_log_that_was_forgotten_does_not_end_the_one_begun_since() -> None:
    member = settled("join", "switch", "say")
    device = member.device
    member.do("say")
    member.do("heartbeat")
    device.advance(0)
    assert device.histories
    for name in ("leave", "join", "say"):
        member.do(name)
    device.push(len(member.log.inbox) - 1)
    device.push(len(member.log.inbox))
    device.take(device.core.history_failed(device.now_ms, GROUP, gone=True))
    device.give(Push(message=member.log.messages[-1]))
    assert member.shown[-2:] == [6, 7]
