"""Two users at two gateways: statuses, order, absence, and devices that agree."""

import asyncio
import uuid
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from tests.e2e.phone import Phone, connected
from tests.waiting import becomes, until
from tidings.ids import direct_session
from tidings_client import FileCursorStore, SendFailed, WatermarksMoved

AT_ONCE = 1_000
# More than two pages of the inbox.
MISSED = 450


@pytest.fixture
def names() -> tuple[str, str]:
    """Two users that no test has used before."""
    run = uuid.uuid4().hex[:8]
    return f"alice-{run}", f"bob-{run}"


async def test_statuses_come_in_order_and_a_refused_message_fails(stack: Stack, names: tuple[str, str]) -> None:
    alice, bob = Phone(stack, names[0]), Phone(stack, names[1], ordinal=1)
    async with connected([alice, bob]):
        sent = await (await alice.client.send("hello", to=names[1])).delivered()
        [message] = bob.messages
        bob.client.mark_read(message.session_id, message.seq)
        await sent.read()
        await until(lambda: "read" in alice.statuses(message.client_msg_id), "the event has come")
        assert alice.statuses(message.client_msg_id) == ["sending", "sent", "delivered", "read"]

        refused = await alice.client.send("x" * 8_001, to=names[1])
        with pytest.raises(SendFailed, match="invalid_body"):
            await refused.acked()
        await until(lambda: "failed" in alice.statuses(refused.client_msg_id), "the event has come")
        assert alice.statuses(refused.client_msg_id) == ["sending", "failed"]


@pytest.mark.promise("G5")
async def test_a_thousand_messages_sent_at_once_arrive_in_their_order(stack: Stack, names: tuple[str, str]) -> None:
    texts = [f"number {number}" for number in range(AT_ONCE)]
    alice, bob = Phone(stack, names[0]), Phone(stack, names[1], ordinal=1)
    async with connected([alice, bob]):
        sent = [await alice.client.send(text, to=names[1]) for text in texts]
        await asyncio.gather(*(one.delivered() for one in sent))
        await until(lambda: len(alice.messages) == len(bob.messages) == AT_ONCE, "both have everything")
        assert places(bob) == places(alice) == list(enumerate(texts, start=1))
        assert [one.seq for one in sent] == list(range(1, AT_ONCE + 1))


@pytest.mark.promise("G1", "G7")
async def test_offline_device_gets_missed_messages_once_in_order(
    stack: Stack, tmp_path: Path, names: tuple[str, str]
) -> None:
    alice = Phone(stack, names[0])
    before, after = [Phone(stack, names[1], ordinal=at, cursors=FileCursorStore(tmp_path / "bob")) for at in (1, 0)]
    async with connected([alice]):
        async with connected([before]):
            await alice.client.send("before", to=names[1])
            await until(lambda: before.messages, "bob has the first")
            assert places(before) == [(1, "before")]

        missed = [f"missed {number}" for number in range(MISSED)]
        sent = [await alice.client.send(text, to=names[1]) for text in missed]
        await asyncio.gather(*(one.acked() for one in sent))

        async with connected([after]):
            await until(lambda: len(after.messages) >= MISSED, "bob has what was missed")
            await (await alice.client.send("after", to=names[1])).delivered()
            await until(lambda: after.messages[-1].text == "after", "bob has the last")
            assert places(after) == list(enumerate([*missed, "after"], start=2))


@pytest.mark.promise("G8", "G9")
async def test_two_devices_agree_on_messages_watermarks_and_unread(stack: Stack, names: tuple[str, str]) -> None:
    session_id = direct_session(*names)
    alice, phone, laptop = (
        Phone(stack, names[0]),
        Phone(stack, names[1]),
        Phone(stack, names[1], "laptop", ordinal=1),
    )
    async with connected([alice, phone, laptop]):
        for number in range(20):
            await alice.client.send(f"number {number}", to=names[1])
        await until(lambda: len(phone.messages) == len(laptop.messages) == 20, "both devices have everything")
        phone.client.mark_read(session_id, 8)
        moved = WatermarksMoved(session_id, names[1], delivered_seq=20, read_seq=8)
        await until(lambda: moved in laptop.events, "the laptop gets the watermark")
        for device in (phone, laptop):
            await shows(device, session_id, head_seq=20, unread=12, read_seq=8, delivered_seq=20)
        await shows(alice, session_id, unread=0, peer_read_seq=8, peer_delivered_seq=20)

        await laptop.client.send("from the laptop", to=names[0])
        devices = (phone, laptop, alice)
        await until(lambda: all(len(one.messages) == 21 for one in devices), "all have the last")
        assert (alice.messages[-1].text, alice.messages[-1].sender_id) == ("from the laptop", names[1])
        assert places(phone) == places(laptop) == places(alice)
        for device in (phone, laptop):
            await shows(device, session_id, head_seq=21, unread=0)


async def shows(phone: Phone, session_id: str, **expected: int) -> None:
    """Wait until REST shows the session like that to this user."""

    async def shown() -> dict[str, int | None]:
        session = await phone.client.session(session_id)
        peer = session.peer
        fields = {
            "head_seq": session.head.seq if session.head else 0,
            "unread": session.unread,
            "read_seq": session.read_seq,
            "delivered_seq": session.delivered_seq,
            "peer_delivered_seq": peer.delivered_seq if peer else 0,
            "peer_read_seq": peer.read_seq if peer else 0,
        }
        return {name: fields[name] for name in expected}

    await becomes(shown, dict[str, int | None](expected))


def places(phone: Phone) -> list[tuple[int, str]]:
    """The messages as they were handed to the application."""
    return [(message.seq, message.text) for message in phone.messages]
