"""REST calls that wait for their answer."""

import pytest

from services.gateway.submit.pending_calls import PendingCalls
from tidings.errors import Refused


async def test_waiting_calls_are_bounded_and_answered_ones_forgotten() -> None:
    waiting = PendingCalls(1)
    ticket = waiting.open("alice")
    assert (waiting.user_of(ticket.name), waiting.user_of("another")) == ("alice", None)
    with pytest.raises(Refused, match="unavailable"):
        waiting.open("alice")
    waiting.refused(ticket.name, Refused("conflict", "other content"))
    with pytest.raises(Refused, match="conflict"):
        await waiting.result(ticket)
    waiting.forget(waiting.open("alice"))
    waiting.open("alice")
