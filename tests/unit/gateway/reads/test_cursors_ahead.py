"""Reads after a cursor that is above the tail or the head (ADR 25)."""

import json

import pytest

from services.gateway.reads.build import build_reads
from services.gateway.reads.inbox import InboxReads
from services.gateway.reads.sessions import HistoryRange
from tests.builders import bucket, inbox_row, message, segment, write_confirmed
from tidings.clock import SystemClock
from tidings.store.memory import MemoryStore

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
    return build_reads(store, SystemClock()).inbox


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


@pytest.mark.field_case("3")
async def test_history_after_a_seq_above_the_head_says_so() -> None:
    store = await stored(3)
    reads = build_reads(store, SystemClock())
    member = await reads.memberships.check("bob", SESSION)
    head = await reads.sessions.head(SESSION)
    ahead = json.loads(await reads.sessions.page(member, HistoryRange(None, 10, 50), head))
    assert ahead == {"messages": [], "head_seq": 3, "has_more": False, "ahead": True}
    assert "ahead" not in json.loads(await reads.sessions.page(member, HistoryRange(None, 3, 50), head))
