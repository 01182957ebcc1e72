"""Read marks of REST calls. The answer is sent when the mark is stored, so that no later read shows less (G8)."""

import asyncio
from collections.abc import Awaitable, Callable

from services.gateway.submit.publisher import Publisher, unavailable
from tidings.errors import BrokerUnavailable, Refused
from tidings.store.rows import ReceiptRow
from tidings.wire.receipts_pb2 import Receipt

# The same time as for other calls that wait for Kafka (PROTOCOL).
WAIT_S = 5.0
# The receipts service gathers for up to 250 ms. With these waits a mark that takes so long is found by the fourth read.
_FIRST_LOOK_S = 0.04
_LOOK_EVERY_S = 1.0
# Waiting marks of one user. Equal marks share an entry, and a client that reads on does not need the earlier answers.
MAX_OF_USER = 8

# Returns the stored watermarks of a user in a session, or zeros. Raises StoreUnavailable.
ReadWatermarks = Callable[[str, str], Awaitable[ReceiptRow]]


class ReadMarks:
    """The number of waiting marks is bounded, because each reads a row about eleven times within 5 s."""

    def __init__(self, publisher: Publisher, watermarks: ReadWatermarks, max_waiting: int) -> None:
        """`watermarks` is called until its result covers the mark."""
        self._publisher = publisher
        self._watermarks = watermarks
        self._max_waiting = max_waiting
        # By user, place and seq.
        self._waiting: dict[str, dict[tuple[str, int], asyncio.Task[ReceiptRow]]] = {}
        self._count = 0

    async def move(self, session_id: str, user_id: str, read_seq: int) -> ReceiptRow:
        """Store a read mark, and return the stored watermarks. A mark that is stored already is not published.

        Raises Refused: `timeout` after 5 s, and `unavailable` if Kafka does not confirm the mark or too many wait.
        """
        waiting = self._waiting.get(user_id, {})
        task = waiting.get((session_id, read_seq))
        if task is None:
            stored = await self._watermarks(session_id, user_id)
            if stored.read_seq >= read_seq:
                return stored
            task = self._begin(session_id, user_id, read_seq)
        # Shielded, because a cancelled caller must not cancel the wait of others.
        return await asyncio.shield(task)

    def _begin(self, session_id: str, user_id: str, read_seq: int) -> "asyncio.Task[ReceiptRow]":
        waiting = self._waiting.get(user_id, {})
        place = (session_id, read_seq)
        if place in waiting:
            return waiting[place]
        if self._count >= self._max_waiting or len(waiting) >= MAX_OF_USER:
            raise Refused("unavailable", "too many read marks wait for an answer at this gateway; retry")
        self._waiting[user_id] = waiting
        task = waiting[place] = asyncio.create_task(self._stored(session_id, user_id, read_seq))
        self._count += 1

        def is_done(done: "asyncio.Task[ReceiptRow]") -> None:
            self._count -= 1
            del waiting[place]
            if not waiting and self._waiting.get(user_id) is waiting:
                del self._waiting[user_id]
            if not done.cancelled():
                done.exception()

        task.add_done_callback(is_done)
        return task

    async def _stored(self, session_id: str, user_id: str, read_seq: int) -> ReceiptRow:
        try:
            async with asyncio.timeout(WAIT_S):
                await self._publish(Receipt(session_id=session_id, user_id=user_id, read_seq=read_seq))
                return await self._until_stored(session_id, user_id, read_seq)
        except TimeoutError:
            text = "the read mark was not stored within 5 s and may be stored later; repeat the call to check"
            raise Refused("timeout", text) from None

    async def _publish(self, receipt: Receipt) -> None:
        try:
            await self._publisher.watermark(receipt)
        except BrokerUnavailable:
            raise unavailable() from None

    async def _until_stored(self, session_id: str, user_id: str, read_seq: int) -> ReceiptRow:
        wait_s = _FIRST_LOOK_S
        while True:
            await asyncio.sleep(wait_s)
            stored = await self._watermarks(session_id, user_id)
            if stored.read_seq >= read_seq:
                return stored
            wait_s = min(1.5 * wait_s, _LOOK_EVERY_S)
