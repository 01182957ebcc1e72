"""The states of a connection: the table is total, and each transition is the one that is meant."""

import itertools
from typing import get_args

import pytest

from services.gateway.protocol.connection import _TABLE, Connection
from services.gateway.protocol.connection_state import State
from services.gateway.protocol.frames import Frame, Malformed
from tests.unit.gateway.protocol.client import hello, opened, receive


def connection(*steps: str) -> Connection:
    made = opened()
    for step in steps:
        match step:
            case "hello":
                receive(made, hello())
            case "live":
                made.went_live(7, {}, 0)
            case "resync":
                made.announce_again(0)
            case "replaced":
                made.replaced()
    return made


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ((), State.NEW),
        (("hello",), State.SIGNED_IN),
        (("hello", "hello"), State.SIGNED_IN),
        (("hello", "live"), State.LIVE),
        (("hello", "live", "hello"), State.LIVE),
        (("hello", "live", "resync"), State.SIGNED_IN),
        (("hello", "live", "resync", "live"), State.LIVE),
        (("live",), State.NEW),
        (("replaced",), State.CLOSING),
        (("hello", "replaced", "live"), State.CLOSING),
        (("hello", "live", "replaced", "resync", "hello"), State.CLOSING),
    ],
)
def test_transitions(steps: tuple[str, ...], state: State) -> None:
    assert connection(*steps).state is state


def test_each_state_has_a_handler_for_every_frame() -> None:
    frames = {*get_args(Frame), Malformed}
    assert {state: set(handlers) for state, handlers in _TABLE.items()} == {
        State.NEW: frames,
        State.SIGNED_IN: frames,
        State.LIVE: frames,
        State.CLOSING: set(),
    }


def test_closing_is_the_end() -> None:
    for steps in itertools.permutations(("hello", "live", "resync"), 2):
        assert connection("hello", "replaced", *steps).state is State.CLOSING


@pytest.mark.parametrize("frame", ["send", "sync", "ack", "read", "ping", "pong"])
def test_a_frame_before_hello_is_fatal(frame: str) -> None:
    made = connection()
    made.received(f'{{"type":"{frame}","after":1,"session_id":"d:a:b","seq":1,"id":1}}', 0, 0)
    assert made.state is State.CLOSING
    assert made.closing is not None
