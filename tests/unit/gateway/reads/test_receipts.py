"""Receipts of a message."""

import json

import pytest

from services.gateway.reads.build import build_reads
from tests.builders import message, segment, write_confirmed
from tidings.clock import SystemClock
from tidings.store.memory import MemoryStore
from tidings.store.rows import DeliveredRow, ReadRow, Row

SESSION = "d:alice:bob"


@pytest.mark.field_case("7")
async def test_a_reader_without_a_time_has_no_at() -> None:
    store = MemoryStore()
    claims: list[Row] = [DeliveredRow(SESSION, "bob", 1), ReadRow(SESSION, "bob", 1, 1, 0)]
    await write_confirmed(store, [segment(SESSION, 1, 1), message(SESSION, 1), *claims])
    reads = build_reads(store, SystemClock())
    member = await reads.memberships.check("alice", SESSION)
    assert json.loads(await reads.receipts.of_message(member, 1, "", 50))["read"] == [{"user_id": "bob"}]
