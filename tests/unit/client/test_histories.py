"""A history read as a whole, over any pages and failures."""

import httpx2
import pytest

from tests.unit.client.devices import SESSION, numbered
from tests.unit.client.gateways import Answer, Gateway, Json
from tidings_client import ApiError, backoff
from tidings_client.frames import Message
from tidings_client.histories import Histories, ends_of, forward_pages
from tidings_client.rest import HistoryPage

HEAD = 7


def fields(one: Message) -> Json:
    return {name: value for name in one.__struct_fields__ if (value := getattr(one, name)) is not None}


def log(request: httpx2.Request) -> httpx2.Response:
    """A server with messages 3 to HEAD left, and pages of at most 3. `at` of a message is 10 times its seq."""
    asked = {name: int(value) for name, value in request.url.params.items()}
    left = [one for one in numbered(HEAD) if one.seq > 2]
    limit = min(asked["limit"], 3)
    if "after_seq" in asked or "at" in asked:
        found = [one for one in left if one.seq > asked.get("after_seq", 0) and 10 * one.seq >= asked.get("at", 0)]
        page, more = found[:limit], len(found) > limit
    else:
        found = [one for one in left if one.seq < asked.get("before_seq", HEAD + 1)]
        page, more = found[-limit:], len(found) > limit
    answer = {"messages": list(map(fields, page)), "head_seq": HEAD, "has_more": more, "purged_seq": 2}
    return httpx2.Response(200, json=answer)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BASE_MS", 0)


def of(*answers: Answer) -> Histories:
    return Histories(Gateway(*answers).rest.history)


@pytest.mark.parametrize("limit_per_page", [1, 2, 3, 200])
async def test_whole_history_is_read_in_both_directions(limit_per_page: int) -> None:
    whole = of(log)
    forwards = [one.seq async for one in whole.forwards(SESSION, limit_per_page=limit_per_page)]
    assert forwards == [3, 4, 5, 6, 7]
    assert [one.seq async for one in whole.backwards(SESSION, limit_per_page=limit_per_page)] == forwards[::-1]


async def test_parts_begin_at_a_seq_or_a_time() -> None:
    whole = of(log)
    assert [one.seq async for one in whole.forwards(SESSION, after_seq=5)] == [6, 7]
    assert [one.seq async for one in whole.forwards(SESSION, at=35, limit_per_page=2)] == [4, 5, 6, 7]
    assert [one.seq async for one in whole.forwards(SESSION, at=71)] == []
    assert [one.seq async for one in whole.backwards(SESSION, before_seq=5)] == [4, 3]


async def test_a_page_that_fails_temporarily_is_read_again() -> None:
    whole = of(log, 503, httpx2.ConnectError("no route"), log, 504, log)
    assert [one.seq async for one in whole.forwards(SESSION)] == [3, 4, 5, 6, 7]


async def test_a_refusal_ends_the_iteration() -> None:
    left = of(log, 404).backwards(SESSION)
    assert [(await anext(left)).seq for _ in range(3)] == [7, 6, 5]
    with pytest.raises(ApiError):
        await anext(left)


async def test_each_page_names_the_head() -> None:
    pages = [page async for page in forward_pages(Gateway(log).rest.history, SESSION)]
    assert [(len(page.messages), page.head_seq) for page in pages] == [(3, HEAD), (2, HEAD)]


async def test_an_empty_history_ends() -> None:
    empty: Json = {"messages": [], "head_seq": 0, "has_more": False}
    assert [one async for one in of(empty).forwards(SESSION)] == []
    assert [one async for one in of(empty).backwards(SESSION)] == []


@pytest.mark.parametrize(("purged_seq", "first", "had"), [(0, 1, 1), (0, 5, 5), (4, 5, 1), (3, 5, 5)])
def test_with_the_first_message_left_nothing_before_is_missing(purged_seq: int, first: int, had: int) -> None:
    page = HistoryPage(messages=tuple(numbered(3, first=first)), head_seq=9, purged_seq=purged_seq)
    assert ends_of(page) == (had, first + 2)
