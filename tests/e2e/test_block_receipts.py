"""Bob blocks alice and reads what she wrote before: she gets no receipt, and is shown it after the unblock."""

import asyncio
import uuid

import pytest

from deploy.local.stack import Stack
from tests.e2e.raw import call, rest_of, signed_in, text
from tests.sockets import Frame, Socket
from tidings.ids import direct_session

PATIENCE_S = 60.0


async def receipts_until(socket: Socket, session_id: str, read_seq: int) -> list[Frame]:
    """The receipts of a session, up to the first with this read_seq."""
    found: list[Frame] = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            frame = await socket.next()
            if frame["type"] == "receipt" and frame["session_id"] == session_id:
                found.append(frame)
                if frame["read_seq"] == read_seq:
                    return found


@pytest.mark.field_case("25")
async def test_blocked_author_gets_no_receipt(stack: Stack) -> None:
    run = uuid.uuid4().hex[:6]
    names = (f"alice-{run}", f"bob-{run}")
    session_id = direct_session(*names)
    async with (
        rest_of(stack, names[0], 0) as alice,
        rest_of(stack, names[1], 1) as bob,
        signed_in(stack, names[0]) as alices,
        signed_in(stack, names[1]) as bobs,
    ):
        for _ in range(3):
            await call(alice, "POST", "/v1/messages", **text(to=names[1]))
        assert (await bob.put(f"/v1/sessions/{session_id}/read", json={"seq": 1})).status_code == 200
        await receipts_until(alices, session_id, 1)
        assert (await bob.put(f"/v1/blocks/{names[0]}")).status_code == 204
        assert (await bob.put(f"/v1/sessions/{session_id}/read", json={"seq": 3})).status_code == 200
        # Bob's own device gets the receipt, so the stage receipts has processed it.
        await receipts_until(bobs, session_id, 3)
        await asyncio.sleep(5)  # PROTOCOL: the block holds at every gateway by now
        shown = (await alice.get(f"/v1/sessions/{session_id}")).json()
        assert shown["peer"] == {"user_id": names[1]}
        assert (await alice.get(f"/v1/sessions/{session_id}/messages/2/receipts")).json()["read"] == []
        assert (await bob.delete(f"/v1/blocks/{names[0]}")).status_code == 204
        await asyncio.sleep(5)
        shown = (await alice.get(f"/v1/sessions/{session_id}")).json()
        assert shown["peer"] == {"user_id": names[1], "delivered_seq": 3, "read_seq": 3}
        seq = (await call(alice, "POST", "/v1/messages", **text(to=names[1])))["seq"]
        assert (await bob.put(f"/v1/sessions/{session_id}/read", json={"seq": seq})).status_code == 200
        told = await receipts_until(alices, session_id, seq)
        assert [frame for frame in told if frame["user_id"] == names[1] and frame["read_seq"] == 3] == []
