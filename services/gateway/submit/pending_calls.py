"""REST messages that wait for the answer of the persister."""

import asyncio
import itertools
from dataclasses import dataclass

from tidings.errors import Refused
from tidings.wire.push_pb2 import SendAck

WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """An entry of the table. The command's origin carries its `name`."""

    name: str
    user_id: str
    answer: asyncio.Future[SendAck]


class PendingCalls:
    """A bounded table by request name."""

    def __init__(self, limit: int) -> None:
        """At most `limit` calls wait at the same time."""
        self._limit = limit
        self._numbers = itertools.count(1)
        self._tickets: dict[str, Ticket] = {}

    def open(self, user_id: str) -> Ticket:
        """Add an entry for a command of this user. Raises Refused(`unavailable`) if the table is full."""
        if len(self._tickets) >= self._limit:
            raise Refused("unavailable", "too many messages wait for an answer at this gateway; retry")
        name = f"r{next(self._numbers):x}"
        answer: asyncio.Future[SendAck] = asyncio.get_running_loop().create_future()
        # Marks the exception as retrieved, because a command may be refused before `result` is called.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        ticket = self._tickets[name] = Ticket(name, user_id, answer)
        return ticket

    async def result(self, ticket: Ticket) -> SendAck:
        """Wait for the ack. Raises Refused, with `timeout` after 5 s."""
        try:
            async with asyncio.timeout(WAIT_S):
                return await ticket.answer
        except TimeoutError:
            text = "no answer within 5 s, so the outcome is unknown; retry with the same client_msg_id"
            raise Refused("timeout", text) from None
        finally:
            self.forget(ticket)

    def forget(self, ticket: Ticket) -> None:
        """Remove the entry, because its caller no longer waits."""
        self._tickets.pop(ticket.name, None)

    def user_of(self, name: str) -> str | None:
        """The user whose command waits under this name, if there is one."""
        ticket = self._tickets.get(name)
        return ticket.user_id if ticket is not None else None

    def acked(self, name: str, ack: SendAck) -> None:
        """The persister has stored the command."""
        ticket = self._tickets.get(name)
        if ticket is not None and not ticket.answer.done():
            ticket.answer.set_result(ack)

    def refused(self, name: str, refused: Refused) -> None:
        """The persister has refused the command, or its outcome is unknown."""
        ticket = self._tickets.get(name)
        if ticket is not None and not ticket.answer.done():
            ticket.answer.set_exception(refused)
