"""A read mark is answered when the tables hold it, and no later read shows less (G8)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.gateway.submit.read_marks import MAX_OF_USER, WAIT_S, ReadMarks
from tests.deployments import Deployment, deployed
from tests.simulation.virtual_time import simulated
from tidings.errors import BrokerUnavailable, Refused
from tidings.store.rows import ReceiptRow
from tidings.wire.receipts_pb2 import Receipt

PLACE = ("d:alice:bob", "bob")
SESSION = "/v1/sessions/d:alice:bob"


class FakeTables:
    """The row of one user, whose mark is stored so long after it was published."""

    def __init__(self, read_seq: int, after_s: float | None) -> None:
        self.read_seq, self.after_s = read_seq, after_s
        self.reads = 0
        self.published: list[Receipt] = []
        self.failure: Exception | None = None

    async def watermarks(self, session_id: str, user_id: str) -> ReceiptRow:
        self.reads += 1
        return ReceiptRow(session_id, user_id, self.read_seq, self.read_seq)

    def watermark(self, receipt: Receipt) -> "asyncio.Future[int]":
        """As Publisher.watermark."""
        self.published.append(receipt)
        confirmed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.failure is not None:
            confirmed.set_exception(self.failure)
            return confirmed
        confirmed.set_result(1)
        if self.after_s is not None:
            asyncio.get_running_loop().call_later(self.after_s, self._store, receipt.read_seq)
        return confirmed

    def _store(self, read_seq: int) -> None:
        self.read_seq = max(self.read_seq, read_seq)


def marks_of(tables: Any, most: int = 10) -> ReadMarks:
    return ReadMarks(tables, tables.watermarks, most)


@pytest.mark.promise("G8")
@simulated
async def test_a_mark_is_answered_when_it_is_stored() -> None:
    tables = FakeTables(read_seq=2, after_s=0.3)
    assert (await marks_of(tables).move(*PLACE, 5)).read_seq == tables.read_seq == 5
    assert asyncio.get_running_loop().time() < 0.6
    assert tables.reads <= 6


@simulated
async def test_a_mark_that_is_stored_already_is_not_published() -> None:
    tables = FakeTables(read_seq=20, after_s=None)
    assert (await marks_of(tables).move(*PLACE, 5)).read_seq == 20
    assert (tables.reads, tables.published) == (1, [])


@simulated
async def test_a_mark_that_is_not_stored_times_out() -> None:
    tables = FakeTables(read_seq=2, after_s=None)
    assert await refusal(marks_of(tables), 5) == "timeout"
    assert asyncio.get_running_loop().time() == pytest.approx(WAIT_S)
    assert tables.reads < 30


@simulated
async def test_a_mark_that_the_log_does_not_take_is_unavailable() -> None:
    tables = FakeTables(read_seq=2, after_s=0)
    tables.failure = BrokerUnavailable("away")
    assert await refusal(marks_of(tables), 5) == "unavailable"


@simulated
async def test_waiting_marks_are_bounded() -> None:
    tables = FakeTables(read_seq=2, after_s=None)
    marks = marks_of(tables, most=2)
    codes = await asyncio.gather(*(refusal(marks, seq) for seq in (5, 6, 7)))
    assert sorted(codes) == ["timeout", "timeout", "unavailable"]
    tables.after_s = 0.1
    assert (await marks.move(*PLACE, 5)).read_seq == 5


@simulated
async def test_waiting_marks_of_one_user_are_few() -> None:
    tables = FakeTables(read_seq=2, after_s=None)
    marks = marks_of(tables, most=1_000)
    codes = await asyncio.gather(*(refusal(marks, seq) for seq in range(5, 105)))
    assert (codes.count("timeout"), codes.count("unavailable")) == (MAX_OF_USER, 100 - MAX_OF_USER)
    tables.after_s = 0.1
    assert (await marks.move(*PLACE, 5)).read_seq == 5


@simulated
async def test_equal_waiting_marks_are_one() -> None:
    tables = FakeTables(read_seq=2, after_s=None)
    codes = await asyncio.gather(*(refusal(marks, 5) for marks in [marks_of(tables)] for _ in range(100)))
    assert codes == ["timeout"] * 100
    assert len(tables.published) == 1
    # Each caller looks once, the one that waits for all about eleven times.
    assert tables.reads < 115


async def refusal(marks: ReadMarks, seq: int) -> str:
    with pytest.raises(Refused) as refused:
        await marks.move(*PLACE, seq)
    assert refused.value.is_retryable
    return refused.value.code


# -- through gateways --------------------------------------------------------------------------------


async def sent(there: Deployment, messages: int, sender: str = "alice") -> None:
    for number in range(messages):
        body = {"client_msg_id": f"{sender} {number}", "session_id": "d:alice:bob", "kind": "text"}
        status, _ = await there.call(sender, "POST", "/v1/messages", {**body, "body": {"text": "x"}})
        assert status == 201


@pytest.mark.promise("G8")
@pytest.mark.field_case("4")
async def test_after_a_put_no_gateway_shows_less(tmp_path: Path) -> None:
    async with deployed(tmp_path, gateways=2) as there:
        await sent(there, 20)
        for seq in (1, 7, 20):
            status, answer = await there.call("bob", "PUT", f"{SESSION}/read", {"seq": seq})
            assert (status, answer["read_seq"], answer["delivered_seq"]) == (200, seq, seq)
            for at in (0, 1):
                one = (await there.call("bob", "GET", SESSION, at=at))[1]
                [listed] = (await there.call("bob", "GET", "/v1/sessions", at=at))[1]["sessions"]
                for shown in (one, listed):
                    assert (shown["read_seq"], shown["delivered_seq"], shown["unread"]) == (seq, seq, 20 - seq)
                peer = (await there.call("alice", "GET", SESSION, at=at))[1]["peer"]
                assert peer == {"user_id": "bob", "delivered_seq": seq, "read_seq": seq}
        status, answer = await there.call("bob", "PUT", f"{SESSION}/read", {"seq": 5})
        assert (status, answer["read_seq"], answer["delivered_seq"]) == (200, 20, 20)


@pytest.mark.field_case("4")
async def test_without_receipts_a_put_times_out(tmp_path: Path) -> None:
    async with deployed(tmp_path, has_receipts=False) as there:
        await sent(there, 2)
        status, answer = await there.call("bob", "PUT", f"{SESSION}/read", {"seq": 2})
        assert (status, answer["code"], answer["retryable"]) == (504, "timeout", True)
        assert (await there.call("bob", "GET", SESSION))[1]["read_seq"] == 0
        # Nothing is unread below the first message of the session.
        assert (await there.call("bob", "PUT", "/v1/sessions/d:bob:carol/read", {"seq": 2}))[0] == 200


@pytest.mark.promise("G9")
@pytest.mark.field_case("5")
@pytest.mark.parametrize("has_receipts", [True, False])
async def test_own_last_message_counts_as_read_at_once(tmp_path: Path, *, has_receipts: bool) -> None:
    async with deployed(tmp_path, gateways=2, has_receipts=has_receipts) as there:
        await sent(there, 1)
        await sent(there, 1, "bob")
        wanted = [("bob", 0), ("alice", 1)]
        for number in range(2, 6):
            await unread_is(there, wanted)
            body = {"client_msg_id": f"later {number}", "session_id": "d:alice:bob", "kind": "text"}
            await there.call("alice", "POST", "/v1/messages", {**body, "body": {"text": "x"}})
            wanted = [("bob", number - 1), ("alice", 0)]
        await unread_is(there, wanted)


async def unread_is(there: Deployment, wanted: list[tuple[str, int]]) -> None:
    """At both gateways, in both calls."""
    for user_id, unread in wanted:
        for at in (0, 1):
            assert (await there.call(user_id, "GET", SESSION, at=at))[1]["unread"] == unread
            async with asyncio.timeout(5):
                # It is listed with its delivery, which comes in its own time.
                while not (  # noqa: ASYNC110 - what is waited for has no event
                    listed := (await there.call(user_id, "GET", "/v1/sessions", at=at))[1]["sessions"]
                ):
                    await asyncio.sleep(0.02)
            assert [one["unread"] for one in listed] == [unread]
