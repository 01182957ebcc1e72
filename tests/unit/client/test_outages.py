"""An outage is logged once, and its end; a change of the connection is not."""

from contextlib import suppress

import pytest

from tests.unit.client.fake_server import Server, until
from tidings_client import Client, Link, LinkChanged, Stopped
from tidings_client.outages import Outages

pytestmark = pytest.mark.usefixtures("quick")
URL = "ws://127.0.0.1:9/v1/ws"  # the discard port, without a listener
LOST, TRYING, SIGNING, READY = (
    LinkChanged(Link.OFFLINE, None, "refused"),
    LinkChanged(Link.CONNECTING),
    LinkChanged(Link.SIGNING_IN),
    LinkChanged(Link.READY),
)
WARNED, BACK = f"no connection to {URL} (refused); trying again", f"connected to {URL}"


@pytest.mark.parametrize(
    ("links", "logged"),
    [
        ((TRYING, SIGNING, READY), []),
        ((TRYING, LOST, TRYING, LOST, TRYING, LOST), [WARNED]),
        ((TRYING, SIGNING, LOST), [WARNED]),
        ((READY, LOST, TRYING, SIGNING, READY), []),
        ((READY, LOST, TRYING, LOST, TRYING, SIGNING, READY, LOST, TRYING, LOST), [WARNED, BACK, WARNED]),
    ],
)
def test_an_outage_is_logged_once(
    caplog: pytest.LogCaptureFixture, links: tuple[LinkChanged, ...], logged: list[str]
) -> None:
    outages = Outages(URL)
    for link in links:
        outages.follow(link)
    assert caplog.messages == logged


async def test_a_client_without_a_server_says_so(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(URL, "alice")
    async with client:
        await until(lambda: bool(caplog.messages))
        await client.close()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"no connection to {URL} (")


async def test_a_client_with_a_server_logs_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with suppress(Stopped):
        async with Client(server.url, "alice") as client:
            await client.connected()
    assert [record for record in caplog.records if record.name.startswith("tidings_client")] == []
