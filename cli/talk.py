"""`tidings send` and `tidings tail`: for scripts, and for first steps."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import (
    DEFAULT_URL,
    AsUser,
    Session,
    Token,
    Url,
    client_msg_id,
    filled_file,
    seconds,
    session_id,
    user_id,
)
from cli.patience import GaveUp
from cli.screen_text import TICKS, content, line, say
from cli.signing_in import Account, LivePlace, signed_in
from cli.transfers import upload_image, upload_shown
from tidings_client import (
    Client,
    Complaint,
    CursorStore,
    FileCursorStore,
    Link,
    LinkChanged,
    MemoryCursorStore,
    Message,
    SentMessage,
    Status,
)
from tidings_client.composing import Address


class Until(StrEnum):
    """The event that `send` waits for."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    ANSWER = "answer"


_STEPS = {Until.SENT: 1, Until.DELIVERED: 2, Until.READ: 3, Until.ANSWER: 1}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `tail` prints. `session_id` empty: all sessions. `count`: the number of messages, 0 for no end."""

    session_id: str
    mark_read: bool
    count: int


@dataclass(frozen=True, slots=True)
class Content:
    """What `send` sends: a text, or a file as the kind image or file."""

    text: str
    path: Path | None
    kind: str


Attached = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, callback=filled_file, help="Upload this file and send it."),
]


def send(  # noqa: PLR0913 - each argument is an option of the verb
    sender: Annotated[str, typer.Option("--from", "--as", help="Your user id.", callback=user_id)],
    text: Annotated[str, typer.Argument(help="The text of the message.")] = "",
    to: Annotated[
        str, typer.Option("--to", help="The user to write to.", callback=lambda text: text and user_id(text))
    ] = "",
    session: Session = "",
    until: Annotated[
        Until,
        typer.Option(
            "--until", help="Wait until it is stored, delivered or read (in a group: by any member), or answered."
        ),
    ] = Until.SENT,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait for that.", callback=seconds)] = 20.0,
    message_id: Annotated[
        str,
        typer.Option(
            "--id",
            help="The message's client_msg_id. A message sent again with the same id is stored once.",
            callback=lambda text: text and client_msg_id(text),
        ),
    ] = "",
    image: Attached = None,
    file: Attached = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Send one message and print its status: ✓ sent, ✓✓ delivered, ✓✓ read. Give a text, --image or --file."""
    if sum(map(bool, (text, image, file))) != 1:
        raise typer.BadParameter("give one of them: a text, --image PATH or --file PATH")
    if bool(to) == bool(session):
        raise typer.BadParameter("give the recipient: either --to USER or --session g:<id>")
    address: Address = {"to": to} if to else {"session_id": session}
    if message_id:
        address["client_msg_id"] = message_id
    content = Content(text, image or file, "image" if image else "file")
    asyncio.run(_send(Account(url, sender, token), content, address, until, timeout_s))


async def _send(account: Account, content: Content, address: Address, until: Until, timeout_s: float) -> None:
    place = LivePlace()
    async with signed_in(account, f"send-{os.getpid()}", place, from_live=True) as client:
        if until is Until.ANSWER:
            await place.fixed()
        answers = client.messages() if until is Until.ANSWER else None
        sent = await _sent(client, content, address)
        try:
            async with asyncio.timeout(timeout_s):
                await _follow(sent, _STEPS[until])
                if answers is not None:
                    await _print_answer(answers, sent, account.user)
        except TimeoutError:
            raise GaveUp(_unfinished(sent, until, timeout_s)) from None


async def _sent(client: Client, content: Content, address: Address) -> SentMessage:
    if content.path is None:
        return await client.send(content.text, **address)
    upload = upload_image if content.kind == "image" else upload_shown
    uploaded = await upload(client.media, content.path)
    return await client.send_body(content.kind, uploaded.body(), **address)


async def _follow(sent: SentMessage, steps: int) -> None:
    """Print each status as it is reached."""
    await sent.acked()
    say(f"{TICKS[Status.SENT]} sent  {sent.session_id} #{sent.seq}  message {sent.message_id}")
    if steps >= 2:
        await sent.delivered()
        say(f"{TICKS[Status.DELIVERED]} delivered")
    if steps >= 3:
        await sent.read()
        say(TICKS[Status.READ])


async def _print_answer(answers: AsyncIterator[Message], sent: SentMessage, me: str) -> None:
    async for message in answers:
        if message.session_id == sent.session_id and message.sender_id != me and message.seq > (sent.seq or 0):
            say(f"{message.sender_id}: {content(message)}")
            return


def _unfinished(sent: SentMessage, until: Until, timeout_s: float) -> str:
    if sent.status is Status.SENDING:
        return (
            f"no ack within {timeout_s:g} s, so it is unknown whether the message is stored. The same command with"
            f" --id {sent.client_msg_id} stores it once in any case. See `make status`"
        )
    return f"the message is stored ({sent.status}), but there was no {until} within {timeout_s:g} s"


def tail(  # noqa: PLR0913 - each argument is an option of the verb
    user: AsUser,
    cursor: Annotated[
        Path | None, typer.Option("--cursor", help="A file that keeps the place, from which the next run continues.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Without a place, begin with the oldest message instead of the next one.")
    ] = False,
    read: Annotated[
        bool,
        typer.Option("--read", help="Mark printed messages as read, up to the first gap."),
    ] = False,
    session: Annotated[
        str,
        typer.Option(
            "--session",
            help="Print this session only: d:<a>:<b> or g:<id>.",
            callback=lambda text: text and session_id(text),
        ),
    ] = "",
    count: Annotated[int, typer.Option("--count", help="End after so many messages; 0: never.", min=0)] = 0,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Print every message of a user's sessions (or of one session) as it arrives, once and in order. Ctrl-C ends it."""
    cursors = FileCursorStore(cursor) if cursor else MemoryCursorStore()
    # A cursor belongs to a device. Without a cursor several runs may be active at once, each as its own device.
    device = "tail" if cursor else f"tail-{os.getpid()}"
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_tail(Account(url, user, token), device, cursors, not everything, Wanted(session, read, count)))


async def _tail(account: Account, device: str, cursors: CursorStore, from_live: bool, wanted: Wanted) -> None:
    async with signed_in(account, device, cursors, from_live=from_live) as client:
        printing = asyncio.create_task(_print_problems(client))
        try:
            await _print_messages(client, wanted)
        finally:
            printing.cancel()


async def _print_messages(client: Client, wanted: Wanted) -> None:
    printed = 0
    async for message in client.messages():
        if wanted.session_id not in ("", message.session_id):
            continue
        say(line(message))
        if wanted.mark_read:
            client.mark_read(message.session_id, message.seq)
        printed += 1
        if printed == wanted.count:
            return


async def _print_problems(client: Client) -> None:
    """Print problems on stderr, so that a pipe holds only messages."""
    async for event in client.events():
        if isinstance(event, Complaint):
            say(f"{event.code}: {event.message}", is_aside=True)
        if isinstance(event, LinkChanged) and event.link is Link.OFFLINE:
            say(f"connection lost ({event.reason}); trying again", is_aside=True)
