"""The sending half of the SDK's core: tries, repeats, statuses, pacing; and the life of the connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings_client import backoff, frames
from tidings_client.composing import fault_of
from tidings_client.core import Core
from tidings_client.drafts import Draft
from tidings_client.effects import (
    CloseConnection,
    Connect,
    CountsMoved,
    Effect,
    FetchCounts,
    FetchWatermarks,
    LimitMessages,
    LinkChanged,
    RenewToken,
    SendFrame,
    Status,
    StatusChanged,
)
from tidings_client.frames import Limits
from tidings_client.ids import MessageIds, direct_session, peer_of
from tidings_client.sending import MAX_IN_FLIGHT

SESSION = "d:alice:bob"


class Author:
    """A core of alice's with its clock, and what it did."""

    def __init__(self, *, renewable: bool = True, jitter: float = 0.0, limits: Limits | None = None) -> None:
        self.core = Core("phone", lambda: jitter, renewable_token=renewable)
        self.limits = limits or Limits()
        self.now_ms = 1_000_000
        self.sends: list[tuple[int, str, int]] = []
        self.frames: list[frames.ClientFrame] = []
        self.statuses: dict[str, list[Status]] = {}
        self.codes: list[str | None] = []
        self.effects: list[Effect] = []
        self.dials: list[int] = []
        self.answers = True
        self.take(self.core.start(None))

    def take(self, todo: list[Effect]) -> None:
        self.effects += todo
        for effect in todo:
            match effect:
                case SendFrame(frame=frames.Send(client_msg_id=client_msg_id, attempt=attempt)):
                    self.sends.append((self.now_ms, client_msg_id, attempt))
                case SendFrame(frame=frame):
                    self.frames.append(frame)
                case StatusChanged(client_msg_id=client_msg_id, status=status, code=code):
                    self.statuses.setdefault(client_msg_id, []).append(status)
                    self.codes.append(code)
                case Connect():
                    self.dials.append(self.now_ms)

    def connect(self, expires_in_ms: int | None = None) -> None:
        self.take(self.core.connected(self.now_ms, "token", expires_in_ms))
        self.welcome()

    def welcome(self) -> None:
        self.give(
            frames.Welcome(
                user_id="alice", device_id="phone", connection_id="1", server_time=9_000_000, limits=self.limits
            )
        )

    def give(self, frame: frames.ServerFrame) -> None:
        self.take(self.core.received(self.now_ms, frame))

    def send(self, client_msg_id: str) -> None:
        self.take(self.core.submit(self.now_ms, Draft(client_msg_id, "text", {"text": "x"}, to="bob")))

    def ack(self, client_msg_id: str, seq: int) -> None:
        self.give(frames.SendAck(client_msg_id=client_msg_id, session_id=SESSION, message_id=f"m{seq}", seq=seq, at=1))

    def refuse(self, client_msg_id: str, code: str, *, retryable: bool, retry_after_ms: int | None = None) -> None:
        self.give(
            frames.SendError(
                client_msg_id=client_msg_id, code=code, message="", retryable=retryable, retry_after_ms=retry_after_ms
            )
        )

    def receipt(self, delivered_seq: int, read_seq: int, user_id: str = "bob") -> None:
        self.give(frames.Receipt(session_id=SESSION, user_id=user_id, delivered_seq=delivered_seq, read_seq=read_seq))

    def close(self, code: int | None = 1006) -> None:
        self.take(self.core.closed(self.now_ms, code, ""))

    def advance(self, ms: int, *, heartbeats: bool = True) -> None:
        until = self.now_ms + ms
        while (at := self.core.next_tick_ms(self.now_ms)) is not None and at <= until:
            self.now_ms = max(self.now_ms, at)
            if heartbeats and self.core.link == "ready":
                self.give(frames.Heartbeat(inbox_seq=0))
            self.take(self.core.tick(self.now_ms))
        self.now_ms = until

    def sent_after(self, start_ms: int) -> list[int]:
        return [at - start_ms for at, _, _ in self.sends]


def online(**rest: object) -> Author:
    author = Author(**rest)  # type: ignore[arg-type]
    author.connect()
    return author


def test_message_status_goes_from_sending_to_read() -> None:
    author = online()
    author.send("a")
    author.ack("a", 1)
    author.receipt(1, 0)
    author.receipt(1, 1)
    assert author.statuses["a"] == [Status.SENDING, Status.SENT, Status.DELIVERED, Status.READ]


@pytest.mark.hazard("H25")
def test_receipt_before_the_ack_counts_and_skips_no_status() -> None:
    author = online()
    author.send("a")
    author.receipt(1, 1)
    author.receipt(1, 0)
    author.ack("a", 1)
    assert author.statuses["a"] == [Status.SENDING, Status.SENT, Status.DELIVERED, Status.READ]


def test_a_receipt_of_another_device_of_ours_moves_nothing() -> None:
    author = online()
    author.send("a")
    author.ack("a", 1)
    author.receipt(1, 1, user_id="alice")
    assert author.statuses["a"][-1] is Status.SENT


def test_our_message_seen_before_its_ack_is_stored() -> None:
    author = online()
    author.send("a")
    author.give(
        frames.Push(
            inbox_seq=1,
            message=frames.Message(
                message_id="m1",
                session_id=SESSION,
                seq=1,
                sender_id="alice",
                client_msg_id="a",
                at=1,
                kind="text",
                body={"text": "x"},
            ),
        )
    )
    assert author.statuses["a"] == [Status.SENDING, Status.SENT]
    author.ack("a", 1)
    assert author.statuses["a"] == [Status.SENDING, Status.SENT]


OTHER_SESSION = "d:alice:carol"


def answers_from(session_id: str) -> list[frames.ServerFrame]:
    """Everything a server may say about alice's message `a` of that session."""
    place: dict[str, Any] = {"client_msg_id": "a", "session_id": session_id}
    return [
        frames.SendError(**place, code="user_blocked"),
        frames.SendAck(**place, message_id="m9", seq=9, at=1),
        frames.Push(
            inbox_seq=1,
            message=frames.Message(**place, message_id="m9", seq=9, sender_id="alice", at=1, kind="text", body={}),
        ),
    ]


def test_same_id_in_another_session_does_not_touch_the_message() -> None:
    author = online()
    author.send("a")
    for frame in answers_from(OTHER_SESSION):
        author.give(frame)
    assert author.statuses["a"] == [Status.SENDING]
    author.ack("a", 1)
    assert author.statuses["a"] == [Status.SENDING, Status.SENT]


def test_a_message_to_a_session_is_matched_by_that_session() -> None:
    author = online()
    author.take(author.core.submit(author.now_ms, Draft("a", "text", {"text": "x"}, session_id="g:x")))
    for frame in answers_from(SESSION):
        author.give(frame)
    assert author.statuses["a"] == [Status.SENDING]
    author.give(answers_from("g:x")[1])
    assert author.statuses["a"][-1] is Status.SENT


def test_a_failed_message_does_not_turn_up_in_another_session() -> None:
    author = online()
    author.send("a")
    author.advance(300_000)
    author.give(answers_from(OTHER_SESSION)[1])
    assert author.statuses["a"] == [Status.SENDING, Status.FAILED]


def test_silent_server_is_tried_nine_times_with_doubling_pauses() -> None:
    author = online()
    started = author.now_ms
    author.send("a")
    author.advance(300_000)
    pauses = [1, 2, 4, 8, 16, 30, 30, 30]
    expected = [0]
    for pause in pauses:
        expected.append(expected[-1] + 5_000 + pause * 1_000)
    assert author.sent_after(started) == expected
    assert [attempt for _, _, attempt in author.sends] == list(range(1, 10))
    assert author.statuses["a"] == [Status.SENDING, Status.FAILED]
    assert author.codes[-1] == "timeout"


def test_a_failed_message_that_turns_up_after_all_is_sent() -> None:
    author = online()
    author.send("a")
    author.advance(300_000)
    author.ack("a", 1)
    assert author.statuses["a"] == [Status.SENDING, Status.FAILED, Status.SENT]


def test_final_refusal_fails_the_message_at_once() -> None:
    author = online()
    author.send("a")
    author.refuse("a", "user_blocked", retryable=False)
    author.advance(60_000)
    assert author.statuses["a"] == [Status.SENDING, Status.FAILED]
    assert author.codes[-1] == "user_blocked"
    assert len(author.sends) == 1


def sized(client_msg_id: str, frame_bytes: int) -> Draft:
    """A message whose first try is a frame of exactly so many bytes."""
    empty = frames.Send(client_msg_id=client_msg_id, kind="text", body={"text": ""}, attempt=1, to="bob")
    text = "x" * (frame_bytes - frames.encoded_bytes(empty))
    return Draft(client_msg_id, "text", {"text": text}, to="bob")


def test_message_above_the_frame_limit_fails_alone_untried() -> None:
    author = online(limits=Limits(frame_bytes=1_000))
    author.send("a")
    author.take(author.core.submit(author.now_ms, sized("big", 1_001)))
    author.take(author.core.submit(author.now_ms, sized("fits", 1_000)))
    author.advance(1_000)
    assert author.statuses["big"] == [Status.SENDING, Status.FAILED]
    assert author.codes == [None, None, "too_large", None]
    assert [name for _, name, _ in author.sends] == ["a", "fits"]


def test_frame_limit_before_welcome_is_that_of_the_protocol() -> None:
    author = Author()
    author.take(author.core.submit(author.now_ms, sized("big", frames.MAX_CLIENT_MESSAGE_BYTES + 1)))
    author.take(author.core.submit(author.now_ms, sized("fits", frames.MAX_CLIENT_MESSAGE_BYTES)))
    assert author.statuses == {"big": [Status.SENDING, Status.FAILED], "fits": [Status.SENDING]}


def test_lower_frame_limit_fails_only_the_waiting_large_message() -> None:
    author = Author(limits=Limits(frame_bytes=1_000))
    author.take(author.core.submit(author.now_ms, sized("big", 1_001)))
    author.send("a")
    author.connect()
    assert author.statuses["big"] == [Status.SENDING, Status.FAILED]
    assert [name for _, name, _ in author.sends] == ["a"]


@pytest.mark.field_case("12")
def test_message_that_closes_the_connection_alone_has_failed() -> None:
    author = online()
    author.send("big")
    author.close(1009)
    assert author.statuses["big"] == [Status.SENDING, Status.FAILED]
    assert author.codes[-1] == "too_large"
    author.send("next")
    author.advance(5_000)
    author.connect()
    assert [name for _, name, _ in author.sends] == ["big", "next"]


@pytest.mark.field_case("12")
@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_of_several_that_closes_the_connection_is_found(place: int) -> None:
    """The server, or what stands before it, takes less than it said: each is tried alone until it is known."""
    author = online()
    names = [f"m{number}" for number in range(5)]
    for name in names:
        author.send(name)
    author.close(1009)
    author.send("later")
    for _ in range(4):
        author.advance(60_000, heartbeats=False)
        author.connect()
        while (name := author.sends[-1][1]) != names[place] and "sent" not in author.statuses[name]:
            author.ack(name, len(author.sends))
        if Status.FAILED not in author.statuses[names[place]]:
            author.close(1009)
    failed = {name for name, statuses in author.statuses.items() if Status.FAILED in statuses}
    assert failed == {names[place]}
    assert all(Status.SENT in author.statuses[name] for name in {*names, "later"} - failed)
    assert max(sum(1 for _, sent, _ in author.sends if sent == name) for name in names) <= 3


def test_after_the_suspects_are_settled_many_are_in_flight_again() -> None:
    author = online()
    for name in ("a", "b"):
        author.send(name)
    author.close(1009)
    author.advance(60_000, heartbeats=False)
    author.connect()
    author.ack("a", 1)
    author.refuse("b", "user_blocked", retryable=False)
    before = len(author.sends)
    for number in range(10):
        author.send(f"more{number}")
    assert len(author.sends) == before + 10


def test_retryable_error_is_repeated_after_retry_after() -> None:
    author = online()
    started = author.now_ms
    author.send("a")
    author.refuse("a", "rate_limited", retryable=True, retry_after_ms=7_000)
    author.advance(7_000)
    assert author.sent_after(started) == [0, 7_000]


def test_late_answer_to_an_abandoned_try_is_no_second_failure() -> None:
    author = online()
    author.send("a")
    author.advance(5_000)
    for _ in range(20):
        author.refuse("a", "timeout", retryable=True)
    author.advance(1_000)
    assert len(author.sends) == 2


def test_reconnect_resends_unanswered_messages_in_first_order() -> None:
    author = Author()
    names = [f"m{n}" for n in range(20)]
    for name in names[:10]:
        author.send(name)
    author.connect()
    for name in names[10:]:
        author.send(name)
    author.ack("m3", 1)
    author.close()
    author.send("late")
    author.sends.clear()
    author.advance(1_000)
    author.connect()
    assert [name for _, name, _ in author.sends] == [name for name in names if name != "m3"] + ["late"]


def test_message_whose_connections_end_fails_at_the_last_repeat() -> None:
    author = online()
    author.send("a")
    for _ in range(9):
        author.close()
        author.connect()
    assert len(author.sends) == 9
    assert author.statuses["a"] == [Status.SENDING, Status.FAILED]


def test_sends_are_paced_within_server_limits_in_order() -> None:
    author = online(limits=Limits(messages_per_s=100, burst=20))
    started = author.now_ms
    for n in range(200):
        author.send(f"m{n}")
        if len(author.sends) == n + 1:
            author.ack(f"m{n}", n + 1)
    while len(author.sends) < 200:
        before = len(author.sends)
        author.advance(10)
        for _, name, _ in author.sends[before:]:
            author.ack(name, 1)
    assert [name for _, name, _ in author.sends] == [f"m{n}" for n in range(200)]
    for at in author.sent_after(started):
        sent_by_then = sum(other <= at for other in author.sent_after(started))
        assert sent_by_then <= 20 + at * 100 / 1_000


def test_a_long_silence_saves_up_no_more_than_a_burst() -> None:
    author = online(limits=Limits(messages_per_s=100, burst=20))
    author.advance(3_600_000)
    for n in range(30):
        author.send(f"m{n}")
    assert len(author.sends) == 18


def test_the_number_of_tries_in_flight_is_bounded() -> None:
    author = online()
    for n in range(MAX_IN_FLIGHT + 10):
        author.send(f"m{n}")
    assert len(author.sends) == MAX_IN_FLIGHT
    author.ack("m0", 1)
    assert len(author.sends) == MAX_IN_FLIGHT + 1


# -- the connection ------------------------------------------------------------------------------------------


def test_reconnects_follow_the_backoff_and_a_welcome_resets_it() -> None:
    author = Author()
    pauses = []
    for _ in range(7):
        closed_at = author.now_ms
        author.close(None)
        author.advance(30_000)
        pauses.append(author.dials[-1] - closed_at)
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    author.connect()
    closed_at = author.now_ms
    author.close()
    author.advance(1_000)
    assert author.dials[-1] - closed_at == 1_000


def test_client_reconnects_after_two_periods_without_heartbeat() -> None:
    author = online()
    author.advance(39_999, heartbeats=False)
    assert author.core.link == "ready"
    author.advance(1, heartbeats=False)
    assert any(isinstance(effect, CloseConnection) for effect in author.effects)
    author.advance(1_000)
    assert len(author.dials) == 2


@pytest.mark.field_case("28")
@pytest.mark.parametrize("wait_ms", [0, 1, 500, 3_000, 15_000])
def test_goaway_keeps_the_connection_until_its_time(wait_ms: int) -> None:
    author = online()
    started = author.now_ms
    author.give(frames.GoAway(reason="restart", reconnect_after_ms=wait_ms))
    author.advance(max(0, wait_ms - 1))
    if wait_ms:
        author.send("a")
        assert (author.core.link, len(author.sends), len(author.dials)) == ("ready", 1, 1)
    author.advance(2)
    assert author.dials[1] - started == wait_ms


@pytest.mark.field_case("28")
def test_a_close_before_the_time_of_a_goaway_reconnects_soon() -> None:
    author = online()
    author.give(frames.GoAway(reason="restart", reconnect_after_ms=15_000))
    author.advance(2_000)
    closed_ms = author.now_ms
    author.close(1001)
    author.advance(15_000)
    assert author.dials[1] - closed_ms == 1_000


def test_a_close_just_before_the_time_of_a_goaway_waits_for_it() -> None:
    author = online()
    started = author.now_ms
    author.give(frames.GoAway(reason="restart", reconnect_after_ms=3_000))
    author.advance(2_700)
    author.close(1001)
    author.advance(1_000)
    assert author.dials[1] - started == 3_000


def test_a_replaced_connection_stops_for_good() -> None:
    author = online()
    author.close(4409)
    author.advance(600_000)
    assert author.core.link == "stopped"
    assert len(author.dials) == 1
    assert author.effects[-1] == LinkChanged(author.core.link, 4409, "")


@pytest.mark.field_case("33")
def test_refused_tokens_end_the_client_after_30_s() -> None:
    author = online()
    author.close(4401)
    author.advance(1_000)
    assert author.effects[-1] == Connect(fresh_token=True)
    for wait_ms in (2_000, 4_000, 8_000, 15_999):
        author.close(4401)
        assert author.core.link == "offline"
        author.advance(wait_ms)
    author.advance(1)
    author.close(4401)
    assert author.core.link == "stopped"


@pytest.mark.field_case("33")
def test_a_token_that_begins_8_s_from_now_is_waited_for() -> None:
    author = online()
    author.close(4401)
    for wait_ms in (1_000, 2_000, 4_000):
        author.advance(wait_ms)
        author.close(4401)
    author.advance(8_000)
    author.connect()
    author.advance(60_000)
    author.close(4401)
    assert author.core.link == "offline"


@pytest.mark.field_case("33")
def test_a_token_of_8_s_is_renewed_while_it_holds() -> None:
    author = Author()
    author.connect(expires_in_ms=8_000)
    author.advance(5_999)
    assert not any(isinstance(effect, RenewToken) for effect in author.effects)
    author.advance(1)
    assert any(isinstance(effect, RenewToken) for effect in author.effects)


def test_a_renewal_that_failed_is_tried_again() -> None:
    author = Author()
    author.connect(expires_in_ms=3_600_000)
    author.advance(3_540_000)
    author.effects.clear()
    author.take(author.core.token_failed(author.now_ms))
    author.advance(5_000)
    assert [effect for effect in author.effects if isinstance(effect, RenewToken)] == [RenewToken()]


def test_a_token_that_stays_as_it_is_stops_at_the_first_4401() -> None:
    author = Author(renewable=False)
    author.connect()
    author.close(4401)
    assert author.core.link == "stopped"


def test_token_is_renewed_a_minute_before_its_end() -> None:
    author = Author()
    author.connect(expires_in_ms=3_600_000)
    author.take(author.core.mark_read(author.now_ms, SESSION, 1))
    author.advance(3_540_000)
    assert any(isinstance(effect, RenewToken) for effect in author.effects)
    author.frames.clear()
    author.take(author.core.token(author.now_ms, "newer", None))
    author.welcome()
    assert author.frames == [frames.Hello(token="newer", device_id="phone")]


def test_reads_are_said_at_once_and_again_on_a_new_connection() -> None:
    author = online()
    author.take(author.core.mark_read(author.now_ms, SESSION, 4))
    author.take(author.core.own_marks(author.now_ms, SESSION, 4, 1))
    author.take(author.core.mark_read(author.now_ms, SESSION, 3))
    assert author.frames[-1] == frames.Read(session_id=SESSION, seq=4)
    author.close()
    author.frames.clear()
    author.connect()
    assert frames.Read(session_id=SESSION, seq=4) in author.frames


def test_every_session_read_while_offline_is_claimed() -> None:
    author = online()
    author.close()
    author.frames.clear()
    names = [f"g:{number}" for number in range(300)]
    for name in names:
        author.take(author.core.mark_read(author.now_ms, name, 7))
        author.take(author.core.own_marks(author.now_ms, name, 7, 1))
    author.connect()
    said = [frame for frame in author.frames if isinstance(frame, frames.Read)]
    assert sorted(frame.session_id for frame in said) == sorted(names)


def test_a_clock_that_is_fast_renews_no_token_without_pause() -> None:
    author = Author()
    author.connect(expires_in_ms=0)
    author.advance(999)
    assert not any(isinstance(effect, RenewToken) for effect in author.effects)
    author.advance(1)
    assert any(isinstance(effect, RenewToken) for effect in author.effects)


def test_live_fetches_watermarks_of_unread_sessions() -> None:
    author = online()
    author.send("a")
    author.ack("a", 1)
    author.give(frames.Live(inbox_seq=0))
    assert author.effects[-1] == FetchWatermarks((SESSION,))
    author.take(author.core.watermarks(SESSION, 1, 1))
    assert author.statuses["a"][-1] is Status.READ
    author.effects.clear()
    author.give(frames.Live(inbox_seq=0))
    assert author.effects == []


def test_own_message_found_in_group_history_is_sent() -> None:
    author = online()
    author.take(author.core.submit(author.now_ms, Draft("a", "text", {"text": "x"}, session_id="g:x")))
    place = {"message_id": "m", "session_id": "g:x", "seq": 3, "sender_id": "alice", "client_msg_id": "a"}
    stored = frames.Message(**place, at=1, kind="text", body={"text": "x"})  # type: ignore[arg-type]
    author.take(author.core.history(author.now_ms, "g:x", [stored], False))
    assert author.statuses["a"] == [Status.SENDING, Status.SENT]


def test_live_fetches_counts_of_the_newest_unread_group_message() -> None:
    author = online()
    for seq in (1, 2):
        author.take(author.core.submit(author.now_ms, Draft(f"{seq}", "text", {"text": "x"}, session_id="g:x")))
        author.give(frames.SendAck(client_msg_id=f"{seq}", session_id="g:x", message_id="m", seq=seq, at=1))
    author.give(frames.Live(inbox_seq=0))
    assert author.effects[-1] == FetchCounts("g:x", 2)
    author.take(author.core.counts("g:x", 2, 1, 0))
    assert [author.statuses[name][-1] for name in ("1", "2")] == [Status.DELIVERED, Status.DELIVERED]


def test_group_counts_move_statuses_of_own_messages() -> None:
    author = online()
    for seq in (1, 2, 3):
        author.take(author.core.submit(author.now_ms, Draft(f"{seq}", "text", {"text": "x"}, session_id="g:x")))
        author.give(frames.SendAck(client_msg_id=f"{seq}", session_id="g:x", message_id="m", seq=seq, at=1))
    told = frames.GroupReceipt(session_id="g:x", counts=(frames.ReceiptCount(seq=2, delivered=2, read=2),))
    for _ in range(2):
        author.effects.clear()
        author.give(told)
        assert CountsMoved("g:x", 2, 2, 2) in author.effects
    through = [Status.SENDING, Status.SENT, Status.DELIVERED, Status.READ]
    assert [author.statuses[name] for name in ("1", "2", "3")] == [through, through, through[:2]]


@pytest.mark.parametrize(("announced", "kept"), [(4_096, 4_096), (1 << 20, 65_536)])
def test_frames_are_joined_up_to_server_and_protocol_limits(announced: int, kept: int) -> None:
    assert LimitMessages(kept) in online(limits=Limits(frame_bytes=announced)).effects


NESTED: Any = 1
for _ in range(31):
    NESTED = [NESTED]


@pytest.mark.parametrize("data", [float("nan"), b"x", {1, 2}, object(), "\ud800", {(1, 2): 3}, NESTED])
def test_body_that_no_frame_can_carry_is_named(data: object) -> None:
    assert fault_of(Draft("a", "custom", {"type": "t", "data": data}, to="bob"))


@pytest.mark.parametrize("data", [None, 1.5, [1, {"a": "ß"}], NESTED[0]])
def test_valid_json_has_no_fault(data: object) -> None:
    assert fault_of(Draft("a", "custom", {"type": "t", "data": data}, to="bob")) is None


def test_a_ping_is_answered() -> None:
    author = online()
    author.give(frames.ServerPing(id=7))
    assert author.frames[-1] == frames.Pong(id=7)


# -- pure parts ----------------------------------------------------------------------------------------------


@given(st.integers(0, 100), st.floats(-1, 1))
def test_backoff_is_a_power_of_two_with_jitter_up_to_30_s(repeat: int, jitter: float) -> None:
    plain_ms = min(1_000 * 2**repeat, 1 << 40)
    pause_ms = backoff.delay_ms(repeat, jitter)
    assert pause_ms <= 30_000
    assert pause_ms == 30_000 or 0.8 * plain_ms - 1 <= pause_ms <= 1.2 * plain_ms


@given(st.lists(st.integers(1_700_000_000_000, 1_700_000_000_050), min_size=2, max_size=200))
def test_ids_are_uuidv7_and_rise_whatever_the_clock_does(times_ms: list[int]) -> None:
    ids = MessageIds(lambda bits: (1 << bits) - 1)
    made = [ids.make(at_ms) for at_ms in times_ms]
    assert made == sorted(set(made))
    assert all(len(one) == 36 and one[14] == "7" and one[19] in "89ab" for one in made)
    assert int(made[0].replace("-", "")[:12], 16) == times_ms[0]


def test_a_direct_session_has_the_same_id_from_both_sides() -> None:
    assert direct_session("bob", "Alice") == direct_session("Alice", "bob") == "d:Alice:bob"
    assert peer_of("d:Alice:bob", "bob") == "Alice"
    assert peer_of("d:bob:bob", "bob") == "bob"
    assert peer_of("g:x", "bob") is None


@given(st.lists(st.text(max_size=30_000), max_size=8), st.sampled_from([1_000, 20_000, 65_536]))
def test_joined_frames_stay_within_the_servers_limit(texts: list[str], max_bytes: int) -> None:
    sends = [frames.Send(client_msg_id=f"{n}", kind="text", body={"text": t}, attempt=1) for n, t in enumerate(texts)]
    joined = list(frames.encode(sends, max_bytes))
    assert sum(text.count("\n") + 1 for text in joined) == len(sends)
    assert all(len(text.encode()) <= max_bytes or "\n" not in text for text in joined)


@given(st.binary(max_size=200))
def test_any_bytes_from_the_server_decode_to_frames_or_nothing(data: bytes) -> None:
    list(frames.decode(data))


RANK = {Status.SENDING: 0, Status.FAILED: 0.5, Status.SENT: 1, Status.DELIVERED: 2, Status.READ: 3}
STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("ack"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("refuse"), st.integers(0, 5), st.booleans().map(int)),
    st.tuples(st.just("receipt"), st.integers(0, 6), st.integers(0, 6)),
    st.tuples(st.just("advance"), st.sampled_from([10, 1_000, 5_000, 60_000, 200_000]), st.just(0)),
    st.tuples(st.just("reconnect"), st.just(0), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_statuses_never_go_back(steps: list[tuple[str, int, int]]) -> None:
    author = online()
    for name, number, other in steps:
        client_msg_id = f"m{number}"
        match name:
            case "send" if client_msg_id not in author.statuses:
                author.send(client_msg_id)
            case "ack" if client_msg_id in author.statuses:
                author.ack(client_msg_id, number + 1)
            case "refuse" if client_msg_id in author.statuses:
                author.refuse(client_msg_id, "timeout", retryable=bool(other))
            case "receipt":
                author.receipt(number, other)
            case "advance":
                author.advance(number)
            case "reconnect":
                author.close()
                author.connect()
    for statuses in author.statuses.values():
        ranks = [RANK[status] for status in statuses]
        assert ranks == sorted(set(ranks))
