"""The same message several times at once, through several doors (G2)."""

import asyncio
import uuid

import httpx2
import pytest

from deploy.local.stack import Stack
from tests.e2e.raw import post_until_stored, rest_of, send_until_acked, signed_in
from tests.e2e.tables import tables_of
from tests.sockets import PATIENCE_S, Frame
from tidings.ids import direct_session
from tidings.store import history

MESSAGES = 20


@pytest.mark.promise("G2")
async def test_a_message_sent_three_times_at_once_has_one_seq(stack: Stack) -> None:
    run = uuid.uuid4().hex[:8]
    alice, bob = f"alice-{run}", f"bob-{run}"
    async with (
        signed_in(stack, alice, "phone", 0) as phone,
        signed_in(stack, alice, "laptop", 1) as laptop,
        rest_of(stack, alice, 1) as rest,
        rest_of(stack, bob) as bobs,
    ):
        stored: list[tuple[str, int]] = []
        for number in range(MESSAGES):
            message = {"client_msg_id": f"same-{number}", "to": bob, "kind": "text", "body": {"text": f"{number}"}}
            frame = {"type": "send"} | message
            answers = await asyncio.gather(
                send_until_acked(phone, frame), send_until_acked(laptop, frame), post_until_stored(rest, message)
            )
            assert len({(answer["seq"], answer["message_id"], answer["at"]) for answer in answers}) == 1, answers
            stored.append((f"same-{number}", answers[0]["seq"]))

        async with tables_of(stack) as store:
            rows = await history.read_range(store, direct_session(alice, bob), 1, 1_000, 1_000)
        assert [(row.client_msg_id, row.seq) for row in rows] == stored
        assert [seq for _, seq in stored] == list(range(1, MESSAGES + 1))
        inbox = await _inbox(bobs)
        assert [(item["message"]["client_msg_id"], item["message"]["seq"]) for item in inbox] == stored


async def _inbox(http: httpx2.AsyncClient) -> list[Frame]:
    """What is in it once fanout has come that far."""
    items: list[Frame] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(items) < MESSAGES:
            items = (await http.get("/v1/inbox")).json()["items"]
    return items
