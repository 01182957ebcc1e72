"""`tidings sessions` and `tidings receipts`: a user's sessions, and the readers of a message."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer

from cli.arguments import DEFAULT_URL, AsUser, Token, Url, session_id
from cli.screen_text import clock, day_and_time, say
from cli.signing_in import Account, Calls, asking
from tidings_client import ReceiptPage, Session

MAX_PAGE = 200  # PROTOCOL


def sessions(
    user: AsUser,
    limit: Annotated[int, typer.Option("--limit", help="So many, newest activity first.", min=1)] = 50,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """List a user's sessions with their unread counts, newest activity first.

    A group has (write) or (read) behind it. In write diffusion each member's inbox gets a row for each message. Large
    groups have read diffusion: members read the group's log.
    """
    asyncio.run(_sessions(Account(url, user, token), limit))


async def _sessions(account: Account, limit: int) -> None:
    async with asking(account) as calls:
        listed = await _newest(calls, limit)
    for session in listed:
        say(described(session))
    if not listed:
        say("no sessions")


async def _newest(calls: Calls, limit: int) -> Sequence[Session]:
    """The newest sessions. A single page is the list at one moment. Sessions can move between pages, so several
    pages are complete only if all are read (PROTOCOL, *the list while it moves*)."""
    page = await calls.sessions.sessions(min(limit, MAX_PAGE))
    if page.next is None or len(page.sessions) >= limit:
        return page.sessions[:limit]
    return (await calls.sessions.all_sessions())[:limit]


def described(session: Session) -> str:
    """One line: the unread count, the session, and its newest message."""
    unread = f"{session.unread} unread" if session.unread else ""
    name = f" {session.name}" if session.name else ""
    kind = f" ({session.mode})" if session.session_kind == "group" and session.mode else ""
    head = session.head
    if head is None:
        return f"{unread:<12} {session.session_id}{name}{kind}"
    at = f"{day_and_time(head.at)} " if head.at is not None else ""
    # Without a sender only the place of the newest message is left (PROTOCOL, Retention).
    said = f" {head.sender_id}: {head.preview or ''}" if head.sender_id is not None else ""
    return f"{unread:<12} {session.session_id}{name}{kind}  {at}#{head.seq}{said}"


def receipts(
    user: AsUser,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="d:<a>:<b> or g:<id>.", callback=session_id)],
    seq: Annotated[int, typer.Argument(help="The message's seq.", min=1)],
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """List the users that have read or received a message. For its author and a group's admins."""
    asyncio.run(_receipts(Account(url, user, token), session, seq))


async def _receipts(account: Account, session: str, seq: int) -> None:
    read, received, members = 0, 0, 0
    async with asking(account) as calls:
        async for page in _pages(calls, session, seq):
            for reader in page.read:
                say(f"read       {f'{clock(reader.at)} ' if reader.at is not None else ''}{reader.user_id}")
            readers = {reader.user_id for reader in page.read}
            for user_id in page.delivered:
                if user_id not in readers:
                    say(f"delivered  {user_id}")
            read, received, members = read + len(readers), received + len(readers.union(page.delivered)), page.members
    say(f"{read} read, {received} received, of {members} members besides the author")


async def _pages(calls: Calls, session: str, seq: int) -> AsyncIterator[ReceiptPage]:
    after: str | None = None
    while True:
        page = await calls.sessions.receipts(session, seq, after)
        yield page
        if page.next is None or page.next == after:
            return
        after = page.next
