"""The receiving half of the SDK's core against a scripted inbox: repeats, gaps, reorderings, losses, restarts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings_client import frames, receiving
from tidings_client.core import Core
from tidings_client.effects import (
    Connect,
    Cursor,
    Deliver,
    Effect,
    FetchHistory,
    LinkChanged,
    PersistCursor,
    SendFrame,
)
from tidings_client.frames import InboxItem, Live, Message, Position, Push, SyncPage

ME = "bob"


def message(session_id: str, seq: int, sender_id: str = "alice", **rest: object) -> Message:
    body = {"text": f"{session_id} {seq}"} if not rest else dict(rest)
    return Message(
        message_id=f"{session_id}-{seq}",
        session_id=session_id,
        seq=seq,
        sender_id=sender_id,
        client_msg_id=f"c-{seq}",
        at=1,
        kind="system" if rest else "text",
        body=body,
    )


@dataclass
class Device:
    """A core with its clock, and a server's inbox behind it. Syncs are answered only when asked to."""

    inbox: list[Message] = field(default_factory=list)
    cursor: Cursor | None = None
    from_live: bool = False
    now_ms: int = 1_000_000
    expired: int = 0
    log: dict[str, list[Message]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.core = Core("phone", lambda: 0.0)
        self.shown: list[Message] = []
        self.tickets: list[int] = []
        self.syncs: list[frames.Sync] = []
        self.sync_times: list[int] = []
        self.acks: list[frames.Ack] = []
        self.histories: list[FetchHistory] = []
        self.connecting = False
        self.take(self.core.start(self.cursor, from_live=self.from_live))

    def take(self, todo: list[Effect]) -> None:
        for effect in todo:
            match effect:
                case Deliver(ticket=ticket, message=shown):
                    self.shown.append(shown)
                    self.tickets.append(ticket)
                case SendFrame(frame=frames.Sync() as sync):
                    self.syncs.append(sync)
                    self.sync_times.append(self.now_ms)
                case SendFrame(frame=frames.Ack() as ack):
                    self.acks.append(ack)
                case PersistCursor(cursor=cursor):
                    self.cursor = cursor
                case FetchHistory():
                    self.histories.append(effect)
                case Connect():
                    self.connecting = True
                case LinkChanged():
                    self.syncs = []

    def connect(self, *, live: bool = True) -> None:
        self.connecting = False
        self.take(self.core.connected(self.now_ms, "token", None))
        self.give(frames.Welcome(user_id=ME, device_id="phone", connection_id="1", server_time=5))
        if live:
            self.live()

    def live(self) -> None:
        heads = tuple(Position(session_id, len(log)) for session_id, log in self.log.items())
        self.give(Live(inbox_seq=len(self.inbox), heads=heads))

    def give(self, frame: frames.ServerFrame) -> None:
        self.take(self.core.received(self.now_ms, frame))

    def open(self) -> None:
        self.take(self.core.open(self.now_ms))

    def push(self, inbox_seq: int) -> None:
        self.give(Push(inbox_seq=inbox_seq, message=self.inbox[inbox_seq - 1]))

    def heartbeat(self) -> None:
        self.give(frames.Heartbeat(inbox_seq=len(self.inbox)))

    def answer(self) -> None:
        """The oldest sync that waits for an answer."""
        sync = self.syncs.pop(0)
        first = max(sync.after, self.expired)
        items = tuple(
            InboxItem(inbox_seq=n, message=self.inbox[n - 1])
            for n in range(first + 1, min(len(self.inbox), first + sync.limit) + 1)
        )
        after = items[-1].inbox_seq if items else first
        self.give(
            SyncPage(
                after=sync.after,
                items=items,
                next=after,
                tail=len(self.inbox),
                more=after < len(self.inbox),
                truncated=sync.after < self.expired,
            )
        )

    def answer_history(self) -> None:
        fetch = self.histories.pop(0)
        log = self.log[fetch.session_id]
        page = log[fetch.after_seq or 0 :][:3]
        more = bool(page) and page[-1].seq < len(log)
        self.take(self.core.history(self.now_ms, fetch.session_id, page, more))

    def advance(self, ms: int) -> None:
        """Time passes, tick by tick; where the connection was lost, it comes back."""
        until = self.now_ms + ms
        while (at := self.core.next_tick_ms(self.now_ms)) is not None and at <= until:
            self.now_ms = max(self.now_ms, at)
            self.take(self.core.tick(self.now_ms))
            if self.connecting:
                self.connect()
        self.now_ms = until

    def lose_connection(self) -> None:
        self.take(self.core.closed(self.now_ms, 1006, ""))

    def handle(self, count: int) -> None:
        done, self.tickets = self.tickets[:count], self.tickets[count:]
        for ticket in done:
            self.take(self.core.handled(self.now_ms, ticket))

    def settle_down(self) -> None:
        """Everything that is asked is answered, until nothing is asked any more."""
        for _ in range(3 * len(self.inbox) + 30):
            self.heartbeat()
            self.advance(1_100)
            while self.syncs:
                self.answer()
            while self.histories:
                self.answer_history()
            self.handle(len(self.tickets))
        self.advance(1_000)

    @property
    def positions(self) -> list[tuple[str, int]]:
        return [(shown.session_id, shown.seq) for shown in self.shown]


def numbered(count: int, session_id: str = "d:alice:bob") -> list[Message]:
    return [message(session_id, seq) for seq in range(1, count + 1)]


def started(count: int, **rest: object) -> Device:
    device = Device(inbox=numbered(count), **rest)  # type: ignore[arg-type]
    device.open()
    device.connect()
    return device


@pytest.mark.hazard("H14")
def test_a_new_device_syncs_its_whole_inbox_after_live() -> None:
    device = Device(inbox=numbered(5))
    device.open()
    device.connect(live=False)
    device.advance(5_000)
    assert device.syncs == []
    device.live()
    device.advance(0)
    device.answer()
    assert [seq for _, seq in device.positions] == [1, 2, 3, 4, 5]


def test_without_live_the_cold_start_syncs_after_ten_seconds() -> None:
    device = Device(inbox=numbered(2))
    device.open()
    device.connect(live=False)
    device.advance(9_999)
    assert device.syncs == []
    device.advance(1)
    assert device.syncs == [frames.Sync(after=0, limit=200)]


def test_device_from_live_shows_only_later_messages() -> None:
    device = started(3, from_live=True)
    device.inbox.append(message("d:alice:bob", 4))
    device.push(4)
    assert device.positions == [("d:alice:bob", 4)]


def test_a_gap_is_synced_after_200_ms_and_again_every_second() -> None:
    device = started(0)
    device.inbox += numbered(3)
    pushed_at = device.now_ms
    device.push(3)
    device.advance(2_500)
    assert [at - pushed_at for at in device.sync_times] == [200, 1_200, 2_200]
    device.answer()
    assert [seq for _, seq in device.positions] == [1, 2, 3]
    device.syncs.clear()
    device.advance(5_000)
    assert device.syncs == []


def test_pending_request_is_not_repeated_within_a_second() -> None:
    device = started(0)
    device.inbox += numbered(5)
    device.push(3)
    device.advance(200)
    device.heartbeat()
    device.push(5)
    device.advance(900)
    assert len(device.sync_times) == 1
    device.answer()
    assert [seq for _, seq in device.positions] == [1, 2, 3, 4, 5]


def test_pushes_beyond_the_gap_buffer_are_acked_and_synced_later() -> None:
    device = started(0)
    device.inbox += numbered(receiving.MAX_HELD + 5)
    for inbox_seq in range(2, receiving.MAX_HELD + 6):
        device.push(inbox_seq)
    device.advance(100)
    assert device.acks[-1].inbox_seq == receiving.MAX_HELD + 5
    device.settle_down()
    assert [seq for _, seq in device.positions] == list(range(1, receiving.MAX_HELD + 6))


def test_fifty_messages_are_acked_without_waiting() -> None:
    device = started(0)
    device.inbox += numbered(50)
    for inbox_seq in range(1, 51):
        device.push(inbox_seq)
    assert device.acks == [frames.Ack(inbox_seq=50, delivered=(Position("d:alice:bob", 50),))]


def test_a_gap_that_closes_by_itself_is_not_synced() -> None:
    device = started(0)
    device.inbox += numbered(3)
    for inbox_seq in (3, 2, 1):
        device.push(inbox_seq)
    device.advance(3_000)
    assert [seq for _, seq in device.positions] == [1, 2, 3]
    assert device.sync_times == []


def test_lost_sync_answer_does_not_stop_repair_of_later_gaps() -> None:
    device = started(0)
    device.inbox += numbered(3)
    device.push(2)
    device.advance(200)
    device.syncs.clear()
    device.push(1)
    device.push(3)
    device.inbox += [message("d:alice:bob", 4), message("d:alice:bob", 5)]
    device.push(5)
    device.advance(1_000)
    device.answer()
    assert [seq for _, seq in device.positions] == [1, 2, 3, 4, 5]


def test_a_lost_last_message_is_noticed_at_the_heartbeat() -> None:
    device = started(0)
    device.inbox += numbered(1)
    device.heartbeat()
    device.advance(0)
    device.answer()
    assert [seq for _, seq in device.positions] == [1]


def test_expired_numbers_are_skipped() -> None:
    device = Device(inbox=numbered(10), expired=7)
    device.open()
    device.connect()
    device.advance(0)
    device.answer()
    assert [seq for _, seq in device.positions] == [8, 9, 10]


def test_truncated_page_in_a_full_queue_skips_only_expired_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(inbox=numbered(6), expired=1)
    device.open()
    device.connect()
    device.advance(0)
    monkeypatch.setattr(receiving, "WINDOW", 2)
    device.answer()
    assert [seq for _, seq in device.positions] == [2, 3]
    device.settle_down()
    assert [seq for _, seq in device.positions] == [2, 3, 4, 5, 6]


def test_an_empty_truncated_page_moves_the_cursor_to_next() -> None:
    device = Device(inbox=numbered(10), expired=10)
    device.open()
    device.connect()
    device.advance(0)
    device.answer()
    device.inbox.append(message("d:alice:bob", 11))
    device.push(11)
    assert device.positions == [("d:alice:bob", 11)]


@pytest.mark.hazard("H16")
def test_the_same_seq_under_two_inbox_numbers_is_shown_once() -> None:
    device = started(0)
    device.inbox += [message("d:alice:bob", 1), message("d:alice:bob", 1), message("d:alice:bob", 2)]
    for inbox_seq in (1, 2, 3):
        device.push(inbox_seq)
    assert [seq for _, seq in device.positions] == [1, 2]


def test_cursor_follows_handled_messages_not_shown_ones() -> None:
    device = started(0)
    device.inbox += numbered(3)
    for inbox_seq in (1, 2, 3):
        device.push(inbox_seq)
    device.advance(1_000)
    assert device.cursor is None
    device.take(device.core.handled(device.now_ms, device.tickets[1]))
    device.advance(1_000)
    assert device.cursor is None
    device.take(device.core.handled(device.now_ms, device.tickets[0]))
    device.advance(1_000)
    assert device.cursor == Cursor(2, is_whole=True)


def test_acks_are_joined_and_name_the_sessions_delivered() -> None:
    device = started(0)
    device.inbox += numbered(40)
    for inbox_seq in range(1, 41):
        device.push(inbox_seq)
    device.advance(50)
    assert device.acks == []
    device.advance(50)
    assert device.acks == [frames.Ack(inbox_seq=40, delivered=(Position("d:alice:bob", 40),))]


def test_a_new_connection_hears_the_latest_ack_again() -> None:
    device = started(0)
    device.inbox += numbered(2)
    device.push(1)
    device.push(2)
    device.advance(100)
    device.acks.clear()
    device.lose_connection()
    device.advance(1_000)
    assert device.acks == [frames.Ack(inbox_seq=2, delivered=(Position("d:alice:bob", 2),))]


def test_client_without_a_reader_acks_but_claims_no_delivery() -> None:
    device = Device()
    device.connect()
    device.inbox += numbered(2)
    device.push(1)
    device.push(2)
    device.advance(100)
    assert device.acks == [frames.Ack(inbox_seq=2)]
    assert device.shown == []
    device.open()
    device.advance(0)
    device.answer()
    assert [seq for _, seq in device.positions] == [1, 2]


def test_a_full_application_holds_the_flow_and_a_sync_resumes_it() -> None:
    device = started(receiving.WINDOW + 700)
    for _ in range(12):
        device.advance(1)
        while device.syncs:
            device.answer()
    assert len(device.shown) == receiving.WINDOW
    device.handle(receiving.WINDOW // 2 + 1)
    device.settle_down()
    assert [seq for _, seq in device.positions] == list(range(1, receiving.WINDOW + 701))


def test_own_messages_are_shown_but_not_acked_as_delivered() -> None:
    device = started(0)
    device.inbox.append(message("d:alice:bob", 1, sender_id=ME))
    device.push(1)
    device.advance(100)
    assert device.positions == [("d:alice:bob", 1)]
    assert device.acks == [frames.Ack(inbox_seq=1)]


# -- read diffusion ------------------------------------------------------------------------------------------


def group_log(count: int) -> dict[str, list[Message]]:
    return {"g:x": [message("g:x", seq) for seq in range(1, count + 1)]}


def test_group_log_is_read_from_the_last_shown_seq_to_the_head() -> None:
    device = Device(log=group_log(8), cursor=Cursor(0, {"g:x": 2}))
    device.open()
    device.connect()
    device.settle_down()
    assert [seq for _, seq in device.positions] == [3, 4, 5, 6, 7, 8]
    assert device.cursor == Cursor(0, {"g:x": 8})


def test_a_gap_in_group_pushes_is_filled_from_history() -> None:
    device = Device(log=group_log(3), cursor=Cursor(0, {"g:x": 3}))
    device.open()
    device.connect()
    device.log["g:x"] += [message("g:x", seq) for seq in (4, 5, 6)]
    device.give(Push(message=message("g:x", 4)))
    device.give(Push(message=message("g:x", 6)))
    assert [seq for _, seq in device.positions] == [4]
    device.advance(199)
    assert device.histories == []
    device.advance(1)
    assert device.histories == [FetchHistory("g:x", 4)]
    device.answer_history()
    assert [seq for _, seq in device.positions] == [4, 5, 6]


def test_group_push_before_its_mode_switch_waits_for_the_sync() -> None:
    device = started(0)
    device.log = {"g:x": []}
    device.inbox = [
        message("g:x", 1),
        message("g:x", 2, event="members_added", user_ids=["zoe"], mode="read", mode_from="write", mode_to="read"),
    ]
    device.give(Push(message=message("g:x", 3)))
    assert device.shown == []
    device.advance(0)
    device.answer()
    assert [seq for _, seq in device.positions] == [1, 2, 3]


@pytest.mark.hazard("H16")
@pytest.mark.parametrize("last", [1, 2])
def test_history_precedes_the_inbox_after_a_switch_to_write(last: int) -> None:
    device = Device(log=group_log(4), cursor=Cursor(0, {"g:x": last}))
    switch = message("g:x", 5, event="member_removed", user_id="zoe", mode_from="read", mode_to="write")
    device.log["g:x"].append(switch)
    device.inbox = [switch, message("g:x", 6)]
    device.open()
    device.connect()
    device.push(1)
    device.push(2)
    device.advance(0)
    device.answer_history()
    device.advance(200)
    assert [seq for _, seq in device.positions] == list(range(last + 1, 7))
    assert device.cursor == Cursor(0, {"g:x": last})
    device.handle(5 - last)
    device.advance(1_000)
    assert device.cursor == Cursor(1, {})
    device.settle_down()
    assert [seq for _, seq in device.positions] == list(range(last + 1, 7))
    assert device.cursor == Cursor(2, {})


def test_rejoining_after_an_expired_leaving_does_not_wait() -> None:
    device = started(0, cursor=Cursor(0, {"g:x": 3}))
    device.inbox = [message("g:x", 9, event="members_added", user_ids=[ME], mode="read")]
    device.push(1)
    assert device.positions == [("g:x", 9)]


def test_rejoining_does_not_wait_for_messages_in_between() -> None:
    device = Device(log=group_log(3), cursor=Cursor(0, {"g:x": 3}))
    device.open()
    device.connect()
    device.inbox = [
        message("g:x", 4, event="member_removed", user_id=ME),
        message("g:x", 9, event="members_added", user_ids=[ME], mode="read"),
    ]
    device.push(1)
    device.push(2)
    device.give(Push(message=message("g:x", 10)))
    assert [seq for _, seq in device.positions] == [4, 9, 10]


def test_inbox_rows_of_a_closed_group_are_shown() -> None:
    device = Device(log=group_log(4), cursor=Cursor(0, {"g:x": 2}))
    device.open()
    device.connect()
    device.inbox = [message("g:x", 6, event="member_removed", user_id=ME), *numbered(1)]
    device.push(1)
    device.push(2)
    device.advance(300)
    device.take(device.core.history_failed(device.now_ms, "g:x", gone=True))
    device.handle(5)
    device.advance(1_000)
    assert device.positions == [("d:alice:bob", 1), ("g:x", 6)]
    assert device.cursor == Cursor(2, {})


def test_dropped_group_push_is_read_from_history_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiving, "WINDOW", 2)
    device = started(0, cursor=Cursor(0, {"g:x": 0}))
    device.inbox += numbered(2)
    device.push(1)
    device.push(2)
    device.log = group_log(1)
    device.give(Push(message=message("g:x", 1)))
    device.advance(1_000)
    assert device.histories == []
    device.handle(2)
    device.advance(0)
    assert device.histories == [FetchHistory("g:x", 0)]


def test_a_group_that_the_user_has_left_is_not_acked_again() -> None:
    device = started(0)
    device.inbox = [message("g:x", 1), message("g:x", 2, event="member_removed", user_id=ME)]
    device.push(1)
    device.push(2)
    device.lose_connection()
    device.advance(5_000)
    assert device.acks == [frames.Ack(inbox_seq=2)]


# -- properties ----------------------------------------------------------------------------------------------

SESSIONS = ("d:alice:bob", "d:bob:zoe", "d:bob:carol")
ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 2)),
    st.tuples(st.just("push"), st.integers(0, 30)),
    st.tuples(st.just("advance"), st.sampled_from([1, 50, 200, 1_000, 6_000])),
    st.tuples(st.just("handle"), st.integers(1, 5)),
    st.tuples(st.sampled_from(["heartbeat", "answer", "forget", "lose", "restart"]), st.just(0)),
)


def act(device: Device, name: str, number: int) -> Device:
    """One step of a schedule. A restart keeps nothing but the cursor that was persisted."""
    match name:
        case "append":
            session_id = SESSIONS[number]
            seq = 1 + sum(m.session_id == session_id for m in device.inbox)
            device.inbox.append(message(session_id, seq))
        case "push" if device.inbox:
            device.push(1 + number % len(device.inbox))
        case "advance":
            device.advance(number)
        case "handle":
            device.handle(number)
        case "heartbeat":
            device.heartbeat()
        case "answer" if device.syncs:
            device.answer()
        case "forget":
            device.syncs.clear()
        case "lose":
            device.lose_connection()
            device.advance(1_000)
    return device


@pytest.mark.promise("G6")
@settings(max_examples=300, deadline=None)
@given(st.lists(ACTIONS, max_size=60))
def test_each_message_is_shown_once_under_any_push_faults(
    schedule: list[tuple[str, int]],
) -> None:
    device = started(0)
    for name, number in schedule:
        act(device, name, number)
    device.settle_down()
    assert device.positions == [(m.session_id, m.seq) for m in device.inbox]
    assert device.cursor == (Cursor(len(device.inbox), is_whole=True) if device.inbox else None)


@settings(max_examples=200, deadline=None)
@given(st.lists(ACTIONS, max_size=60))
def test_restart_shows_every_message_after_the_cursor(
    schedule: list[tuple[str, int]],
) -> None:
    device = started(0)
    seen: list[tuple[str, int]] = []
    for name, number in schedule:
        if name == "restart":
            seen += device.positions
            device = Device(device.inbox, device.cursor, now_ms=device.now_ms)
            device.open()
            device.connect()
        act(device, name, number)
    kept = device.cursor.inbox_seq if device.cursor else 0
    device.settle_down()
    expected = [(m.session_id, m.seq) for m in device.inbox]
    assert set(seen + device.positions) == set(expected)
    assert device.positions == expected[len(expected) - len(device.positions) :]
    assert len(device.positions) >= len(expected) - kept


LOG_ACTIONS = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 12)),
    st.tuples(st.just("advance"), st.sampled_from([1, 200, 1_000])),
    st.tuples(st.sampled_from(["history", "fail", "live", "lose", "handle"]), st.just(0)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LOG_ACTIONS, max_size=50))
def test_group_log_is_shown_once_in_order_under_any_interleaving(
    schedule: list[tuple[str, int]],
) -> None:
    device = Device(log=group_log(12), cursor=Cursor(0, {"g:x": 0}))
    device.open()
    device.connect()
    for name, number in schedule:
        match name:
            case "push":
                device.give(Push(message=device.log["g:x"][number - 1]))
            case "advance":
                device.advance(number)
            case "history" if device.histories:
                device.answer_history()
            case "fail" if device.histories:
                fetch = device.histories.pop(0)
                device.take(device.core.history_failed(device.now_ms, fetch.session_id, gone=False))
            case "live":
                device.live()
            case "lose":
                device.lose_connection()
                device.advance(1_000)
            case "handle":
                device.handle(3)
    device.live()
    device.settle_down()
    assert device.positions == [("g:x", seq) for seq in range(1, 13)]
    assert device.cursor == Cursor(0, {"g:x": 12})


def test_null_counts_as_absent_in_a_frame_of_the_server() -> None:
    line = '{"type":"send_error","client_msg_id":"a","code":"x","message":null,"retryable":null,"ref":null}'
    (frame,) = frames.decode(line + '\n{"type":"send_ack","seq":null}\n[null]')
    assert frame == frames.SendError(client_msg_id="a", code="x")
