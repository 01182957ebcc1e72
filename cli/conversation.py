"""A conversation in the terminal: from the client to the screen and back."""

import asyncio
import os
import time

from cli.chat_screen import ChatScreen
from cli.chat_view import ChatView
from cli.screen_text import visible
from cli.signing_in import Account, LivePlace, signed_in
from tidings_client import Client, HistoryPage, IdChanged, LinkChanged, StatusChanged, WatermarksMoved, peer_of

HISTORY = 100
LOOK_BACK_PAGES = 10  # of messages that no device of the user has received yet: 1,000 messages


async def converse(account: Account, session_id: str) -> None:
    """Talk in this terminal until the user leaves."""
    place = LivePlace()
    async with signed_in(account, f"chat-{os.getpid()}", place, from_live=True) as client:
        talk = Conversation(client, ChatView(account.user, session_id))
        await place.fixed()
        await talk.run()


class Conversation:
    """Passes messages and statuses from the client to the screen, and typed lines to the client."""

    def __init__(self, client: Client, view: ChatView) -> None:
        self._client = client
        self._view = view
        other = peer_of(view.session_id, client.user_id) or view.session_id
        self._screen = ChatScreen(view, visible(f"{client.user_id} and {other}"), self._say)
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until the user leaves. Raises Stopped if the client stops before."""
        reading = [asyncio.create_task(self._read_messages()), asyncio.create_task(self._read_events())]
        for task in reading:
            task.add_done_callback(self._stop_on_error)
        try:
            await self._look_back()
            await self._screen.run()
        finally:
            for task in (*reading, *self._sending):
                task.cancel()

    async def _look_back(self) -> None:
        """Show earlier messages and the peer's watermarks. Another task already reads new messages."""
        page = await self._client.history(self._view.session_id, limit=HISTORY)
        self._view.add(page.messages)
        session = await self._client.session(self._view.session_id)
        await self._fetch_undelivered(page, session.delivered_seq)
        if session.peer is not None:
            self._view.peer_has(session.peer.delivered_seq or 0, session.peer.read_seq or 0)
        self._mark_read()

    async def _fetch_undelivered(self, page: HistoryPage, delivered_seq: int) -> None:
        """Fetch back to messages that some device has received, because all messages up to now are marked as read."""
        for _ in range(LOOK_BACK_PAGES):
            if not page.has_more or page.messages[0].seq <= delivered_seq + 1:
                return
            before = page.messages[0].seq
            page = await self._client.history(self._view.session_id, before_seq=before, limit=HISTORY)
            self._view.add(page.messages)

    async def _read_messages(self) -> None:
        async for message in self._client.messages():
            if message.session_id == self._view.session_id:
                self._view.add([message])
                self._mark_read()
                self._screen.refresh()

    async def _read_events(self) -> None:
        async for event in self._client.events():
            match event:
                case StatusChanged():
                    self._view.change(event)
                case IdChanged(was=was, client_msg_id=client_msg_id):
                    self._view.change_id(was, client_msg_id)
                case WatermarksMoved() if event.session_id == self._view.session_id:
                    if event.user_id != self._client.user_id:
                        self._view.peer_has(event.delivered_seq, event.read_seq)
                case LinkChanged():
                    self._screen.link = event.link.value
            self._screen.refresh()

    def _mark_read(self) -> None:
        if self._view.last_seq:
            self._client.mark_read(self._view.session_id, self._view.last_seq)

    def _say(self, text: str) -> None:
        task = asyncio.create_task(self._send(text))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        task.add_done_callback(self._stop_on_error)

    async def _send(self, text: str) -> None:
        sent = await self._client.send(text, session_id=self._view.session_id)
        self._view.compose(sent.client_msg_id, text, time.time_ns() // 1_000_000, sent.status)
        self._screen.refresh()

    def _stop_on_error(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._screen.stop(error)
