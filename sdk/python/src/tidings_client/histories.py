"""Reads a whole history page by page. A page that fails temporarily is read again, as other repeated calls are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from functools import partial
from typing import Protocol, TypedDict, Unpack

from tidings_client.frames import Message
from tidings_client.rest import HistoryPage, repeated

PAGE = 200  # PROTOCOL


class Bounds(TypedDict, total=False):
    """The part of a history. At most one of the first three: below a seq, above a seq, or the first messages of a time
    (ms) or later."""

    before_seq: int | None
    after_seq: int | None
    at: int | None
    limit: int


class ReadPage(Protocol):
    """`Client.history` or `Rest.history`."""

    def __call__(self, session_id: str, **bounds: Unpack[Bounds]) -> Awaitable[HistoryPage]: ...


class Histories:
    """Every message of a session, one by one. Raises ApiError and Unreachable if a page cannot be read."""

    def __init__(self, read: ReadPage) -> None:
        self._read = read

    async def forwards(
        self, session_id: str, *, after_seq: int = 0, at: int | None = None, limit_per_page: int = PAGE
    ) -> AsyncIterator[Message]:
        """Ascending, above `after_seq` or from a time (ms) on, up to the newest message."""
        async for page in forward_pages(
            self._read, session_id, after_seq=after_seq, at=at, limit_per_page=limit_per_page
        ):
            for message in page.messages:
                yield message

    async def backwards(
        self, session_id: str, *, before_seq: int | None = None, limit_per_page: int = PAGE
    ) -> AsyncIterator[Message]:
        """Newest first, below `before_seq` or from the newest message on, down to the first one."""
        while True:
            page = await repeated(partial(self._read, session_id, before_seq=before_seq, limit=limit_per_page))
            for message in reversed(page.messages):
                yield message
            if not page.messages or not page.has_more:
                return
            before_seq = page.messages[0].seq


async def forward_pages(
    read: ReadPage, session_id: str, *, after_seq: int = 0, at: int | None = None, limit_per_page: int = PAGE
) -> AsyncIterator[HistoryPage]:
    """The pages of `Histories.forwards`, at least one. Each has the head of its time."""
    bounds: Bounds = {"limit": limit_per_page, "after_seq": None if at is not None else after_seq, "at": at}
    while True:
        page = await repeated(partial(read, session_id, **bounds))
        yield page
        if not page.messages or not page.has_more:
            return
        bounds = {"limit": limit_per_page, "after_seq": page.messages[-1].seq}


def ends_of(page: HistoryPage) -> tuple[int, int]:
    """The first and last seq that a device has had with this page. With the first message that is left it has had all
    before it."""
    first = page.messages[0].seq
    return (1 if first == page.purged_seq + 1 else first), page.messages[-1].seq
