"""Two users in two processes: statuses, order, absence, and devices that agree."""

from pathlib import Path

from deploy.local.stack import Stack
from tests.e2e.people import Person, person


def _statuses(sender: Person, client_msg_id: str) -> list[str]:
    return [told["status"] for told in sender.heard("status", client_msg_id=client_msg_id)]


async def test_the_statuses_of_a_message_come_in_order_and_a_refused_one_fails(stack: Stack, tmp_path: Path) -> None:
    async with (
        person(stack.url(0), "five-alice", "phone", tmp_path) as alice,
        person(stack.url(1), "five-bob", "phone", tmp_path) as bob,
    ):
        alice.tell("send", to="five-bob", texts=["hello"])
        [message] = await bob.hears("message", text="hello")
        client_msg_id = message["client_msg_id"]
        await alice.hears("status", client_msg_id=client_msg_id, status="delivered")
        bob.tell("mark_read", session_id=message["session_id"], seq=message["seq"])
        await alice.hears("status", client_msg_id=client_msg_id, status="read")
        assert _statuses(alice, client_msg_id) == ["sending", "sent", "delivered", "read"]

        alice.tell("send", to="five-bob", texts=["x" * 8_001])
        [failed] = await alice.hears("status", status="failed")
        assert failed["code"] == "invalid_body"
        assert _statuses(alice, failed["client_msg_id"]) == ["sending", "failed"]
