"""The echo user: whoever writes to it gets the text back, delivered and read.

    python -m tidings_client.echo --url ws://127.0.0.1:8080 --dev-user echo

Each message is echoed exactly once, through crashes and restarts: the reply's id is made from the message
it answers, so that repeating it is safe, and the cursor passes a message only when its reply is stored.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from collections.abc import Sequence

from tidings_client.client import Client
from tidings_client.cursors import CursorStore, FileCursorStore
from tidings_client.errors import SendFailed
from tidings_client.frames import Message
from tidings_client.rest import http_url_of
from tidings_client.tokens import TokenProvider, development_tokens

DEVICE_ID = "echo"
REPLIES_AT_ONCE = 100
UNKNOWN_OUTCOME = ("timeout", "unavailable", "rate_limited")

log = logging.getLogger(__name__)


async def echo(client: Client) -> None:
    """Answers until the client stops (raises Stopped in an ExceptionGroup), or until a reply fails for
    reasons that may pass (SendFailed likewise): started again, it goes on with that message."""
    free = asyncio.Semaphore(REPLIES_AT_ONCE)
    async with asyncio.TaskGroup() as replies:
        async for message in client.messages(settle=False):
            if message.sender_id == client.user_id or message.kind == "system":
                client.settle(message)
                continue
            await free.acquire()
            client.mark_read(message.session_id, message.seq)
            replies.create_task(_answer(client, message)).add_done_callback(lambda _: free.release())


async def run(url: str, token: str | TokenProvider, cursors: CursorStore | None = None) -> None:
    """The echo user on a server, until it is cancelled or has to stop."""
    async with Client(url, token, device_id=DEVICE_ID, cursors=cursors) as client:
        await client.connected()
        log.info("%s echoes what is written to it", client.user_id)
        await echo(client)


async def _answer(client: Client, message: Message) -> None:
    """Only text comes back: an uploaded file belongs to its sender."""
    if message.kind == "text":
        try:
            reply = await client.send(
                message.text,
                session_id=message.session_id,
                reply_to=message.seq,
                client_msg_id=f"echo-{message.message_id}",
            )
            await reply.acked()
        except SendFailed as error:
            if error.code in UNKNOWN_OUTCOME:
                raise
            log.warning("%s/%d is not echoed: %s", message.session_id, message.seq, error)
    client.settle(message)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tidings_client.echo", description="Answers each message with its text.")
    parser.add_argument("--url", default=os.environ.get("TIDINGS_URL", "ws://127.0.0.1:8080"))
    parser.add_argument("--token", default=os.environ.get("TIDINGS_TOKEN"), help="a token that stays as it is")
    parser.add_argument("--dev-user", default="echo", help="without --token: ask the server, in development mode")
    parser.add_argument("--cursor", help="a file that keeps the place between runs; without it, all is looked at again")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    token = given.token or development_tokens(http_url_of(given.url), given.dev_user)
    asyncio.run(run(given.url, token, FileCursorStore(given.cursor) if given.cursor else None))


if __name__ == "__main__":
    main()
