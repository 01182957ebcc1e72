"""One user's one device in a process of its own: commands on standard input, what happens on standard output.

    python -m tests.e2e.person URL USER DEVICE DIRECTORY

Commands are JSON lines: {"do": "send", "to", "texts"}, {"do": "mark_read", "session_id", "seq"}, {"do": "session",
"session_id"}. Ends with the end of its input. The cursor is kept in DIRECTORY.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tidings_client import Client, FileCursorStore, LinkChanged, StatusChanged, WatermarksMoved, development_tokens


def tell(what: str, **details: Any) -> None:
    """One line on standard output."""
    sys.stdout.write(json.dumps({"event": what} | details) + "\n")
    sys.stdout.flush()


async def show_messages(client: Client) -> None:
    """Each message as it is handed to the application."""
    async for message in client.messages():
        tell(
            "message",
            session_id=message.session_id,
            seq=message.seq,
            sender_id=message.sender_id,
            client_msg_id=message.client_msg_id,
            text=message.text,
        )


async def show_events(client: Client) -> None:
    """Statuses, watermarks and the state of the connection."""
    async for event in client.events():
        match event:
            case StatusChanged():
                tell(
                    "status",
                    client_msg_id=event.client_msg_id,
                    status=str(event.status),
                    session_id=event.session_id,
                    seq=event.seq,
                    code=event.code,
                )
            case WatermarksMoved():
                tell(
                    "watermarks",
                    session_id=event.session_id,
                    user_id=event.user_id,
                    delivered_seq=event.delivered_seq,
                    read_seq=event.read_seq,
                )
            case LinkChanged():
                tell("link", link=str(event.link), code=event.code, reason=event.reason)


async def obey(client: Client, lines: asyncio.StreamReader) -> None:
    """One command after the other until the input ends."""
    while line := await lines.readline():
        command = json.loads(line)
        match command["do"]:
            case "send":
                for text in command["texts"]:
                    await client.send(text, to=command["to"])
            case "mark_read":
                client.mark_read(command["session_id"], command["seq"])
            case "session":
                session = await client.session(command["session_id"])
                tell(
                    "session",
                    head_seq=session.head.seq if session.head else 0,
                    unread=session.unread,
                    read_seq=session.read_seq,
                    delivered_seq=session.delivered_seq,
                    peer_delivered_seq=session.peer.delivered_seq if session.peer else 0,
                    peer_read_seq=session.peer.read_seq if session.peer else 0,
                )


async def main(url: str, user: str, device: str, directory: str) -> None:
    """Connect, tell, obey."""
    lines = asyncio.StreamReader(limit=2**22)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    cursors = FileCursorStore(Path(directory) / f"{user}-{device}.cursor")
    async with Client(url, development_tokens(url, user), device_id=device, cursors=cursors) as client:
        telling = [asyncio.create_task(show_messages(client)), asyncio.create_task(show_events(client))]
        await client.connected()
        tell("connected")
        await obey(client, lines)
        for task in telling:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
