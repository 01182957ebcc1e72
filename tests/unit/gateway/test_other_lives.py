"""Cursors and acks above the tail, and the name of the deployment: what the gateway answers (ADR 25)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.protocol.effects import CheckAck, MoveWatermark, ReadInbox
from services.gateway.reads.inbox import InboxReads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.receipts import ReceiptReads
from services.gateway.reads.sessions import HistoryRange, SessionReads
from tests.contract.store.making import bucket, inbox_row, message, segment, write_confirmed
from tests.unit.gateway.protocol.test_connection import MESSAGE, hello, only, opened, receive, sent, signed_in
from tidings.clock import SystemClock
from tidings.store.deployment import MOST_RESTORES, Deployment
from tidings.store.memory import MemoryStore
from tidings.store.rows import DeliveredRow, ReadRow

SESSION = "d:alice:bob"
FAR = 1_000_000


async def stored(count: int) -> MemoryStore:
    """Bob's inbox has so many messages of alice."""
    store = MemoryStore()
    seqs = range(1, count + 1)
    rows = [message(SESSION, seq) for seq in seqs] + [inbox_row("bob", seq) for seq in seqs]
    await write_confirmed(store, [bucket("bob", 0, 1), segment(SESSION, 1, 1), *rows])
    return store


def inbox_of(store: MemoryStore) -> InboxReads:
    return InboxReads(store, MessageReads(store, SystemClock(), 0), 1)


def test_welcome_names_the_deployment() -> None:
    named = Deployment("b", "a", 7, (7,)).fields()
    connection = opened(deployment=named)
    receive(connection, hello())
    assert only(connection)["deployment"] == {"id": "b", "origin": "a", "since": 7, "restored": [7]}


def test_a_restore_keeps_the_origin_and_all_times() -> None:
    first = Deployment.new("a", 1)
    assert first.fields() == {"id": "a", "origin": "a", "since": 1}
    again = first.after_restore("b", 5).after_restore("c", 9)
    assert again == Deployment("c", "a", 9, (5, 9))
    for at_ms in range(200):
        again = again.after_restore("d", at_ms)
    assert len(again.restored) == MOST_RESTORES


def test_each_set_of_tables_in_memory_has_a_name() -> None:
    assert MemoryStore().deployment.id != MemoryStore().deployment.id


# -- acks ------------------------------------------------------------------------------------------


def live(tail: int, **rules: Any) -> Any:
    connection = signed_in(**rules)
    connection.went_live(tail, {}, 0)
    sent(connection)
    return connection


@pytest.mark.field_case("3")
def test_an_ack_above_the_tail_counts_up_to_the_tail() -> None:
    connection = live(3)
    (effect,) = receive(connection, {"type": "ack", "inbox_seq": FAR, "ref": "r"})
    assert effect == CheckAck(FAR, "r")
    connection.ack_checked(FAR, 3, "r")
    answer = only(connection)
    assert (answer["code"], answer["fatal"], answer["ref"]) == ("cursor_ahead", False, "r")
    connection.deliver(4, MESSAGE, 0)
    sent(connection)
    connection.ticked(5_000)
    assert only(connection)["inbox_seq"] == 4  # not acknowledged before it was made


def test_ack_of_a_message_from_another_source_counts() -> None:
    connection = live(3)
    (effect,) = receive(connection, {"type": "ack", "inbox_seq": 5})
    connection.deliver(4, MESSAGE, 0)
    connection.ack_checked(5, 5, None)
    connection.deliver(5, MESSAGE, 0)
    sent(connection)
    connection.ticked(5_000)
    assert sent(connection) == []
    assert effect == CheckAck(5, None)


def test_ack_of_a_pushed_inbox_seq_reads_nothing() -> None:
    connection = live(3)
    assert receive(connection, {"type": "ack", "inbox_seq": 3}) == []
    connection.deliver(4, MESSAGE, 0)
    assert receive(connection, {"type": "ack", "inbox_seq": 4}) == []
    place = {"session_id": "d:alice:bob", "seq": 2}
    effects = receive(connection, {"type": "ack", "inbox_seq": 9, "delivered": [place]})
    assert [type(effect) for effect in effects] == [CheckAck, MoveWatermark]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=20))
def test_no_ack_covers_a_delivery_made_after_it_failed(steps: list[tuple[bool, int]]) -> None:
    connection, made, acked = live(0), 0, 0
    for is_push, number in steps:
        if is_push:
            made += 1
            connection.deliver(made, MESSAGE, 0)
        else:
            for effect in receive(connection, {"type": "ack", "inbox_seq": number}):
                assert isinstance(effect, CheckAck)
                connection.ack_checked(effect.inbox_seq, made, None)
            acked = max(acked, min(number, made))
    sent(connection)
    connection.ticked(5_000)
    assert [frame["inbox_seq"] for frame in sent(connection)] == list(range(acked + 1, made + 1))


def test_heartbeat_is_not_below_the_last_push() -> None:
    connection = live(3)
    connection.deliver(4, MESSAGE, 0)
    sent(connection)
    connection.beat(3, {})
    assert only(connection)["inbox_seq"] == 4


# -- pages -----------------------------------------------------------------------------------------


@pytest.mark.promise("G7")
@pytest.mark.field_case("3")
async def test_a_page_after_a_cursor_above_the_tail_says_so() -> None:
    page = await inbox_of(await stored(3)).page("bob", FAR, 200)
    wanted = {"after": FAR, "items": [], "next": 3, "tail": 3, "more": False, "truncated": False, "ahead": True}
    assert page.fields() == wanted


@pytest.mark.field_case("3")
async def test_any_cursor_is_ahead_of_an_empty_inbox() -> None:
    page = await inbox_of(MemoryStore()).page("bob", 1, 200)
    assert (page.is_ahead, page.next, page.tail) == (True, 0, 0)
    assert "ahead" not in (await inbox_of(MemoryStore()).page("bob", 0, 200)).fields()


async def test_cursor_at_the_last_push_is_not_ahead() -> None:
    inbox = inbox_of(await stored(3))
    page = await inbox.page("bob", 4, 200, pushed=4)
    assert (page.is_ahead, page.next, page.tail) == (False, 4, 3)
    assert (await inbox.page("bob", 5, 200, pushed=4)).is_ahead


def test_a_sync_is_asked_of_the_tables() -> None:
    assert receive(live(3), {"type": "sync", "after": FAR}) == [ReadInbox(FAR, 200, None)]


@pytest.mark.field_case("3")
async def test_history_after_a_seq_above_the_head_says_so() -> None:
    store = await stored(3)
    memberships = Memberships(store)
    sessions = SessionReads(store, MessageReads(store, SystemClock(), 0), memberships)
    member = await memberships.check("bob", SESSION)
    ahead = json.loads(await sessions.page(member, HistoryRange(None, 10, 50), 3))
    assert ahead == {"messages": [], "head_seq": 3, "has_more": False, "ahead": True}
    assert "ahead" not in json.loads(await sessions.page(member, HistoryRange(None, 3, 50), 3))


@pytest.mark.field_case("7")
async def test_a_reader_without_a_time_has_no_at() -> None:
    store = await stored(1)
    await write_confirmed(store, [DeliveredRow(SESSION, "bob", 1), ReadRow(SESSION, "bob", 1, 1, 0)])
    memberships = Memberships(store)
    receipts = ReceiptReads(store, memberships)
    member = await memberships.check("alice", SESSION)
    assert json.loads(await receipts.of_message(member, 1, "", 50))["read"] == [{"user_id": "bob"}]
