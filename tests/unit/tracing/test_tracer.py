"""Traces over the services, with log and tables in memory."""

from pathlib import Path
from typing import Any

import pytest

from tests.builders import message, segment, session, write_confirmed
from tests.deployments import KAFKA, Deployment, deployed, running, settings
from tests.fakes.cold import FakeCold
from tests.waiting import becomes
from tidings.broker.base import TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.errors import BrokerUnavailable
from tidings.runtime.settings import LimitSettings
from tidings.store.memory import MemoryStore
from tidings.topics import MESSAGES_INBOUND
from tidings.tracing.lines import Outcome, Source, Trace
from tidings.tracing.log_view import LogView, log_view
from tidings.tracing.subjects import ByKey, ByMessageId, ByPlace, Subject
from tidings.tracing.tracer import SHOWN, Tracer

DIRECT = "d:alice:bob"
STAGES = ["received", "decided", "stored", "persister", "key", "fan-out", "expand", "deliver", "receipts", "inbox"]


async def trace(there: Deployment, subject: Subject, recipient: str = "", epoch: int = 0) -> Trace:
    async with log_view(there.broker, epoch, KAFKA.sizes()) as log:
        return await Tracer(there.store, log).trace(subject, recipient)


async def sent(there: Deployment, body: dict[str, Any] | None = None, **to: str) -> ByPlace:
    content = {
        "client_msg_id": f"m{len(there.messages)}",
        "kind": "text",
        "body": {"text": "hello"},
        **(body or {}),
        **to,
    }
    status, answer = await there.call("alice", "POST", "/v1/messages", content)
    assert status == 201, answer
    return ByPlace(answer["session_id"], answer["seq"])


async def confirmed(there: Deployment, subject: Subject) -> Trace:
    """The trace when all stages have committed past the message."""
    found = []

    async def waiting() -> list[str]:
        found.append(await trace(there, subject))
        return [line.stage for line in found[-1].lines if "not confirmed" in line.text or "not past it" in line.text]

    await becomes(waiting, list[str](), within_s=30)
    return found[-1]


def texts(found: Trace, stage: str) -> list[str]:
    return [line.text for line in found.lines if line.stage == stage]


async def test_a_direct_message_is_followed_through_all_stages(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        subject = await sent(there, to="bob")
        found = await confirmed(there, subject)
        assert found.outcome is Outcome.STORED
        assert list(dict.fromkeys(line.stage for line in found.lines))[:10] == STAGES
        received, decided, stored, *_ = found.lines
        assert (received.source, received.kept) == (Source.TOPICS, "7 days")
        assert received.text == "command of alice through gateway 0"
        assert received.at_ms == decided.at_ms is not None
        assert (stored.text, stored.source) == ("hot", Source.TABLES)
        assert texts(found, "fan-out") == ["direct session: written to the inbox of each user: alice, bob"]
        assert [text.partition(":")[0] for text in texts(found, "inbox")] == ["alice", "bob"]
        assert all(line.at_ms and line.kept == "100 days" for line in found.lines if line.stage == "inbox")
        assert [line.source for line in found.lines if line.stage == "pushed"] == [Source.UNKNOWN]
        assert (texts(found, "delivered"), texts(found, "read")) == (["0 of 1"], ["0 of 1"])
        (row,) = there.messages
        for other in (ByMessageId(row.message_id), ByKey("alice", "m0"), ByKey("alice", "m0", DIRECT)):
            assert await trace(there, other) == found


async def test_watermarks_name_receivers_and_readers(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        first, second = await sent(there, to="bob"), await sent(there, to="bob")
        async with there.signed_in("bob") as socket:
            await socket.send(
                {"type": "ack", "inbox_seq": 2, "delivered": [{"session_id": DIRECT, "seq": 2}]},
                {"type": "read", "session_id": DIRECT, "seq": 1},
            )

            async def read() -> list[str]:
                return texts(await trace(there, first), "read")[:1]

            await becomes(read, ["1 of 1"], within_s=30)
        found = await trace(there, first)
        assert texts(found, "delivered") == ["1 of 1: bob"]
        (line,) = [line for line in found.lines if line.text.startswith("bob: the watermark")]
        assert line.at_ms is not None
        found = await trace(there, second)
        assert (texts(found, "delivered"), texts(found, "read")[0]) == (["1 of 1: bob"], "0 of 1")


async def test_read_diffusion_names_the_group_log_and_no_inbox(tmp_path: Path) -> None:
    async with deployed(tmp_path, limits=LimitSettings(write_diffusion_max=3)) as there:
        group = await there.group("alice", "bob", "carol", "dave")
        created = await confirmed(there, ByPlace(group, 1))
        assert texts(created, "fan-out") == [
            "mode switch from write to read diffusion: written to the inbox of each member: alice, bob, carol, dave"
        ]
        assert len(texts(created, "inbox")) == 4
        found = await confirmed(there, await sent(there, session_id=group))
        (fan_out,) = texts(found, "fan-out")
        assert fan_out == "read diffusion: 4 members read it from the group's log, and no inbox gets it"
        assert texts(found, "inbox") == texts(found, "deliver") == []
        assert "confirmed past it" in texts(found, "expand")[0]
        assert [line.source for line in found.lines if line.stage == "delivered"] == [Source.UNKNOWN]
        assert texts(found, "read") == ["0, later members included"]


async def test_a_large_audience_is_cut_and_one_recipient_can_be_named(tmp_path: Path) -> None:
    members = [f"user{number:02}" for number in range(14)]
    async with deployed(tmp_path) as there:
        group = await there.group("alice", *members)
        subject = await sent(there, session_id=group)
        found = await confirmed(there, subject)
        assert texts(found, "fan-out")[0].endswith("user08 and 5 more")
        assert len(texts(found, "inbox")) == SHOWN + 1
        assert texts(found, "inbox")[-1] == "5 more inboxes are not looked at; ask for one recipient"
        assert texts(found, "delivered") == ["0 of 14"]
        one = await trace(there, subject, "user13")
        assert [text.partition(":")[0] for text in texts(one, "inbox")] == ["user13"]
        assert texts(one, "delivered") == ["0 of 1"]
        assert "zoe is no recipient as of this seq" in texts(await trace(there, subject, "zoe"), "fan-out")


async def test_stages_that_stand_still_are_named(tmp_path: Path) -> None:
    async with running(settings(tmp_path), workers=["persister"]) as there:
        subject = await sent(there, to="bob")
        found = await trace(there, subject)
        for stage in ("expand", "deliver", "receipts"):
            assert texts(found, stage)[0].startswith("has not confirmed it in")
        assert texts(found, "inbox")[0] == "alice: the user has no inbox: nothing was ever delivered"


async def test_media_of_a_message_are_listed(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        stored = (await there.bytes("alice", "POST", "/v1/media", b"content", X_File_Name="a.bin")).json()
        body = {"kind": "file", "body": {"url": stored["url"], "name": "a.bin", "size": 7}}
        found = await trace(there, await sent(there, body, to="bob"))
        (line,) = [line for line in found.lines if line.stage == "media"]
        media_id = stored["url"].rpartition("/")[2]
        assert line.text == f"{media_id}: 7 bytes of alice, referred to by seq 1"
        assert line.place in there.objects.objects


async def test_a_command_that_left_the_topic_keeps_its_coordinates(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        subject = await sent(there, to="bob")
        await confirmed(there, subject)
        for number in range(KAFKA.session_partitions):
            part = there.broker.partition(TopicPartition(MESSAGES_INBOUND, number))
            part.delete_before(part.end_offset)
        coordinates, time, *_ = (await trace(there, subject)).lines
        assert (coordinates.stage, coordinates.source) == ("received", Source.TABLES)
        assert coordinates.place.endswith("offset 0, epoch 0")
        assert (time.stage, time.source) == ("received", Source.UNKNOWN)
        assert len([line for line in (await trace(there, subject)).lines if line.stage == "inbox" and line.at_ms]) == 2


async def test_a_message_of_an_older_epoch_has_no_marks(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        subject = await sent(there, to="bob")
        await confirmed(there, subject)
        found = await trace(there, subject, epoch=1)
        stages = {"persister", "expand", "deliver", "receipts"}
        lines = [line for line in found.lines if line.stage in stages]
        assert {line.stage for line in lines} == stages
        assert all(line.source is Source.UNKNOWN and "of epoch 0" in line.text for line in lines)
        assert [line.source for line in found.lines if line.stage == "inbox"] == [Source.TABLES] * 2


async def test_without_the_log_the_tables_still_answer(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        subject = await sent(there, to="bob")
        await confirmed(there, subject)
        away = LogView(there.broker.admin(), there.broker.reader(""), 0, KAFKA.sizes(), BrokerUnavailable("gone"))
        found = await Tracer(there.store, away).trace(subject)
    assert found.outcome is Outcome.STORED
    unknown = [line.stage for line in found.lines if line.source is Source.UNKNOWN]
    assert unknown == ["received", "persister", "expand", "deliver", "receipts", "pushed", "read"]
    assert len([line for line in found.lines if line.stage == "inbox" and line.at_ms]) == 2


@pytest.mark.parametrize("is_readable", [True, False])
async def test_an_archived_message_names_its_object(is_readable: bool) -> None:
    store, broker, cold = MemoryStore(), MemoryBroker(), FakeCold()
    rows = [*session(DIRECT, 3), segment(DIRECT, 2, 4), *(message(DIRECT, seq, 2) for seq in (4, 5))]
    await write_confirmed(store, rows)
    await cold.take(store, DIRECT, 1)
    if not is_readable:
        cold.away.add(DIRECT)
    away = LogView(broker.admin(), broker.reader(""), 0, KAFKA.sizes(), BrokerUnavailable("gone"))
    found = await Tracer(store, away, cold).trace(ByPlace(DIRECT, 2))
    assert found.outcome is Outcome.STORED
    stored = [line for line in found.lines if line.stage == "stored"]
    assert (stored[0].text, stored[0].place) == ("cold: archived", f"{DIRECT}/1 row 1")
    assert [line.source for line in stored[1:]] == ([] if is_readable else [Source.UNKNOWN])
    assert ("key" in {line.stage for line in found.lines}) is is_readable
    assert texts(found, "fan-out") == ["direct session: written to the inbox of each user: alice, bob"]
