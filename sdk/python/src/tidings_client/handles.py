"""The application's handle of a message that it has sent."""

from __future__ import annotations

import asyncio

from tidings_client.effects import Status, StatusChanged
from tidings_client.errors import SendFailed, Stopped

_RANK = {Status.SENDING: 0, Status.SENT: 1, Status.DELIVERED: 2, Status.READ: 3}


class SentMessage:
    """A sent message and its `status`. `session_id`, `seq` and `message_id` are set once it is stored.

    `acked`, `delivered` and `read` wait for that status. They raise SendFailed if the message has failed, and Stopped
    if the client stops first. Cancelling a wait does not affect the message.
    """

    def __init__(self, client_msg_id: str) -> None:
        self.client_msg_id = client_msg_id
        self.status = Status.SENDING
        self.session_id: str | None = None
        self.seq: int | None = None
        self.message_id: str | None = None
        self._error: SendFailed | Stopped | None = None
        self._waiting: list[tuple[Status, asyncio.Future[None]]] = []

    async def acked(self) -> SentMessage:
        """Stored by a quorum."""
        return await self._reach(Status.SENT)

    async def delivered(self) -> SentMessage:
        """Held by a device of the peer (in a group: of any other member)."""
        return await self._reach(Status.DELIVERED)

    async def read(self) -> SentMessage:
        """Read by the peer (in a group: by any other member)."""
        return await self._reach(Status.READ)

    def moved(self, change: StatusChanged) -> None:
        """Called by the client when a message of this id changes its status. Only one message of an id is pending at
        a time, but an earlier one in another session may still become delivered or read."""
        if change.status in (Status.DELIVERED, Status.READ) and change.session_id != self.session_id:
            return
        self.status = change.status
        if change.status is Status.FAILED:
            self._error = SendFailed(self.client_msg_id, change.code or "unknown", change.reason or "")
        else:
            self._error = None
            self.session_id, self.seq, self.message_id = change.session_id, change.seq, change.message_id
        self._wake()

    def abandoned(self, error: Stopped) -> None:
        """Called by the client when it stops, because no status follows."""
        if self._error is None:
            self._error = error
        self._wake()

    async def _reach(self, status: Status) -> SentMessage:
        if not self._has_reached(status):
            if self._error is not None:
                raise self._error
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((status, future))
            await future
        return self

    def _has_reached(self, status: Status) -> bool:
        return _RANK.get(self.status, -1) >= _RANK[status]

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for status, future in waiting:
            if future.done():
                continue
            if self._has_reached(status):
                future.set_result(None)
            elif self._error is not None:
                future.set_exception(self._error)
            else:
                self._waiting.append((status, future))
