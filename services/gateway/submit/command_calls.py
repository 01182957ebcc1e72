"""Commands of REST calls: submitted to Kafka, and answered by the persister."""

from services.gateway.submit.pending_calls import PendingCalls, Ticket
from services.gateway.submit.publisher import unavailable
from services.gateway.submit.submitter import Caller, Submitter
from tidings.wire.inbound_pb2 import Command
from tidings.wire.push_pb2 import SendAck


class CommandCalls:
    """Opens a pending call for each command, so that the push router can resolve it."""

    def __init__(self, submitter: Submitter, pending: PendingCalls) -> None:
        """Both are shared by the whole gateway."""
        self._submitter = submitter
        self._pending = pending

    async def begin(self, command: Command, weight: int) -> Ticket:
        """Publish a command of its sender, which counts as `weight` messages. Raises Refused: nothing was published."""
        ticket = self._pending.open(command.sender_id)
        caller = Caller(command.sender_id, ticket.name, None)
        try:
            await self._submitter.command(
                caller, command, weight, lambda: self._pending.refused(ticket.name, unavailable())
            )
        except BaseException:
            self._pending.forget(ticket)
            raise
        return ticket

    async def result(self, ticket: Ticket) -> SendAck:
        """The answer of the persister. Raises Refused, with `timeout` after 5 s."""
        return await self._pending.result(ticket)

    async def run(self, command: Command, weight: int) -> SendAck:
        """`begin`, then `result`."""
        return await self.result(await self.begin(command, weight))

    def wait_ms(self, user_id: str, messages: int) -> int:
        """The wait until so many more messages are accepted, after the waits of earlier refused calls."""
        return self._submitter.wait_ms(user_id, messages)
