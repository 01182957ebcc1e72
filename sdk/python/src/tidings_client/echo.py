"""The echo user: it marks each message as read and sends its text back.

    python -m tidings_client.echo --url ws://127.0.0.1:8080 --dev-user echo

Each message is echoed exactly once, also across crashes and restarts. The id of a reply is derived from the message
that it answers, so a repeat is stored once. The cursor passes a message only when its reply is stored.
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
    """Answer messages until the client stops or a reply fails for a temporary reason. Raises an ExceptionGroup with
    Stopped or SendFailed. After a restart it continues with the message that failed."""
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
    """Run the echo user on a server until it is cancelled or stops with an error."""
    async with Client(url, token, device_id=DEVICE_ID, cursors=cursors) as client:
        await client.connected()
        log.info("%s echoes each message that it receives", client.user_id)
        await echo(client)


async def _answer(client: Client, message: Message) -> None:
    """Answer text messages only, because an uploaded file belongs to its sender."""
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
            log.warning("%s/%d cannot be echoed: %s", message.session_id, message.seq, error)
    client.settle(message)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tidings_client.echo", description="Answers each message with its text.")
    parser.add_argument("--url", default=os.environ.get("TIDINGS_URL", "ws://127.0.0.1:8080"))
    parser.add_argument("--token", default=os.environ.get("TIDINGS_TOKEN"), help="a fixed token")
    parser.add_argument("--dev-user", default="echo", help="without --token: get tokens from a development server")
    parser.add_argument("--cursor", help="file that keeps the cursor between runs; without it each run reads all again")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    token = given.token or development_tokens(http_url_of(given.url), given.dev_user)
    asyncio.run(run(given.url, token, FileCursorStore(given.cursor) if given.cursor else None))


if __name__ == "__main__":
    main()
