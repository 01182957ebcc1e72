"""What `ack` and `read` frames say, when, and again on a new connection."""

import pytest

from tests.unit.client.authors import online
from tests.unit.client.devices import GROUP, ME, SESSION, Device, message, numbered, opened
from tidings_client import frames
from tidings_client.frames import Position


@pytest.mark.parametrize(("count", "wait_ms"), [(40, 50), (50, 0)])
def test_acks_are_joined_up_to_fifty_messages(count: int, wait_ms: int) -> None:
    """They name the sessions delivered. The fiftieth message does not wait."""
    device = opened()
    device.arrive(*numbered(count))
    if wait_ms:
        device.advance(wait_ms)
        assert device.acks == []
        device.advance(wait_ms)
    assert device.acks == [frames.Ack(inbox_seq=count, delivered=(Position(SESSION, count),))]


def test_new_connection_is_sent_the_latest_ack_again() -> None:
    device = opened()
    device.arrive(*numbered(2))
    device.advance(100)
    device.acks.clear()
    device.lose_connection(1_000)
    assert device.acks == [frames.Ack(inbox_seq=2, delivered=(Position(SESSION, 2),))]


def test_client_without_a_reader_acks_but_claims_no_delivery() -> None:
    device = Device()
    device.connect()
    device.arrive(*numbered(2))
    device.advance(100)
    assert device.acks == [frames.Ack(inbox_seq=2)]
    assert device.shown == []
    device.open()
    device.sync()
    assert device.seqs == [1, 2]


def test_own_messages_are_shown_but_not_acked_as_delivered() -> None:
    device = opened()
    device.arrive(message(SESSION, 1, sender_id=ME))
    device.advance(100)
    assert device.positions == [(SESSION, 1)]
    assert device.acks == [frames.Ack(inbox_seq=1)]


def test_a_group_that_the_user_has_left_is_not_acked_again() -> None:
    device = opened()
    device.arrive(message(GROUP, 1), message(GROUP, 2, event="member_removed", user_id=ME))
    device.lose_connection(5_000)
    assert device.acks == [frames.Ack(inbox_seq=2)]


def test_reads_are_sent_at_once_and_again_on_a_new_connection() -> None:
    author = online()
    author.mark_read(SESSION, 4)
    author.own_marks(SESSION, 4)
    author.mark_read(SESSION, 3)
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
        author.mark_read(name, 7)
        author.own_marks(name, 7)
    author.connect()
    said = [frame for frame in author.frames if isinstance(frame, frames.Read)]
    assert sorted(frame.session_id for frame in said) == sorted(names)
