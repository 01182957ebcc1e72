"""Prints every message: python tail.py URL TOKEN [CURSOR_FILE]. With a file it resumes where it stopped."""

import asyncio
import sys

from tidings_client import Client, FileCursorStore


async def main(url: str, token: str, cursor_file: str | None = None, *, count: int | None = None) -> None:
    cursors = FileCursorStore(cursor_file) if cursor_file else None
    async with Client(url, token, device_id="tail", cursors=cursors) as client:
        async for message in client.messages():
            print(message.session_id, message.seq, message.sender_id, message.text or message.body)
            count = count - 1 if count else None
            if count == 0:
                return


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
