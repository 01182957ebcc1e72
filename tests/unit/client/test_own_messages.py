"""Messages that are pending or failed: listed after a restart, sent again, discarded."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.client.fake_server import DAY_MS, Server, an_id, until
from tests.unit.client.outboxes import opened_outbox, reopened
from tidings_client import Client, FailedDraft, FileOutbox, SendFailed, Status
from tidings_client.drafts import Draft

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.field_case("37")
async def test_after_a_restart_pending_and_failed_messages_are_listed(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        with pytest.raises(SendFailed):
            await (await alice.send("forbidden", to="bob", mentions=["bob"])).acked()
        server.answers_sends = False
        await alice.send("pending", to="bob")
        await alice.close()
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        failed, pending = alice.unsent()
        assert (failed.message.body, failed.message.to, failed.code) == ({"text": "forbidden"}, "bob", "user_blocked")
        assert (failed.sent.status, failed.reason) == (Status.FAILED, "unblock first")
        assert (pending.message.body, pending.code, pending.sent.status) == ({"text": "pending"}, None, Status.SENDING)
        await until(lambda: len(server.sends) == 3)
        server.answers_sends = True
        await server.hang_up(1000)
        await pending.sent.acked()
        assert [one.code for one in alice.unsent()] == ["user_blocked"]
        again = await alice.resend(failed.message.client_msg_id)
        assert again is failed.sent
        with pytest.raises(SendFailed):
            await again.acked()
        assert server.sent_ids.count(failed.message.client_msg_id) == 2
        alice.discard(failed.message.client_msg_id)
        alice.discard(failed.message.client_msg_id)
        assert alice.unsent() == []
        with pytest.raises(KeyError):
            await alice.resend(failed.message.client_msg_id)
    assert await reopened(path) == ([], [])


async def test_a_message_failed_by_its_id_goes_again_under_a_new_one(server: Server, tmp_path: Path) -> None:
    made = an_id(DAY_MS)
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        sent = await alice.send("x", to="bob", client_msg_id=made)
        with pytest.raises(SendFailed, match="clock_skew"):
            await sent.acked()
        again = await alice.resend(made)
        await again.acked()
        assert (again.client_msg_id != made, alice.unsent()) == (True, [])


async def test_a_failed_message_that_turns_up_is_forgotten(server: Server, tmp_path: Path) -> None:
    path, draft = tmp_path / "outbox", Draft("a1", "text", {"text": "x"}, to="bob")
    async with opened_outbox(path) as box:
        await box.add([draft])
        await box.fail([FailedDraft(draft, "timeout", "no answer to the last try")])
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        assert [one.code for one in alice.unsent()] == ["timeout"]
        async with Client(server.url, "alice", device_id="other") as other:
            await (await other.send("x", to="bob", client_msg_id="a1")).acked()
        async for _ in alice.messages():
            break
        assert alice.unsent() == []
    assert path.read_bytes().endswith(b'{"settled":"a1"}\n')
