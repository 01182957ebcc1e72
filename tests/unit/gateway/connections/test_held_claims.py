"""A claim beyond the head counts as the head of when the frame came, not of when receipts comes to it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.gateway.connections import held_claims
from services.gateway.connections.held_claims import FRAMES_WAIT_S
from tests.deployments import Deployment, deployed
from tests.sockets import Socket
from tidings.codec import decode_receipt
from tidings.topics import RECEIPTS_INBOUND

DIRECT = "d:alice:bob"
MOST = 2**53 - 1


def message(client_msg_id: str, session_id: str) -> dict[str, Any]:
    body = {"kind": "text", "body": {"text": "x"}}
    return {"client_msg_id": client_msg_id, "session_id": session_id, **body}


async def said(there: Deployment, session_id: str, messages: int, sender: str = "alice") -> None:
    for number in range(messages):
        made = message(f"{sender} {number} {len(there.messages)}", session_id)
        assert (await there.call(sender, "POST", "/v1/messages", made))[0] == 201


def read(session_id: str, seq: int) -> dict[str, Any]:
    return {"type": "read", "session_id": session_id, "seq": seq}


def ack(session_id: str, seq: int) -> dict[str, Any]:
    return {"type": "ack", "delivered": [{"session_id": session_id, "seq": seq}]}


async def put(connected: Socket, *frames: dict[str, Any]) -> None:
    """In one text message; the next one is answered when all of them are taken."""
    await connected.send(*frames)
    await connected.send({"type": "ping", "id": "p"})
    await connected.like(type="pong")


async def published(there: Deployment, count: int) -> list[tuple[int, int]]:
    """The claims on the log as (delivered, read), once there are so many."""
    async with asyncio.timeout(5):
        while len(there.broker.records(RECEIPTS_INBOUND)) < count:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)
    claims = [decode_receipt(record.value) for record in there.broker.records(RECEIPTS_INBOUND)]
    return [(claim.delivered_seq, claim.read_seq) for claim in claims]


@pytest.mark.promise("G8")
@pytest.mark.field_case("6")
@pytest.mark.parametrize(("claim", "counts"), [(read, (5, 5)), (ack, (5, 0))])
@pytest.mark.parametrize("is_group", [False, True])
async def test_a_claim_beyond_the_head_leaves_out_what_comes_later(
    tmp_path: Path, claim: Any, counts: tuple[int, int], *, is_group: bool
) -> None:
    async with deployed(tmp_path, has_receipts=False) as there:
        name = await there.group("alice", "bob") if is_group else DIRECT
        await said(there, name, 4 if is_group else 5)
        async with there.signed_in("bob") as bob:
            await put(bob, claim(name, MOST))
            # Before receipts sees anything of it.
            await said(there, name, 1)
            assert await published(there, 1) == [counts]


@pytest.mark.promise("G8")
async def test_a_claim_beyond_the_head_comes_before_later_frames(tmp_path: Path) -> None:
    async with deployed(tmp_path, has_receipts=False) as there:
        await said(there, DIRECT, 2)
        async with there.signed_in("bob") as bob:
            sends = [{"type": "send", **message(f"m{number}", DIRECT)} for number in range(3)]
            await put(bob, sends[0], read(DIRECT, MOST), *sends[1:])
            [(delivered_seq, read_seq)] = await published(there, 1)
            assert delivered_seq == read_seq
            assert read_seq in (2, 3)


async def test_rest_and_websocket_clamp_alike_also_without_messages(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there, there.signed_in("bob") as bob:
        await put(bob, read(DIRECT, MOST), ack(DIRECT, MOST))
        assert (await there.call("bob", "PUT", f"/v1/sessions/{DIRECT}/read", {"seq": MOST}))[1]["read_seq"] == 0
        await said(there, DIRECT, 3)
        assert (await there.call("bob", "PUT", f"/v1/sessions/{DIRECT}/read", {"seq": MOST}))[1]["read_seq"] == 3
        await said(there, DIRECT, 1)
        await put(bob, read(DIRECT, MOST))
        assert await published(there, 2) == [(0, 3), (4, 4)]


async def test_a_claim_within_the_known_head_reads_nothing(tmp_path: Path) -> None:
    async with deployed(tmp_path, has_receipts=False) as there, there.signed_in("bob") as bob:
        await bob.like(type="live")
        await said(there, DIRECT, 3)
        for _ in range(3):
            await bob.like(type="message")
        before = there.store.calls["segments"]
        await put(bob, read(DIRECT, 2), ack(DIRECT, 3))
        assert await published(there, 1) == [(3, 2)]
        assert there.store.calls["segments"] == before


async def bob_with_three(there: Deployment, bob: Socket) -> None:
    await bob.like(type="live")
    await said(there, DIRECT, 3)
    for _ in range(3):
        await bob.like(type="message")


def errors(connected: Socket) -> list[str]:
    return [frame["code"] for frame in connected.frames if frame["type"] == "error"]


@pytest.mark.field_case("6")
async def test_claims_are_kept_while_the_tables_are_away(tmp_path: Path) -> None:
    """The head was stored through the other gateway, so this one has to ask for it."""
    async with deployed(tmp_path, gateways=2, has_receipts=False) as there:
        for number in range(3):
            made = message(f"m{number}", DIRECT)
            assert (await there.call("alice", "POST", "/v1/messages", made, at=1))[0] == 201
        async with there.signed_in("bob") as bob:
            there.store.stall()
            await put(bob, read(DIRECT, 2), ack(DIRECT, 3), ack(DIRECT, 3))
            await asyncio.sleep(0.3)
            assert there.broker.records(RECEIPTS_INBOUND) == []
            there.store.heal()
            assert await published(there, 1) == [(3, 2)]
            await put(bob)
            assert errors(bob) == []


@pytest.mark.field_case("6")
async def test_claims_within_the_known_head_need_no_tables(tmp_path: Path) -> None:
    async with deployed(tmp_path, has_receipts=False) as there, there.signed_in("bob") as bob:
        await bob_with_three(there, bob)
        there.store.stall()
        await put(bob, read(DIRECT, MOST), read("d:bob:carol", 1), read(DIRECT, 2), ack(DIRECT, 3))
        # And what is beyond it counts as far as it was known.
        assert (await published(there, 1))[0] == (3, 3)
        there.store.heal()
        await said(there, DIRECT, 1)
        # The head that the first was meant for has passed; of the second session there is nothing.
        for _ in range(2):
            assert (await bob.like(type="error"))["code"] == "unavailable"
        assert await published(there, 1) == [(3, 3)]


async def test_slow_tables_hold_up_no_other_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with deployed(tmp_path, has_receipts=False) as there, there.signed_in("bob") as bob:
        await bob_with_three(there, bob)
        answered, segments = asyncio.Event(), there.store.segments

        async def slow(*asked: Any) -> Any:
            await answered.wait()
            return await segments(*asked)

        monkeypatch.setattr(there.store, "segments", slow)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        pairs = [line for number in range(20) for line in (read(DIRECT, 4 + number), {"type": "ping", "id": number})]
        await put(bob, *pairs)
        for _ in range(20):
            await bob.like(type="pong")
        assert loop.time() - began_s < 20 * FRAMES_WAIT_S / 4
        answered.set()
        assert await published(there, 1) == [(3, 3)]
        assert errors(bob) == []


async def test_claim_that_is_stored_already_needs_no_head(tmp_path: Path) -> None:
    """As when clients connect again after a start of their gateway, and say their last acks."""
    async with deployed(tmp_path, gateways=2) as there:
        for number in range(3):
            made = message(f"m{number}", DIRECT)
            assert (await there.call("alice", "POST", "/v1/messages", made, at=1))[0] == 201
        assert (await there.call("bob", "PUT", f"/v1/sessions/{DIRECT}/read", {"seq": 3}, at=1))[0] == 200
        async with there.signed_in("bob") as bob:
            before = there.store.calls["segments"]
            await put(bob, read(DIRECT, 2), ack(DIRECT, 3))
            await published(there, 2)
            assert there.store.calls["segments"] == before


async def test_held_claims_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_claims, "MAX_OF_CONNECTION", 2)
    async with deployed(tmp_path, has_receipts=False) as there, there.signed_in("bob") as bob:
        await bob_with_three(there, bob)
        there.store.stall()
        await put(bob, *(read("d:bob:carol", seq) for seq in (1, 2, 1, 3)))
        assert errors(bob) == ["unavailable"]
        there.store.heal()
        await bob.like(type="error")
        await bob.like(type="error")
        # There is room again, and the tables answer.
        await put(bob, read(DIRECT, MOST))
        assert await published(there, 1) == [(3, 3)]
        assert len(errors(bob)) == 3


async def test_claim_beyond_the_head_of_a_removed_member_is_refused(tmp_path: Path) -> None:
    """The gateway counts bob as a member for 4 s after it has asked; beyond the known head it asks again (G10)."""
    async with deployed(tmp_path, gateways=2, has_receipts=False) as there:
        name = await there.group("alice", "bob")
        async with there.signed_in("bob") as bob:
            await put(bob, read(name, 1))
            assert await published(there, 1) == [(1, 1)]
            status, _ = await there.call("alice", "DELETE", f"/v1/groups/{name}/members/bob", at=1)
            assert status == 200
            await put(bob, read(name, MOST), ack(name, MOST))
            codes = [frame["code"] for frame in bob.frames if frame["type"] == "error"]
            assert codes == ["session_not_found", "session_not_found"]
            assert len(there.broker.records(RECEIPTS_INBOUND)) == 1
