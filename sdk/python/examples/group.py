"""Creates a group, sends a message to it, and lists its members: python group.py URL TOKEN NAME MEMBER…"""

import asyncio
import sys

from tidings_client import Client


async def main(url: str, token: str, name: str, *members: str) -> None:
    async with Client(url, token, device_id="group") as client:
        group = await client.groups.create(name, members)
        sent = await client.send("welcome", session_id=group.session_id)
        await sent.acked()
        print(sent.session_id, sent.seq)
        async for member in client.groups.members(group.session_id):
            print(member.user_id, member.role)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
