"""Groups whose history was refused: how long the client keeps them, and how many."""

from tidings_client import receiving
from tidings_client.acks import Acks
from tidings_client.claims import Claims
from tidings_client.effects import Cursor
from tidings_client.frames import Deployment, Message
from tidings_client.receiving import Receiving

GROUP = "g:x"
FIRST = Deployment(id="a", origin="a", since=1_000)
CREATED_AGAIN = Deployment(id="b", origin="b", since=2_000)


def follower(*session_ids: str) -> Receiving:
    """A device that has had all of its messages, and the logs of these groups up to seq 3."""
    acks = Acks()
    device = Receiving(acks, Claims(acks))
    device.restore(Cursor(7, dict.fromkeys(session_ids, 3), deployment=FIRST, is_whole=True), from_live=False)
    list(device.open(0))
    list(device.greeted(0, FIRST))
    device.ready(0, "bob")
    return device


def gets(device: Receiving, inbox_seq: int, session_id: str, seq: int) -> None:
    """A message in the inbox, which nothing before it has announced."""
    fields = {"message_id": "1", "client_msg_id": "c", "kind": "text", "body": {"text": "hello"}}
    text = Message(session_id=session_id, seq=seq, sender_id="alice", at=1, **fields)  # type: ignore[arg-type]
    list(device.push(0, inbox_seq, text))


def delivered(device: Receiving, session_id: str) -> int:
    """What the device claims to have received."""
    return device.acks._delivered.get(session_id, 0)


def test_receiving_forgets_closed_logs_of_another_life() -> None:
    device = follower(GROUP)
    list(device.history_failed(0, GROUP, gone=True, jitter=0.0))
    list(device.greeted(0, CREATED_AGAIN))
    gets(device, 1, GROUP, 2)
    assert delivered(device, GROUP) == 2


def test_receiving_claims_nothing_above_a_closed_log() -> None:
    device = follower(GROUP)
    list(device.history_failed(0, GROUP, gone=True, jitter=0.0))
    gets(device, 8, GROUP, 9)
    assert delivered(device, GROUP) == 0


def test_receiving_bounds_closed_logs() -> None:
    names = [f"g:{number}" for number in range(receiving.CLOSED_LOGS_REMEMBERED + 5)]
    device = follower(*names)
    for name in names:
        list(device.history_failed(0, name, gone=True, jitter=0.0))
    assert len(device._closed_logs) == receiving.CLOSED_LOGS_REMEMBERED


def test_receiving_claims_nothing_above_a_forgotten_log() -> None:
    names = [f"g:{number}" for number in range(receiving.CLOSED_LOGS_REMEMBERED + 1)]
    device = follower(*names)
    for name in names:
        list(device.history_failed(0, name, gone=True, jitter=0.0))
    gets(device, 8, names[0], 9)
    assert delivered(device, names[0]) == 0
