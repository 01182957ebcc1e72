"""Tries, repeats and statuses of messages, and what the client does with the one that a server cannot take."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.authors import (
    FAILED,
    GROUP,
    SENDING,
    SENT,
    SESSION,
    THROUGH,
    Author,
    online,
    stored_message,
)
from tidings_client import frames
from tidings_client.drafts import Draft
from tidings_client.effects import Status
from tidings_client.frames import Limits
from tidings_client.sending import MAX_IN_FLIGHT

OTHER_SESSION = "d:alice:carol"


def test_message_status_goes_from_sending_to_read() -> None:
    author = online()
    author.send("a")
    author.ack("a", 1)
    author.receipt(1, 0)
    author.receipt(1, 1)
    assert author.statuses["a"] == THROUGH


def test_our_message_seen_before_its_ack_is_stored() -> None:
    author = online()
    author.send("a")
    author.give(frames.Push(inbox_seq=1, message=stored_message("a", 1)))
    assert author.statuses["a"] == [SENDING, SENT]
    author.ack("a", 1)
    assert author.statuses["a"] == [SENDING, SENT]


def test_own_message_found_in_group_history_is_sent() -> None:
    author = online()
    author.send_to_group("a")
    author.take(author.core.history(author.now_ms, GROUP, [stored_message("a", 3, GROUP)], False))
    assert author.statuses["a"] == [SENDING, SENT]


def give_answers_from(author: Author, session_id: str) -> None:
    """Everything a server may say about alice's message `a` of that session."""
    author.give(frames.SendError(client_msg_id="a", session_id=session_id, code="user_blocked"))
    author.ack("a", 9, session_id)
    author.give(frames.Push(inbox_seq=1, message=stored_message("a", 9, session_id)))


def test_same_id_in_another_session_does_not_touch_the_message() -> None:
    author = online()
    author.send("a")
    give_answers_from(author, OTHER_SESSION)
    assert author.statuses["a"] == [SENDING]
    author.ack("a", 1)
    assert author.statuses["a"] == [SENDING, SENT]


def test_a_message_to_a_session_is_matched_by_that_session() -> None:
    author = online()
    author.send_to_group("a")
    give_answers_from(author, SESSION)
    assert author.statuses["a"] == [SENDING]
    author.ack("a", 9, GROUP)
    assert author.statuses["a"][-1] is SENT


def test_silent_server_is_tried_nine_times_with_doubling_pauses() -> None:
    author = online()
    started = author.now_ms
    author.send("a")
    author.advance(300_000)
    expected = [0]
    for pause in (1, 2, 4, 8, 16, 30, 30, 30):
        expected.append(expected[-1] + 5_000 + pause * 1_000)
    assert author.sent_after(started) == expected
    assert [attempt for _, _, attempt in author.sends] == list(range(1, 10))
    assert author.statuses["a"] == [SENDING, FAILED]
    assert author.codes[-1] == "timeout"


@pytest.mark.parametrize(("session_id", "after"), [(SESSION, [SENT]), (OTHER_SESSION, [])])
def test_a_failed_message_that_turns_up_after_all_is_sent(session_id: str, after: list[Status]) -> None:
    author = online()
    author.send("a")
    author.advance(300_000)
    author.ack("a", 1, session_id)
    assert author.statuses["a"] == [SENDING, FAILED, *after]


def test_final_refusal_fails_the_message_at_once() -> None:
    author = online()
    author.send("a")
    author.refuse("a", "user_blocked")
    author.advance(60_000)
    assert author.statuses["a"] == [SENDING, FAILED]
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
    author.submit(sized("big", 1_001))
    author.submit(sized("fits", 1_000))
    author.advance(1_000)
    assert author.statuses["big"] == [SENDING, FAILED]
    assert author.codes == [None, None, "too_large", None]
    assert author.sent_names == ["a", "fits"]


def test_frame_limit_before_welcome_is_that_of_the_protocol() -> None:
    author = Author()
    author.submit(sized("big", frames.MAX_CLIENT_MESSAGE_BYTES + 1))
    author.submit(sized("fits", frames.MAX_CLIENT_MESSAGE_BYTES))
    assert author.statuses == {"big": [SENDING, FAILED], "fits": [SENDING]}


def test_lower_frame_limit_fails_only_the_waiting_large_message() -> None:
    author = Author(limits=Limits(frame_bytes=1_000))
    author.submit(sized("big", 1_001))
    author.send("a")
    author.connect()
    assert author.statuses["big"] == [SENDING, FAILED]
    assert author.sent_names == ["a"]


@pytest.mark.field_case("12")
def test_message_that_closes_the_connection_alone_has_failed() -> None:
    author = online()
    author.send("big")
    author.close(1009)
    assert author.statuses["big"] == [SENDING, FAILED]
    assert author.codes[-1] == "too_large"
    author.send("next")
    author.advance(5_000)
    author.connect()
    assert author.sent_names == ["big", "next"]


@pytest.mark.field_case("12")
@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_of_several_that_closes_the_connection_is_found(place: int) -> None:
    """The server, or what stands before it, takes less than it said: each is tried alone until it is known."""
    author = online()
    names = [f"m{number}" for number in range(5)]
    author.send(*names)
    author.close(1009)
    author.send("later")
    for _ in range(4):
        author.advance(60_000, heartbeats=False)
        author.connect()
        while (name := author.sends[-1][1]) != names[place] and "sent" not in author.statuses[name]:
            author.ack(name, len(author.sends))
        if FAILED not in author.statuses[names[place]]:
            author.close(1009)
    failed = {name for name, statuses in author.statuses.items() if FAILED in statuses}
    assert failed == {names[place]}
    assert all(SENT in author.statuses[name] for name in {*names, "later"} - failed)
    assert max(author.sent_names.count(name) for name in names) <= 3


def test_after_the_suspects_are_settled_many_are_in_flight_again() -> None:
    author = online()
    author.send("a", "b")
    author.close(1009)
    author.advance(60_000, heartbeats=False)
    author.connect()
    author.ack("a", 1)
    author.refuse("b", "user_blocked")
    before = len(author.sends)
    author.send(*(f"more{number}" for number in range(10)))
    assert len(author.sends) == before + 10


def test_retryable_error_is_repeated_after_retry_after() -> None:
    author = online()
    started = author.now_ms
    author.send("a")
    author.refuse("a", "rate_limited", retryable=True, after_ms=7_000)
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
    author.send(*names[:10])
    author.connect()
    author.send(*names[10:])
    author.ack("m3", 1)
    author.close()
    author.send("late")
    author.sends.clear()
    author.advance(1_000)
    author.connect()
    assert author.sent_names == [name for name in names if name != "m3"] + ["late"]


def test_message_whose_connections_end_fails_at_the_last_repeat() -> None:
    author = online()
    author.send("a")
    for _ in range(9):
        author.close()
        author.connect()
    assert len(author.sends) == 9
    assert author.statuses["a"] == [SENDING, FAILED]


def test_the_number_of_tries_in_flight_is_bounded() -> None:
    author = online()
    author.send(*(f"m{n}" for n in range(MAX_IN_FLIGHT + 10)))
    assert len(author.sends) == MAX_IN_FLIGHT
    author.ack("m0", 1)
    assert len(author.sends) == MAX_IN_FLIGHT + 1


RANK = {SENDING: 0, FAILED: 0.5, SENT: 1, Status.DELIVERED: 2, Status.READ: 3}
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
