"""The WebSocket of a real gateway, from the client's side and from the log's."""

from pathlib import Path

from tests.integration.gateway_running import running, settings
from tidings.topics import PRESENCE
from tidings.wire.common_pb2 import KIND_TEXT, MODE_WRITE, Message
from tidings.wire.presence_pb2 import Presence, PresenceKey
from tidings.wire.push_pb2 import Live, Push, PushedMessage


def text(client_msg_id: str = "m1", to: str = "bob", **more: object) -> dict[str, object]:
    return {"type": "send", "client_msg_id": client_msg_id, "to": to, "kind": "text", "body": {"text": "hi"}, **more}


async def test_a_send_becomes_a_command_and_its_ack_comes_back_to_the_connection(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.signed_in("alice") as socket:
        await socket.send(text(ref="r1", reply_to=3, mentions=["bob"]))
        (command,) = await gateway.commands(1)
        assert (command.session_id, command.sender_id, command.client_msg_id) == ("d:alice:bob", "alice", "m1")
        assert (command.post.kind, command.post.body, command.post.reply_to) == (KIND_TEXT, b'{"text":"hi"}', 3)
        assert len(command.digest) == 32
        assert command.stamps.rules == 1
        assert command.origin.connection_id == socket.welcome["connection_id"]

        await gateway.ack(command, seq=7)
        assert await socket.expect("send_ack") == {
            "type": "send_ack",
            "ref": "r1",
            "client_msg_id": "m1",
            "session_id": "d:alice:bob",
            "message_id": "1007",
            "seq": 7,
            "at": 5,
            "duplicate": False,
        }


async def test_presence_is_announced_and_live_passed_on(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.signed_in("alice") as socket:
        (record,) = await gateway.records(PRESENCE, 1)
        key, here = PresenceKey.FromString(record.key or b""), Presence.FromString(record.value or b"")
        assert (key.user_id, key.device_id, key.gateway) == ("alice", "phone", 0)
        assert (here.state, here.connection_id) == (Presence.STATE_HERE, socket.welcome["connection_id"])
        live = Live(user_id="alice", connection_id=here.connection_id, inbox_seq=57)
        await gateway.push(Push(gateway_epoch=here.gateway_epoch, live=live))
        assert await socket.expect("live") == {"type": "live", "inbox_seq": 57, "heads": []}


async def test_a_pushed_message_reaches_every_connection_of_its_users(tmp_path: Path) -> None:
    async with (
        running(settings(tmp_path)) as gateway,
        gateway.signed_in("alice") as alice,
        gateway.signed_in("bob", "phone") as phone,
        gateway.signed_in("bob", "desk") as desk,
    ):
        (record, *_rest) = await gateway.records(PRESENCE, 3)
        epoch = Presence.FromString(record.value or b"").gateway_epoch
        message = Message(
            message_id=2**62,
            session_id="d:alice:bob",
            seq=1,
            sender_id="alice",
            client_msg_id="m1",
            at_ms=9,
            kind=KIND_TEXT,
            body=b'{"text":"hi"}',
        )
        pushed = PushedMessage(message=message, user_ids=["alice", "bob"], inbox_seqs=[4, 8], mode=MODE_WRITE)
        await gateway.push(Push(gateway_epoch=epoch, message=pushed))
        for socket, inbox_seq in ((alice, 4), (phone, 8), (desk, 8)):
            assert await socket.expect("message") == {
                "type": "message",
                "inbox_seq": inbox_seq,
                "message": {
                    "message_id": str(2**62),
                    "session_id": "d:alice:bob",
                    "seq": 1,
                    "sender_id": "alice",
                    "client_msg_id": "m1",
                    "at": 9,
                    "kind": "text",
                    "body": {"text": "hi"},
                },
            }


async def test_records_of_another_gateway_epoch_are_dropped(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.signed_in("alice") as socket:
        (record,) = await gateway.records(PRESENCE, 1)
        here = Presence.FromString(record.value or b"")
        stale, fresh = (Live(user_id="alice", connection_id=here.connection_id, inbox_seq=n) for n in (1, 2))
        await gateway.push(
            Push(gateway_epoch=here.gateway_epoch + 1, live=stale), Push(gateway_epoch=here.gateway_epoch, live=fresh)
        )
        assert (await socket.expect("live"))["inbox_seq"] == 2
