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
    answer: asyncio.Future[SendAck]


class WaitingCalls:
    """A bounded table by request name."""

    def __init__(self, limit: int) -> None:
        """At most `limit` at a time."""
        self._limit = limit
        self._numbers = itertools.count(1)
        self._answers: dict[str, asyncio.Future[SendAck]] = {}

    def open(self) -> Ticket:
        """Raises Refused(`unavailable`) when the table is full."""
        if len(self._answers) >= self._limit:
            raise Refused("unavailable", "too many messages wait for their answer here; try again")
        name = f"r{next(self._numbers):x}"
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        # It may be refused before anybody waits for it.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return Ticket(name, answer)

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
        """Nobody waits any more."""
        self._answers.pop(ticket.name, None)

    def acked(self, name: str, ack: SendAck) -> None:
        """The persister has stored it."""
        answer = self._answers.get(name)
        if answer is not None and not answer.done():
            answer.set_result(ack)

    def refused(self, name: str, refused: Refused) -> None:
        """The persister has refused it, or nobody knows."""
        answer = self._answers.get(name)
        if answer is not None and not answer.done():
            answer.set_exception(refused)
