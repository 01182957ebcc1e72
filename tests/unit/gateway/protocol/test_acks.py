"""Cursors and acks above the tail of an inbox, on one connection (ADR 25)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.protocol.effects import CheckAck, MoveWatermark, ReadInbox
from tests.unit.gateway.protocol.client import MESSAGE, hello, only, opened, receive, sent, signed_in
from tidings.store.deployment import Deployment

FAR = 1_000_000


def test_welcome_names_the_deployment() -> None:
    named = Deployment("b", "a", 7, (7,)).fields()
    connection = opened(deployment=named)
    receive(connection, hello())
    assert only(connection)["deployment"] == {"id": "b", "origin": "a", "since": 7, "restored": [7]}


def live(tail: int, **rules: Any) -> Any:
    connection = signed_in(**rules)
    connection.went_live(tail, {}, 0)
    sent(connection)
    return connection


@pytest.mark.field_case("3")
def test_an_ack_above_the_tail_counts_up_to_the_tail() -> None:
    connection = live(3)
    (effect,) = receive(connection, {"type": "ack", "inbox_seq": FAR, "ref": "r"})
    assert effect == CheckAck(FAR, "r")
    connection.ack_checked(FAR, 3, "r")
    answer = only(connection)
    assert (answer["code"], answer["fatal"], answer["ref"]) == ("cursor_ahead", False, "r")
    connection.deliver(4, MESSAGE, 0)
    sent(connection)
    connection.ticked(5_000)
    assert only(connection)["inbox_seq"] == 4  # not acknowledged before it was made


def test_ack_of_a_message_from_another_source_counts() -> None:
    connection = live(3)
    (effect,) = receive(connection, {"type": "ack", "inbox_seq": 5})
    connection.deliver(4, MESSAGE, 0)
    connection.ack_checked(5, 5, None)
    connection.deliver(5, MESSAGE, 0)
    sent(connection)
    connection.ticked(5_000)
    assert sent(connection) == []
    assert effect == CheckAck(5, None)


def test_ack_of_a_pushed_inbox_seq_reads_nothing() -> None:
    connection = live(3)
    assert receive(connection, {"type": "ack", "inbox_seq": 3}) == []
    connection.deliver(4, MESSAGE, 0)
    assert receive(connection, {"type": "ack", "inbox_seq": 4}) == []
    place = {"session_id": "d:alice:bob", "seq": 2}
    effects = receive(connection, {"type": "ack", "inbox_seq": 9, "delivered": [place]})
    assert [type(effect) for effect in effects] == [CheckAck, MoveWatermark]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=20))
def test_no_ack_covers_a_delivery_made_after_it_failed(steps: list[tuple[bool, int]]) -> None:
    connection, made, acked = live(0), 0, 0
    for is_push, number in steps:
        if is_push:
            made += 1
            connection.deliver(made, MESSAGE, 0)
        else:
            for effect in receive(connection, {"type": "ack", "inbox_seq": number}):
                assert isinstance(effect, CheckAck)
                connection.ack_checked(effect.inbox_seq, made, None)
            acked = max(acked, min(number, made))
    sent(connection)
    connection.ticked(5_000)
    assert [frame["inbox_seq"] for frame in sent(connection)] == list(range(acked + 1, made + 1))


def test_heartbeat_is_not_below_the_last_push() -> None:
    connection = live(3)
    connection.deliver(4, MESSAGE, 0)
    sent(connection)
    connection.beat(3, {})
    assert only(connection)["inbox_seq"] == 4


def test_a_sync_is_asked_of_the_tables() -> None:
    assert receive(live(3), {"type": "sync", "after": FAR}) == [ReadInbox(FAR, 200, None)]
