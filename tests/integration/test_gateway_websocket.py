"""The WebSocket of a real gateway, from the client's side and from the log's."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from services.gateway.push.reader import Superseded, positions_of, take_push_partition
from services.gateway.submit.publisher import announce_gateway
from tests.deployments import running, settings
from tests.faults.broker import FaultyBroker, FaultyProducer, FaultyReader
from tests.faults.store import FaultyStore
from tests.sockets import SUBPROTOCOL
from tests.stored_rows import fill_inbox, stored_key
from tidings import topics
from tidings.broker.base import NewRecord, TopicPartition
from tidings.store.base import TaggedRow
from tidings.store.rows import BlockList
from tidings.topics import GATEWAYS, PRESENCE, RECEIPTS_INBOUND
from tidings.wire.common_pb2 import KIND_TEXT, MODE_WRITE, Message
from tidings.wire.deliveries_pb2 import Watermark
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.presence_pb2 import Presence, PresenceKey
from tidings.wire.push_pb2 import Live, Push, PushedMessage, Replaced, Resync
from tidings.wire.receipts_pb2 import Receipt


def text(client_msg_id: str = "m1", to: str = "bob", **more: object) -> dict[str, object]:
    return {"type": "send", "client_msg_id": client_msg_id, "to": to, "kind": "text", "body": {"text": "hi"}, **more}


async def test_a_send_becomes_a_command_and_its_ack_comes_back(tmp_path: Path) -> None:
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


@pytest.mark.hazard("H14")
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


async def test_handshake_refuses_foreign_origin_and_no_subprotocol(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(settings(tmp_path, allowed_origins="https://app.example")) as gateway:
        url = f"ws://127.0.0.1:{gateway.port}/v1/ws"
        for options, status in (
            ({"subprotocols": [SUBPROTOCOL], "origin": Origin("https://evil.example")}, 403),
            ({"subprotocols": [SUBPROTOCOL], "origin": Origin("null")}, 403),
            ({"subprotocols": None}, 400),
            ({"subprotocols": [Subprotocol("other")]}, 400),
        ):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, **options)
            assert refused.value.response.status_code == status
            assert refused.value.response.headers["content-type"] == "application/problem+json"
        assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
        async with gateway.socket(origin=Origin("https://app.example")) as socket:
            assert socket.connection.subprotocol == SUBPROTOCOL


async def test_too_big_and_binary_messages_close_with_their_codes(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway:
        async with gateway.signed_in("alice") as socket:
            await socket.connection.send("x" * 65_537)
            assert await socket.closed() == 1009
        async with gateway.signed_in("alice") as socket:
            await socket.connection.send(b"{}")
            assert (await socket.expect("error"))["fatal"] is True
            assert await socket.closed() == 4400


async def test_a_newer_connection_replaces_the_older_without_a_gone(tmp_path: Path) -> None:
    async with (
        running(settings(tmp_path)) as gateway,
        gateway.signed_in("alice") as older,
        gateway.signed_in("alice", "desk") as desk,
        gateway.signed_in("alice") as newer,
    ):
        assert await older.closed() == 4409
        await desk.send({"type": "ping", "id": 1})
        assert await desk.expect("pong") == {"type": "pong", "id": 1}
        await newer.connection.close()
        records = await gateway.records(PRESENCE, 4)
        seen = [(p.state, p.connection_id) for p in (Presence.FromString(r.value or b"") for r in records)]
        names = [socket.welcome["connection_id"] for socket in (older, desk, newer)]
        here, gone = Presence.STATE_HERE, Presence.STATE_GONE
        assert seen == [(here, names[0]), (here, names[1]), (here, names[2]), (gone, names[2])]


async def test_fanout_can_replace_a_connection_that_moved(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.signed_in("alice") as socket:
        (record,) = await gateway.records(PRESENCE, 1)
        here = Presence.FromString(record.value or b"")
        live = Live(user_id="alice", connection_id=here.connection_id, inbox_seq=1)
        desk, phone = (
            Replaced(user_id="alice", device_id=device_id, connection_id=here.connection_id)
            for device_id in ("desk", "phone")
        )
        await gateway.push(
            Push(gateway_epoch=here.gateway_epoch, replaced=desk),
            Push(gateway_epoch=here.gateway_epoch, live=live),
        )
        # After a read of the tables: what is pushed behind it may come first.
        await socket.expect("live")
        await gateway.push(Push(gateway_epoch=here.gateway_epoch, replaced=phone))
        assert await socket.closed() == 4409


@pytest.mark.promise("G8")
async def test_acks_and_reads_become_receipts_and_watermarks_come_back(tmp_path: Path) -> None:
    store = FaultyStore()
    await fill_inbox(store, "alice", [1, 2, 3])
    async with running(settings(tmp_path), store=store) as gateway, gateway.signed_in("alice") as socket:
        await socket.send(
            {"type": "ack", "inbox_seq": 3, "delivered": [{"session_id": "d:alice:bob", "seq": 2}]},
            {"type": "read", "session_id": "d:alice:bob", "seq": 2},
            {"type": "read", "session_id": "d:bob:carol", "seq": 2},
        )
        assert (await socket.expect("error"))["code"] == "session_not_found"
        receipts = [Receipt.FromString(record.value or b"") for record in await gateway.records(RECEIPTS_INBOUND, 1)]
        # What is said of one session within 100 ms is one record.
        assert [(r.session_id, r.user_id, r.delivered_seq, r.read_seq) for r in receipts] == [
            ("d:alice:bob", "alice", 2, 2)
        ]
        (record,) = await gateway.records(PRESENCE, 1)
        epoch = Presence.FromString(record.value or b"").gateway_epoch
        moved = Watermark(
            session_id="d:alice:bob", user_id="bob", delivered_seq=5, read_seq=4, at_ms=6, recipient_ids=["alice"]
        )
        await gateway.push(Push(gateway_epoch=epoch, watermark=moved))
        assert await socket.expect("receipt") == {
            "type": "receipt",
            "session_id": "d:alice:bob",
            "user_id": "bob",
            "delivered_seq": 5,
            "read_seq": 4,
            "at": 6,
        }


async def test_a_resync_announces_every_connection_again(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.signed_in("alice"), gateway.signed_in("bob"):
        records = await gateway.records(PRESENCE, 2)
        epoch = Presence.FromString(records[0].value or b"").gateway_epoch
        await gateway.push(Push(gateway_epoch=epoch, resync=Resync()))
        again = [PresenceKey.FromString(record.key or b"").user_id for record in await gateway.records(PRESENCE, 2)]
        assert sorted(again) == ["alice", "bob"]


@pytest.mark.promise("G7")
async def test_sync_reads_the_stored_inbox_and_names_the_next_page(tmp_path: Path) -> None:
    store = FaultyStore()
    await fill_inbox(store, "alice", range(1, 6))
    async with running(settings(tmp_path), store=store) as gateway, gateway.signed_in("alice") as socket:
        await socket.send({"type": "sync", "after": 1, "limit": 3, "ref": "s"})
        page = await socket.expect("sync_page")
        assert [item["inbox_seq"] for item in page["items"]] == [2, 3, 4]
        assert page["items"][0]["message"]["body"] == {"text": "message 2"}
        assert {name: page[name] for name in ("after", "next", "tail", "more", "truncated", "ref")} == {
            "after": 1,
            "next": 4,
            "tail": 5,
            "more": True,
            "truncated": False,
            "ref": "s",
        }


async def test_sync_without_tables_fails_and_heartbeats_continue(tmp_path: Path) -> None:
    store = FaultyStore()
    store.stall()
    chosen = settings(tmp_path, heartbeat_s=1)
    async with running(chosen, store=store) as gateway, gateway.signed_in("alice") as socket:
        await socket.send({"type": "sync", "after": 0})
        error = await socket.expect("error")
        assert (error["code"], error["fatal"]) == ("unavailable", False)
        assert await socket.next() == {"type": "heartbeat", "inbox_seq": 0, "heads": []}


async def test_an_unconfirmed_send_is_unavailable_and_retryable(tmp_path: Path) -> None:
    broker = FaultyBroker(timeout_s=0.3)
    async with running(settings(tmp_path), broker=broker) as gateway, gateway.signed_in("alice") as socket:
        broker.stall()
        await socket.send(text("m1"))
        error = await socket.expect("send_error")
        broker.heal()
        assert (error["client_msg_id"], error["code"], error["retryable"]) == ("m1", "unavailable", True)


async def test_a_blocked_user_may_repeat_only_a_stored_message(tmp_path: Path) -> None:
    store = FaultyStore()
    await store.replace_block_list(BlockList("bob", ("alice",), 1), 0)
    await store.write([TaggedRow(0, stored_key("m-old"))])
    async with running(settings(tmp_path), store=store) as gateway, gateway.signed_in("alice") as socket:
        await socket.send(text("m-new"), text("m-old"))
        error = await socket.expect("send_error")
        assert (error["client_msg_id"], error["code"], error["retryable"]) == ("m-new", "user_blocked", False)
        (command,) = await gateway.commands(1)
        assert command.client_msg_id == "m-old"


@pytest.mark.hazard("H33")
async def test_a_second_start_of_an_ordinal_ends_the_first_gateway(tmp_path: Path) -> None:
    broker = FaultyBroker()
    with pytest.RaisesGroup(Superseded):
        async with running(settings(tmp_path), broker=broker), running(settings(tmp_path), broker=broker):
            await asyncio.Event().wait()


class WatchedBroker(FaultyBroker):
    """Notes in which order a gateway begins."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def producer(self, client_id: str) -> FaultyProducer:
        return WatchedProducer(self)

    def reader(self, client_id: str) -> FaultyReader:
        return WatchedReader(self)


class WatchedProducer(FaultyProducer):
    def __init__(self, broker: WatchedBroker) -> None:
        super().__init__(broker)
        self._calls = broker.calls

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        self._calls.append(f"append to {topic}")
        return await super().produce(topic, partition, records)


class WatchedReader(FaultyReader):
    def __init__(self, broker: WatchedBroker) -> None:
        super().__init__(broker.log)
        self._calls = broker.calls

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        self._calls.extend(f"read {name.topic} from {offset}" for name, offset in positions.items())
        super().assign(positions)


@pytest.mark.hazard("H13")
async def test_a_gateway_fixes_its_push_position_before_it_is_known(tmp_path: Path) -> None:
    """H13."""
    broker = WatchedBroker()
    async with running(settings(tmp_path), broker=broker):
        pass
    assert broker.calls == [
        "read push from 0",
        "append to gateways",
        "read push from -1",
        "read gateways from 1",
        "append to gateways",
    ]


async def test_pushes_between_start_record_and_first_poll_are_seen(tmp_path: Path) -> None:
    """H13: the push position is fixed before fanout can read of this gateway."""
    broker = FaultyBroker()
    await broker.admin().create_topics(topics.declared(settings(tmp_path).kafka.sizes()), 1)
    producer, reader = broker.producer("gateway-0"), broker.reader("gateway-0")
    await producer.produce(topics.PUSH, 0, [NewRecord(b"before")])
    await take_push_partition(reader, 0)
    identity = await announce_gateway(producer, 0)
    await producer.produce(topics.PUSH, 0, [NewRecord(b"at once")])
    reader.assign(positions_of(identity))
    assert [record.value for record in await reader.poll(10, 100)] == [b"at once"]


async def test_sigterm_drains_with_goaway_close_1001_and_a_goodbye(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.signed_in("alice") as socket:
        gateway.stopping.set()
        goaway = await socket.expect("goaway")
        assert 0 <= goaway["reconnect_after_ms"] <= 200
        assert await socket.closed() == 1001
        await gateway.task
        assert gateway.health.readiness()
        started, goodbye = [
            GatewayEvent.FromString(record.value or b"") for record in await gateway.records(GATEWAYS, 2, partitions=1)
        ]
        assert (started.state, goodbye.state) == (GatewayEvent.STATE_STARTED, GatewayEvent.STATE_GOODBYE)


@pytest.mark.bad_input("B4")
async def test_garbage_on_the_push_partition_is_dropped(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.signed_in("alice") as socket:
        (record,) = await gateway.records(PRESENCE, 1)
        here = Presence.FromString(record.value or b"")
        producer = gateway.broker.producer("poison")
        await producer.produce(topics.PUSH, 0, [NewRecord(b"\xff\xff\xff"), NewRecord(None), NewRecord(b"")])
        live = Live(user_id="alice", connection_id=here.connection_id, inbox_seq=3)
        await gateway.push(Push(gateway_epoch=here.gateway_epoch, live=live))
        assert (await socket.expect("live"))["inbox_seq"] == 3
