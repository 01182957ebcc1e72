"""The same message several times at once, through several doors (G2)."""

import asyncio
import uuid

import pytest

from deploy.local.stack import Stack
from tests.e2e.phone import Phone, connected
from tests.e2e.raw import call, rest_of, text
from tests.e2e.tables import tables_of
from tests.sockets import Frame
from tests.waiting import becomes, until
from tidings.ids import direct_session
from tidings.store import history
from tidings_client import SentMessage

MESSAGES = 20


@pytest.mark.promise("G2")
async def test_a_message_sent_three_times_at_once_has_one_seq(stack: Stack) -> None:
    run = uuid.uuid4().hex[:8]
    alice, bob = f"alice-{run}", f"bob-{run}"
    phones = [Phone(stack, alice, "phone"), Phone(stack, alice, "laptop", ordinal=1)]
    async with connected(phones), rest_of(stack, alice, 1) as rest, rest_of(stack, bob) as bobs:
        stored: list[tuple[str, int, str, int]] = []
        for number in range(MESSAGES):
            message = text(f"{number}", client_msg_id=f"same-{number}", to=bob)
            sends = [_acked(phone, message) for phone in phones]
            by_rest, *by_phones = await asyncio.gather(call(rest, "POST", "/v1/messages", **message), *sends)
            assert {(one.seq, one.message_id) for one in by_phones} == {(by_rest["seq"], by_rest["message_id"])}
            stored.append((f"same-{number}", by_rest["seq"], by_rest["message_id"], by_rest["at"]))
        assert [seq for _, seq, _, _ in stored] == list(range(1, MESSAGES + 1))

        async with tables_of(stack) as store:
            rows = await history.read_range(store, direct_session(alice, bob), 1, 1_000, 1_000)
        assert [(row.client_msg_id, row.seq, str(row.message_id), row.at) for row in rows] == stored
        await until(lambda: all(len(phone.messages) >= MESSAGES for phone in phones), "both devices have everything")
        for phone in phones:
            assert [(one.client_msg_id, one.seq, one.message_id, one.at) for one in phone.messages] == stored

        async def inbox() -> list[tuple[str, int, str, int]]:
            messages = [item["message"] for item in (await bobs.get("/v1/inbox")).json()["items"]]
            return [(one["client_msg_id"], one["seq"], one["message_id"], one["at"]) for one in messages]

        await becomes(inbox, stored)


async def _acked(phone: Phone, message: Frame) -> SentMessage:
    sent = await phone.client.send(message["body"]["text"], to=message["to"], client_msg_id=message["client_msg_id"])
    return await sent.acked()
