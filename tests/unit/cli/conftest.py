"""The program and its gateway."""

from functools import partial

import httpx2
import pytest

from cli import signing_in
from tests.unit.cli.gateway import Gateway
from tests.unit.cli.shell import Shell
from tidings_client import backoff
from tidings_client.rest import Rest


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    gateway = Gateway()
    monkeypatch.setattr(signing_in, "Rest", partial(Rest, transport=httpx2.MockTransport(gateway)))
    monkeypatch.setattr(backoff, "BASE_MS", 0)
    return gateway
