"""Sends one message and waits until it has been read: python send_and_wait.py URL TOKEN TO TEXT"""

import asyncio
import sys

from tidings_client import Client


async def main(url: str, token: str, to: str, text: str) -> None:
    async with Client(url, token, device_id="sender") as client:
        sent = await client.send(text, to=to)
        for step in (sent.acked, sent.delivered, sent.read):
            await step()
            print(sent.session_id, sent.seq, step.__name__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
