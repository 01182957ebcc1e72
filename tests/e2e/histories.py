"""Whole histories as the SDK reads them, held against rows."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from deploy.local.stack import Stack
from tidings.codec import KIND_NAMES
from tidings.store.rows import MessageRow
from tidings_client import HistoryPage, Message, development_tokens
from tidings_client.histories import Histories
from tidings_client.rest import Rest
from tidings_client.tokens import Tokens

_KINDS = {int(kind): name for kind, name in KIND_NAMES.items()}


@asynccontextmanager
async def sdk_of(stack: Stack, user_id: str, ordinal: int = 0) -> AsyncIterator[Rest]:
    """The SDK's REST client of a user."""
    rest = Rest(stack.url(ordinal), Tokens(development_tokens(stack.url(ordinal), user_id)))
    try:
        yield rest
    finally:
        await rest.close()


def as_message(row: MessageRow) -> Message:
    """A stored message as clients get it."""
    return Message(
        message_id=str(row.message_id),
        session_id=row.session_id,
        seq=row.seq,
        sender_id=row.sender_id,
        client_msg_id=row.client_msg_id,
        at=row.at,
        kind=_KINDS[row.kind],
        body=json.loads(row.body),
        reply_to=row.reply_to,
        mentions=row.mentions,
    )


async def check_history(rest: Rest, rows: Sequence[MessageRow], page: int, newer: Sequence[Message] = ()) -> None:
    """The user reads exactly these messages of one session, forwards and backwards, by pages of this size.

    `newer`: messages after those rows.
    """
    session_id, wanted = rows[0].session_id, [*map(as_message, rows), *newer]
    histories = Histories(rest.history)
    forwards = [one async for one in histories.forwards(session_id, limit_per_page=page)]
    assert forwards == wanted, differing(forwards, wanted)
    backwards = [one async for one in histories.backwards(session_id, limit_per_page=page)]
    assert backwards == wanted[::-1], differing(backwards, wanted[::-1])


async def page_at(rest: Rest, session_id: str, at_ms: int, limit: int = 10) -> HistoryPage:
    """The page that begins at a time."""
    return await rest.history(session_id, at=at_ms, limit=limit)


def differing(found: Sequence[Message], wanted: Sequence[Message]) -> str:
    """What differs first."""
    for one, other in zip(found, wanted, strict=False):
        if one != other:
            return f"{one} instead of {other}"
    return f"{len(found)} instead of {len(wanted)} messages"
