"""`tidings history`: the messages of a session, from any time on."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

import typer

from cli.arguments import DEFAULT_URL, AsUser, OneSession, Token, Url, moment_ms
from cli.screen_text import day_and_time, line, say
from cli.signing_in import Account, asking
from tidings_client import Message
from tidings_client.histories import Histories, ReadPage
from tidings_client.rest import repeated


def history(
    user: AsUser,
    session: OneSession,
    at_ms: Annotated[
        int | None,
        typer.Option(
            "--at",
            help="Begin with the first message of this time or later, as ISO 8601. Without an offset it is local time.",
            metavar="TIME",
            parser=moment_ms,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="Print so many messages.", min=1)] = 50,
    everything: Annotated[bool, typer.Option("--all", help="Print all messages, without a limit.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Print the newest messages of a session, or those from a time on. The oldest one comes first."""
    asyncio.run(_history(Account(url, user, token), session, at_ms, None if everything else limit))


async def _history(account: Account, session: str, at_ms: int | None, limit: int | None) -> None:
    printed = 0
    async with asking(account) as calls:
        async for message in _messages(calls.sessions.history, session, at_ms, limit):
            say(line(message, day_and_time))
            printed += 1
            if printed == limit:
                return
    if not printed:
        say("no messages")


async def _messages(read: ReadPage, session: str, at_ms: int | None, limit: int | None) -> AsyncIterator[Message]:
    """From the time on, or the newest `limit` messages, or all, ascending."""
    after_seq = 0
    if at_ms is None and limit is not None:
        # Seqs have no gaps, so the head gives the seq where the newest ones begin.
        page = await repeated(partial(read, session, limit=1))
        after_seq = max(0, page.head_seq - limit)
    async for message in Histories(read).forwards(session, after_seq=after_seq, at=at_ms):
        yield message
