"""Fixtures of all tiers: real servers, started when the first test asks for them."""

import atexit
import os
import signal
from collections.abc import Iterator
from types import FrameType

import hypothesis
import pytest

from deploy.local.stack import SERVERS_ONLY, Stack
from tests.servers import Stacks, remove_leftovers

# A busy machine makes single examples slow; that says nothing about the code.
hypothesis.settings.register_profile("tidings", deadline=None)
hypothesis.settings.load_profile("tidings")


@pytest.fixture(scope="session")
def stacks(request: pytest.FixtureRequest) -> Iterator[Stacks]:
    """Makes stacks (`stacks.make(name, counts, env)`); all are gone at the end, also after a failure or a signal."""
    remove_leftovers()
    stacks = Stacks()
    atexit.register(_remove_in, os.getpid(), stacks)
    before = signal.signal(signal.SIGTERM, _interrupt)  # pytest ends its fixtures on an interrupt, not on SIGTERM
    yield stacks
    signal.signal(signal.SIGTERM, before)
    stacks.remove(keep_logs=request.session.testsfailed > 0)


@pytest.fixture(scope="session")
def servers(stacks: Stacks) -> Stack:
    """One Kafka (`servers.bootstrap`) and one Cassandra (127.0.0.1, `servers.ports.cassandra`), empty and ready."""
    stack = stacks.make("servers", SERVERS_ONLY)
    stack.up()
    return stack


def _remove_in(pid: int, stacks: Stacks) -> None:
    """At exit, but not at that of a forked child."""
    if os.getpid() == pid:
        stacks.remove(keep_logs=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
