"""The asyncio client against a small server in the same process: resume, refusal, renewal, restarts."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.unit.client.fake_server import Server, take, until
from tests.unit.client.outboxes import opened_outbox, pending
from tidings_client import (
    Client,
    FileCursorStore,
    FileOutbox,
    MemoryCursorStore,
    NotAuthorized,
    Replaced,
    SendFailed,
    Status,
    StatusChanged,
    Stopped,
    Unreachable,
    backoff,
)
from tidings_client.drafts import Draft
from tidings_client.outbox import MemoryOutbox
from tidings_client.rest import Rest

pytestmark = pytest.mark.usefixtures("quick")


class Provider:
    """Of tokens; the last answer again and again."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = answers
        self.asked = 0

    async def __call__(self) -> str:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_sender_sees_its_message_acked_delivered_and_read(server: Server) -> None:
    async with Client(server.url, "alice") as alice, Client(server.url, "bob") as bob:
        sent = await alice.send("hello", to="bob")
        await sent.acked()
        assert (sent.session_id, sent.seq) == ("d:alice:bob", 1)
        assert await take(bob, 1) == ["hello"]
        async with asyncio.timeout(20):
            await sent.delivered()
            bob.mark_read("d:alice:bob", 1)
            await sent.read()
        assert sent.status is Status.READ


async def test_same_id_in_two_sessions_has_two_statuses(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        events = alice.events()
        seen = asyncio.ensure_future(anext(events))
        await (await alice.send("x", to="bob", client_msg_id="same")).acked()
        await seen
        server.answers_sends = False
        second = await alice.send("y", to="carol", client_msg_id="same")
        await server.mark("bob", "d:alice:bob", 1, 1)
        async for event in events:
            if isinstance(event, StatusChanged) and event.status is Status.READ:
                break
        assert second.status is Status.SENDING
        await alice.close()


async def test_a_refused_message_raises_with_its_code(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        sent = await alice.send("forbidden", to="bob")
        with pytest.raises(SendFailed, match="user_blocked: unblock first"):
            await sent.acked()
        assert sent.status is Status.FAILED


@pytest.mark.promise("G5")
async def test_a_thousand_messages_at_once_keep_their_order(server: Server) -> None:
    async with Client(server.url, "alice") as alice, Client(server.url, "bob") as bob:
        texts = [str(n) for n in range(1_000)]
        handles = await asyncio.gather(*(alice.send(text, to="bob") for text in texts))
        assert await take(bob, 1_000) == texts
        assert [(await handle.acked()).seq for handle in handles] == list(range(1, 1_001))


@pytest.mark.promise("G7")
async def test_client_resumes_without_gap_or_repeat(server: Server) -> None:
    async with Client(server.url, "bob") as bob:
        server.send_to("bob", 3)
        assert await take(bob, 3) == ["1", "2", "3"]
        await server.hang_up(1001)
        server.send_to("bob", 2)
        assert await take(bob, 2) == ["4", "5"]
        assert server.syncs[-1]["after"] == 3
        assert server.hellos == 2


async def test_unanswered_messages_are_resent_under_the_same_id(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        server.answers_sends = False
        handles = [await alice.send(text, to="bob") for text in "abc"]
        await until(lambda: len(server.sends) == 3)
        server.answers_sends = True
        await server.hang_up(1000)
        for handle in handles:
            await handle.acked()
    ids = [handle.client_msg_id for handle in handles]
    assert server.sent_ids == ids + ids
    assert [frame["attempt"] for frame in server.sends] == [1, 1, 1, 2, 2, 2]


async def test_a_replaced_client_stops_and_does_not_come_back(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        await alice.connected()
        await until(lambda: bool(server.online))
        server.answers_sends = False
        pending = await alice.send("x", to="bob")
        await server.hang_up(4409)
        with pytest.raises(Replaced):
            await take(alice, 1)
        with pytest.raises(Replaced):
            await pending.acked()
        with pytest.raises(Replaced):
            await alice.send("y", to="bob")
        await asyncio.sleep(0.2)
    assert server.hellos == 1


async def test_expired_token_is_requested_again_from_the_provider(server: Server) -> None:
    provider = Provider("alice")
    server.close_hello_with = [4401]
    async with Client(server.url, provider) as alice:
        await alice.connected()
    assert provider.asked == 2


async def test_a_fixed_token_that_is_refused_ends_the_client(server: Server) -> None:
    server.close_hello_with = [4401]
    async with Client(server.url, "alice") as alice:
        with pytest.raises(NotAuthorized):
            await alice.connected()


async def test_a_provider_that_cannot_be_reached_is_asked_again_later(server: Server) -> None:
    provider = Provider(Unreachable("not yet"), Unreachable("not yet"), "alice")
    async with Client(server.url, provider) as alice:
        await alice.connected()
    assert provider.asked == 3


async def test_network_failure_in_token_renewal_keeps_the_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider("alice", ConnectionError("not now"))
    monkeypatch.setattr("tidings_client.tokens.life_of", lambda *_: 200)
    monkeypatch.setattr("tidings_client.core.RENEW_AFTER_MS", 10)
    monkeypatch.setattr("tidings_client.core.RENEW_AGAIN_MS", 10)
    async with asyncio.timeout(20), Client(server.url, provider) as alice:
        await until(lambda: provider.asked >= 4)
        assert (await (await alice.send("still here", to="bob")).acked()).seq == 1
        assert server.hellos == 1


async def test_token_provider_error_stops_the_client_and_is_named() -> None:
    async with Client("ws://127.0.0.1:1", Provider(KeyError("secret store"))) as client:
        with pytest.raises(Stopped, match="secret store"):
            await client.connected()


async def test_live_shows_deliveries_whose_receipts_were_lost(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        sent = await alice.send("x", to="bob")
        await sent.acked()
        server.marks["d:alice:bob", "bob"] = (1, 1)
        await server.hang_up(1001)
        async with asyncio.timeout(20):
            await sent.read()


async def test_events_carry_the_statuses_in_order(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        await alice.connected()
        events = alice.events()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await alice.send("x", to="bob")
        seen = [await first, await anext(events)]
        statuses = [event.status for event in seen if isinstance(event, StatusChanged)]
        assert statuses == [Status.SENDING, Status.SENT]


async def test_outbox_survives_a_restart_and_keeps_message_ids(server: Server, tmp_path: Path) -> None:
    server.answers_sends = False
    async with Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        sent = await alice.send("kept", to="bob")
        await until(lambda: len(server.sends) == 1)
        await alice.close()
    server.answers_sends = True
    async with Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")):
        await until(lambda: bool(server.logs))
    async with Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        await alice.connected()
    assert [(frame["client_msg_id"], frame["attempt"]) for frame in server.sends] == [
        (sent.client_msg_id, 1),
        (sent.client_msg_id, 2),
    ]


async def test_too_large_message_fails_locally_and_leaves_the_outbox(server: Server, tmp_path: Path) -> None:
    async with opened_outbox(tmp_path / "outbox") as kept:
        await kept.add([Draft("old", "text", {"text": "x" * 70_000}, to="bob")])
    async with Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        big, good = await alice.send("x" * 70_000, to="bob"), await alice.send("good", to="bob")
        with pytest.raises(SendFailed, match="too_large"):
            await big.acked()
        await good.acked()
    assert server.sent_ids == [good.client_msg_id]
    assert await pending(tmp_path / "outbox") == []


async def test_cursor_file_resumes_after_the_last_handled_message(server: Server, tmp_path: Path) -> None:
    server.send_to("bob", 3)
    store = FileCursorStore(tmp_path / "cursor")
    async with Client(server.url, "bob", cursors=store) as bob:
        assert await take(bob, 2) == ["1", "2"]
    async with Client(server.url, "bob", cursors=store) as bob:
        assert await take(bob, 1) == ["3"]


async def test_message_whose_handler_raises_is_not_handled(server: Server) -> None:
    server.send_to("bob", 1)
    store = MemoryCursorStore()

    async def fails_while_handling() -> None:
        async with Client(server.url, "bob", cursors=store) as bob:
            await take(bob, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails_while_handling()
    async with Client(server.url, "bob", cursors=store) as bob:
        assert await take(bob, 1) == ["1"]


class Markup(str):
    """As libraries for HTML have it."""

    __slots__ = ()


BAD = [float("nan"), "\ud83d", 10**5_000, object(), Markup("<b>"), {None: 1}]


@pytest.mark.parametrize("data", BAD, ids=["NaN", "half surrogate", "digits", "object", "markup", "key"])
@pytest.mark.parametrize("is_kept_in_a_file", [True, False])
async def test_body_that_json_cannot_hold_fails_alone(
    server: Server, tmp_path: Path, data: object, is_kept_in_a_file: bool
) -> None:
    outbox = FileOutbox(tmp_path / "outbox") if is_kept_in_a_file else None
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=outbox) as alice:
        bad = await alice.send_body("custom", {"type": "t", "data": data}, to="bob")
        good = await alice.send("good 😀", to="bob")
        with pytest.raises(SendFailed, match="invalid_body: JSON cannot represent the message"):
            await bad.acked()
        assert (await good.acked()).seq == 1
    assert server.sent_ids == [good.client_msg_id]


class BrokenOutbox(MemoryOutbox):
    """A custom one, with errors of its own."""

    async def add(self, drafts: Sequence[Draft]) -> None:
        raise RuntimeError("no such table")


async def test_outbox_errors_reach_the_sender_and_the_client_continues(server: Server) -> None:
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=BrokenOutbox()) as alice:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no such table"):
                await alice.send("x", to="bob")
        await alice.connected()


async def test_frames_are_joined_no_further_than_the_server_allows(server: Server) -> None:
    server.limits = {"frame_bytes": 2_000}
    async with Client(server.url, "alice") as alice:
        await alice.connected()
        sends = [alice.send("x" * 500, to="bob") for _ in range(20)]
        for sent in await asyncio.gather(*sends):
            await sent.acked()
    assert 500 < server.longest_bytes <= 2_000


async def test_a_404_of_a_proxy_does_not_drop_a_group(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    added = {"event": "members_added", "user_ids": ["bob"], "mode": "read"}
    frames = [{"client_msg_id": "a1", "kind": "system", "body": added}]
    frames += [{"client_msg_id": f"a{seq}", "kind": "text", "body": {"text": f"{seq}"}} for seq in (2, 3)]
    server.logs["g:1"] = []
    first, *others = [server.append("g:1", "alice", frame) for frame in frames]
    server.inboxes["bob"] = [first]
    answers = [httpx2.Response(404, text="<html>"), httpx2.Response(200, json={"messages": others})]
    transport = httpx2.MockTransport(lambda _request: answers.pop(0))
    monkeypatch.setattr("tidings_client.client.Rest", partial(Rest, transport=transport))
    monkeypatch.setattr(backoff, "BASE_MS", 10)
    async with asyncio.timeout(20), Client(server.url, "bob") as bob:
        messages = bob.messages()
        assert (await anext(messages)).seq == 1
        await server.push("bob", {"type": "message", "message": others[-1]})
        assert [(await anext(messages)).seq for _ in others] == [2, 3]
    assert not answers
