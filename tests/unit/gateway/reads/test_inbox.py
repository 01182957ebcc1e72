"""Pages of an inbox: what they cost to read, and that they say the same however they are read."""

from collections.abc import Sequence

import orjson
import pytest
from structlog.testing import capture_logs

from services.gateway.protocol.limits import PAGE_BYTES
from services.gateway.reads.build import build_reads
from services.gateway.reads.inbox import InboxPage, InboxReads
from tests.builders import bucket, inbox_row, message, segment, write_confirmed
from tidings.clock import SystemClock
from tidings.errors import StoreUnavailable
from tidings.store.base import SessionSegment
from tidings.store.memory import MemoryStore
from tidings.store.rows import MessageRow, Row

GROUPS = [f"g:{number:032x}" for number in range(60)]
STORED = 64


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.bytes_read = 0

    async def messages(self, segment: SessionSegment, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        rows = await super().messages(segment, first_seq, last_seq)
        self.bytes_read += sum(len(row.body) for row in rows)
        return rows


async def added_to_many_groups(body: bytes) -> CountingStore:
    """A user's inbox has the last message of each group, alternately with those of a direct session."""
    store = CountingStore()
    rows: list[Row] = [bucket("bob", 0, 1), segment("d:alice:bob", 1, 1)]
    for number, name in enumerate(GROUPS):
        rows += [segment(name, 1, 1), *(message(name, seq, body=body) for seq in range(1, STORED + 1))]
        rows.append(inbox_row("bob", 2 * number + 1, session_id=name, seq=STORED))
        rows += [message("d:alice:bob", number + 1), inbox_row("bob", 2 * number + 2, seq=number + 1)]
    await write_confirmed(store, rows)
    return store


def reads(store: CountingStore) -> InboxReads:
    return build_reads(store, SystemClock(), pages_at_once=1).inbox


async def test_page_of_many_groups_reads_no_more_than_it_may_need() -> None:
    store = await added_to_many_groups(b'{"text": "%s"}' % (b"x" * 24_000))
    page = await reads(store).page("bob", 0, 200)
    assert 10 <= len(page.items) <= 2 * PAGE_BYTES // 24_000
    assert store.bytes_read < 30_000_000


async def test_a_page_of_many_groups_and_pairs_is_whole_and_in_order() -> None:
    store = await added_to_many_groups(b"{}")
    page = await reads(store).page("bob", 0, 200)
    assert [number for number, _ in page.items] == list(range(1, 2 * len(GROUPS) + 1))
    assert (page.next, page.tail) == (2 * len(GROUPS), 2 * len(GROUPS))


async def test_a_page_ends_before_what_cannot_be_read() -> None:
    store = await added_to_many_groups(b"{}")
    await write_confirmed(store, [inbox_row("bob", 2 * 40 + 1, session_id=GROUPS[40], seq=STORED + 9)])
    page = await reads(store).page("bob", 0, 200)
    assert [number for number, _ in page.items] == list(range(1, 2 * 40 + 1))


async def test_a_message_that_cassandra_lost_is_logged_and_not_skipped() -> None:
    """A row that is only late must not be missed, so a client waits; the operator learns the place."""
    store = CountingStore()
    rows: list[Row] = [bucket("bob", 0, 1), segment("d:alice:bob", 1, 1), message("d:alice:bob", 2)]
    await write_confirmed(store, [*rows, inbox_row("bob", 1), inbox_row("bob", 2)])
    with capture_logs() as logs, pytest.raises(StoreUnavailable):
        await reads(store).page("bob", 0, 10)
    (line,) = logs
    assert (line["log_level"], line["session_id"], line["seq"], line["inbox_seq"]) == ("error", "d:alice:bob", 1, 1)
    assert [item[0] for item in (await reads(store).page("bob", 1, 10)).items] == [2]


@pytest.mark.parametrize(
    ("kind", "body", "named"),
    [
        ("system", {"event": "members_added", "mode_to": "read"}, ["g:a"]),
        ("system", {"event": "group_created", "mode": "read"}, ["g:a"]),
        ("system", {"event": "members_added", "mode_to": "write"}, []),
        ("custom", {"mode": "read"}, []),
        ("text", {"text": '"mode":"read"'}, []),
    ],
)
def test_page_names_the_groups_that_are_read_from_their_log(kind: str, body: object, named: list[str]) -> None:
    content = orjson.dumps({"session_id": "g:a", "kind": kind, "body": body})
    assert InboxPage(0, [(1, content)], 1, 1, False).large_groups() == named
