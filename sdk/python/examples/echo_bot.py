"""Answers each message with its text: python echo_bot.py URL TOKEN. (`tidings_client.echo` also survives crashes.)"""

import asyncio
import sys

from tidings_client import Client


async def main(url: str, token: str) -> None:
    async with Client(url, token, device_id="bot", from_live=True) as client:
        async for message in client.messages():
            if message.sender_id != client.user_id:
                # `even_unseen` also marks messages from before the connection as read.
                client.mark_read(message.session_id, message.seq, even_unseen=True)
                await client.send(message.text, session_id=message.session_id, reply_to=message.seq)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
