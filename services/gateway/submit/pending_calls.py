"""REST messages that wait for the answer of the persister."""

import asyncio
import itertools
from dataclasses import dataclass

from tidings.errors import Refused
from tidings.wire.push_pb2 import SendAck

WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the table: `name` travels in the command's origin."""

    name: str
    user_id: str
    answer: asyncio.Future[SendAck]


class PendingCalls:
    """A bounded table by request name."""

    def __init__(self, limit: int) -> None:
        """At most `limit` at a time."""
        self._limit = limit
        self._numbers = itertools.count(1)
        self._tickets: dict[str, Ticket] = {}

    def open(self, user_id: str) -> Ticket:
        """For a command of this user. Raises Refused(`unavailable`) when the table is full."""
        if len(self._tickets) >= self._limit:
            raise Refused("unavailable", "too many messages wait for their answer here; try again")
        name = f"r{next(self._numbers):x}"
        answer: asyncio.Future[SendAck] = asyncio.get_running_loop().create_future()
        # It may be refused before anybody waits for it.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        ticket = self._tickets[name] = Ticket(name, user_id, answer)
        return ticket

    async def result(self, ticket: Ticket) -> SendAck:
        """The ack; raises Refused, with `timeout` after 5 s."""
        try:
            async with asyncio.timeout(WAIT_S):
                return await ticket.answer
        except TimeoutError:
            text = "no answer within 5 s; the outcome is unknown, try again with the same client_msg_id"
            raise Refused("timeout", text) from None
        finally:
            self.forget(ticket)

    def forget(self, ticket: Ticket) -> None:
        """Close the place: no caller waits any more."""
        self._tickets.pop(ticket.name, None)

    def user_of(self, name: str) -> str | None:
        """Whose command waits under this name, if one does."""
        ticket = self._tickets.get(name)
        return ticket.user_id if ticket is not None else None

    def acked(self, name: str, ack: SendAck) -> None:
        """The persister has stored it."""
        ticket = self._tickets.get(name)
        if ticket is not None and not ticket.answer.done():
            ticket.answer.set_result(ack)

    def refused(self, name: str, refused: Refused) -> None:
        """The persister has refused it, or its outcome is unknown."""
        ticket = self._tickets.get(name)
        if ticket is not None and not ticket.answer.done():
            ticket.answer.set_exception(refused)
