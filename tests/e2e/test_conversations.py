"""Two users in two processes: statuses, order, absence, and devices that agree."""

import uuid
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from tests.e2e.people import Event, Person, person
from tidings.ids import direct_session

AT_ONCE = 1_000
# More than two pages of the inbox.
MISSED = 450


@pytest.fixture
def names() -> tuple[str, str]:
    """Two users nobody has used before."""
    run = uuid.uuid4().hex[:8]
    return f"alice-{run}", f"bob-{run}"


async def test_statuses_come_in_order_and_a_refused_message_fails(
    stack: Stack, tmp_path: Path, names: tuple[str, str]
) -> None:
    async with (
        person(stack.url(0), names[0], "phone", tmp_path) as alice,
        person(stack.url(1), names[1], "phone", tmp_path) as bob,
    ):
        alice.tell("send", to=names[1], texts=["hello"])
        [message] = await bob.hears("message", text="hello")
        client_msg_id = message["client_msg_id"]
        await alice.hears("status", client_msg_id=client_msg_id, status="delivered")
        bob.tell("mark_read", session_id=message["session_id"], seq=message["seq"])
        await alice.hears("status", client_msg_id=client_msg_id, status="read")
        assert _statuses(alice, client_msg_id) == ["sending", "sent", "delivered", "read"]

        alice.tell("send", to=names[1], texts=["x" * 8_001])
        [failed] = await alice.hears("status", status="failed")
        assert failed["code"] == "invalid_body"
        assert _statuses(alice, failed["client_msg_id"]) == ["sending", "failed"]


@pytest.mark.promise("G5")
async def test_a_thousand_messages_sent_at_once_arrive_in_their_order(
    stack: Stack, tmp_path: Path, names: tuple[str, str]
) -> None:
    texts = [f"number {number}" for number in range(AT_ONCE)]
    async with (
        person(stack.url(0), names[0], "phone", tmp_path) as alice,
        person(stack.url(1), names[1], "phone", tmp_path) as bob,
    ):
        alice.tell("send", to=names[1], texts=texts)
        received = await bob.hears("message", AT_ONCE)
        await alice.hears("status", AT_ONCE, status="delivered")
        assert _places(received) == list(enumerate(texts, start=1))
        assert _places(await alice.hears("message", AT_ONCE)) == _places(received)
        assert [told["seq"] for told in alice.heard("status", status="sent")] == list(range(1, AT_ONCE + 1))


@pytest.mark.promise("G1", "G7")
async def test_who_was_away_gets_everything_missed_once_and_in_order(
    stack: Stack, tmp_path: Path, names: tuple[str, str]
) -> None:
    async with person(stack.url(0), names[0], "phone", tmp_path) as alice:
        async with person(stack.url(1), names[1], "phone", tmp_path) as bob:
            alice.tell("send", to=names[1], texts=["before"])
            assert _places(await bob.hears("message")) == [(1, "before")]

        missed = [f"missed {number}" for number in range(MISSED)]
        alice.tell("send", to=names[1], texts=missed)
        await alice.hears("status", 1 + MISSED, status="sent")

        async with person(stack.url(0), names[1], "phone", tmp_path) as bob:
            await bob.hears("message", MISSED)
            alice.tell("send", to=names[1], texts=["after"])
            await bob.hears("message", text="after")
            assert _places(bob.heard("message")) == list(enumerate([*missed, "after"], start=2))


@pytest.mark.promise("G8", "G9")
async def test_two_devices_agree_on_messages_watermarks_and_unread(
    stack: Stack, tmp_path: Path, names: tuple[str, str]
) -> None:
    session_id = direct_session(*names)
    async with (
        person(stack.url(0), names[0], "phone", tmp_path) as alice,
        person(stack.url(0), names[1], "phone", tmp_path) as phone,
        person(stack.url(1), names[1], "laptop", tmp_path) as laptop,
    ):
        alice.tell("send", to=names[1], texts=[f"number {number}" for number in range(20)])
        await phone.hears("message", 20)
        await laptop.hears("message", 20)
        phone.tell("mark_read", session_id=session_id, seq=8)
        await laptop.hears("watermarks", user_id=names[1], read_seq=8)
        for device in (phone, laptop):
            await device.shows(session_id, head_seq=20, unread=12, read_seq=8, delivered_seq=20)
        await alice.shows(session_id, unread=0, peer_read_seq=8, peer_delivered_seq=20)

        laptop.tell("send", to=names[0], texts=["from the laptop"])
        for someone in (phone, laptop, alice):
            await someone.hears("message", text="from the laptop", sender_id=names[1])
        assert _places(phone.heard("message")) == _places(laptop.heard("message")) == _places(alice.heard("message"))
        for device in (phone, laptop):
            await device.shows(session_id, head_seq=21, unread=0)


def _statuses(sender: Person, client_msg_id: str) -> list[str]:
    return [told["status"] for told in sender.heard("status", client_msg_id=client_msg_id)]


def _places(messages: list[Event]) -> list[tuple[int, str]]:
    return [(message["seq"], message["text"]) for message in messages]
