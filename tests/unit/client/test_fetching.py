"""What the core asks for, read over REST."""

from typing import Any, cast

from tests.unit.client.gateways import Gateway, Json
from tidings_client.core import Core
from tidings_client.effects import Effect, Fetch, FetchHistory, FetchOwnMarks
from tidings_client.fetching import Fetcher, counts, watermarks


async def test_counts_are_read_up_to_the_first_reader() -> None:
    gateway = Gateway(
        {"delivered": ["b"], "read": [], "members": 9, "next": "b"},
        {"delivered": [], "read": [{"user_id": "c", "at": 5}], "members": 9, "next": "c"},
    )
    assert await counts(gateway.rest, "g:1", 3) == (1, 1)
    assert await counts(Gateway(503).rest, "g:1", 3) is None


async def test_watermarks_of_a_peer_that_blocks_the_user_are_absent() -> None:
    shown = {"d:alice:bob": {}, "d:alice:carol": {"delivered_seq": 2, "read_seq": 0}}
    listed = [
        {"session_id": name, "head": {"seq": 3}, "peer": {"user_id": name[8:], **marks}}
        for name, marks in shown.items()
    ]
    rest = Gateway({"sessions": listed, "next": None}).rest
    peers = [one.peer for one in (await rest.sessions()).sessions if one.peer]
    assert [(one.delivered_seq, one.read_seq) for one in peers] == [(None, None), (2, 0)]
    # Zero moves no status: what was shown does not go back.
    found = [marks async for marks in watermarks(rest, set(shown))]
    assert found == [("d:alice:bob", 0, 0), ("d:alice:carol", 2, 0)]


class NotingCore:
    """Keeps the arguments of its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def own_marks(self, *given: Any) -> list[Effect]:
        self.calls.append(given)
        return []

    history = own_marks


async def calls_of(asked: Fetch, answer: Json) -> list[tuple[Any, ...]]:
    core = NotingCore()
    fetcher = Fetcher(Gateway(answer).rest, cast(Core, core), lambda _: None, lambda: 5)
    await fetcher.answer(asked)
    return core.calls


async def test_own_marks_begin_with_the_first_message_left() -> None:
    session = {"session_id": "g:1", "delivered_seq": 3, "joined_seq": 2}
    asked = FetchOwnMarks(("g:1",))
    assert await calls_of(asked, session | {"purged_seq": 8}) == [(5, "g:1", 3, 9)]
    assert await calls_of(asked, session | {"purged_seq": 1}) == [(5, "g:1", 3, 2)]
    assert await calls_of(asked, session) == [(5, "g:1", 3, 2)]


async def test_history_of_purged_messages_says_where_it_begins() -> None:
    page = {"messages": [], "head_seq": 8, "has_more": False, "purged_seq": 8}
    assert await calls_of(FetchHistory("g:1", 3), page) == [(5, "g:1", (), False, 8)]
