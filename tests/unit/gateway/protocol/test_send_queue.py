"""Frames on their way to one client: repeats, acks, and bounds that no client can exceed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.protocol.connection import Connection
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.send_queue import REPEAT_AFTER_MS, Full, SendQueue, SendQueueLimits
from tests.unit.gateway.protocol.client import MESSAGE, close_code, only, receive, sent, signed_in, verify

KIB = 1024


def drained(outbox: SendQueue) -> None:
    while outbox.take():
        pass


def test_a_client_that_reads_but_never_acks_is_bounded_in_bytes() -> None:
    outbox = SendQueue(SendQueueLimits(deliveries=2_000, buffered_bytes=100 * KIB))
    for inbox_seq in range(1, 11):
        outbox.deliver(inbox_seq, b"x" * 10 * KIB, 0)
        drained(outbox)
    with pytest.raises(Full):
        outbox.deliver(11, b"x" * 10 * KIB, 0)


def test_a_repeat_never_closes_a_connection_before_its_45_s() -> None:
    outbox = SendQueue(SendQueueLimits(deliveries=2_000, buffered_bytes=100 * KIB))
    for inbox_seq in range(1, 11):
        outbox.deliver(inbox_seq, b"x" * 10 * KIB, 0)
        drained(outbox)
    for at_ms in REPEAT_AFTER_MS:
        assert outbox.repeat(at_ms)
        assert outbox
        drained(outbox)
    assert not outbox.repeat(45_000)


@pytest.mark.bad_input("B5")
def test_unacked_delivery_repeats_at_5_15_35_s_and_closes_at_45() -> None:
    connection = signed_in()
    connection.deliver(1, MESSAGE, 1_000)
    assert only(connection) == {"type": "message", "inbox_seq": 1, "message": {"seq": 1}}
    repeated_at = []
    for now_ms in range(1_000, 46_000, 500):
        connection.ticked(now_ms)
        repeated_at += [now_ms for frame in sent(connection) if frame["type"] == "message"]
    assert repeated_at == [6_000, 16_000, 36_000]
    assert close_code(connection) is None
    connection.ticked(46_000)
    assert close_code(connection) == 4408


def test_an_ack_ends_the_repeats_of_all_up_to_it() -> None:
    connection = signed_in()
    for inbox_seq in (1, 2, 3):
        connection.deliver(inbox_seq, MESSAGE, 0)
    sent(connection)
    receive(connection, {"type": "ack", "inbox_seq": 2})
    connection.ticked(5_000)
    assert [frame["inbox_seq"] for frame in sent(connection)] == [3]


def test_a_delivery_below_an_ack_is_not_waited_for() -> None:
    connection = signed_in()
    receive(connection, {"type": "ack", "inbox_seq": 9})
    connection.ack_checked(9, 9, None)
    connection.deliver(5, MESSAGE, 0)
    assert only(connection)["inbox_seq"] == 5
    connection.ticked(5_000)
    assert sent(connection) == []


def test_a_sync_restarts_the_clock_of_deliveries() -> None:
    connection = signed_in()
    connection.deliver(1, MESSAGE, 0)
    receive(connection, {"type": "sync", "after": 0}, now_ms=40_000)
    for now_ms in range(40_000, 85_000, 500):
        connection.ticked(now_ms)
    assert close_code(connection) is None
    sent(connection)
    connection.ticked(85_000)
    assert close_code(connection) == 4408


def test_repeats_wait_while_the_socket_takes_nothing() -> None:
    connection = signed_in()
    connection.deliver(1, MESSAGE, 0)
    connection.ticked(5_000)
    assert len([frame for frame in sent(connection) if frame["type"] == "message"]) == 1


@pytest.mark.bad_input("B5")
def test_a_full_outbox_closes_at_once() -> None:
    connection = signed_in(send_queue=SendQueueLimits(deliveries=3))
    for inbox_seq in range(1, 5):
        connection.deliver(inbox_seq, MESSAGE, 0)
    assert close_code(connection) == 4408
    assert not connection.has_outgoing


def test_an_outbox_full_of_bytes_closes_at_once() -> None:
    connection = signed_in(send_queue=SendQueueLimits(buffered_bytes=1_000))
    for _ in range(20):
        connection.push(b"x" * 100)
    assert close_code(connection) == 4408


def test_frames_are_joined_up_to_256_kib() -> None:
    connection = signed_in()
    for _ in range(5):
        connection.push(b'"' + b"x" * 100_000 + b'"')
    assert len(connection.take_outgoing()) == 2 * 100_002 + 1
    assert len(connection.take_outgoing()) == 2 * 100_002 + 1
    assert len(connection.take_outgoing()) == 100_002


events = st.sampled_from(["deliver", "push", "tick", "ack", "take", "sync", "live", "beat"])


@pytest.mark.bad_input("B5")
@given(st.lists(st.tuples(events, st.integers(0, 20)), max_size=200))
def test_an_outbox_never_grows_above_its_bounds(steps: list[tuple[str, int]]) -> None:
    limits = SendQueueLimits(deliveries=10, buffered_bytes=2_000)
    connection = Connection("c", ConnectionRules(verify, send_queue=limits), 0)
    connection.received('{"type":"hello","token":"t","device_id":"d"}', 0, 10**12)
    now_ms = 0
    for event, number in steps:
        now_ms += number * 500
        match event:
            case "deliver":
                connection.deliver(number, b'"' + b"x" * 50 + b'"', now_ms)
            case "push":
                connection.push(b'"' + b"y" * number + b'"')
            case "tick":
                connection.ticked(now_ms)
            case "ack":
                connection.received(json.dumps({"type": "ack", "inbox_seq": number}), now_ms, 10**12)
            case "sync":
                connection.received('{"type":"sync","after":0}', now_ms, 10**12)
            case "live":
                connection.went_live(number, {"g:x": number}, now_ms)
            case "beat":
                connection.beat(number, {"g:x": number})
            case _:
                connection.take_outgoing()
        outbox = connection._send_queue
        assert outbox.unacknowledged <= 10
        assert outbox._frame_bytes + outbox._unacked_bytes <= 2_000 + 200
        assert outbox._frame_bytes == sum(map(len, outbox._frames))
        assert outbox._unacked_bytes == sum(len(delivery.message_json) for delivery in outbox._unacked)
