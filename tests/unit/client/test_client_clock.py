"""A whole client on a device whose clock is minutes or days off, against a server that judges ids by its own."""

import asyncio
import time
from pathlib import Path
from time import time as true_time

import pytest

from tests.unit.client.fake_server import DAY_MS, MINUTE_MS, Server, an_id, true_ms
from tests.unit.client.outboxes import opened_outbox, pending
from tidings_client import Client, FileOutbox, IdChanged
from tidings_client.drafts import Draft
from tidings_client.ids import uuid7_time_ms

pytestmark = pytest.mark.usefixtures("quick")
OFFS = [6 * MINUTE_MS, -6 * MINUTE_MS, 3 * DAY_MS, -100 * DAY_MS]


class DeviceClock:
    """The wall clock of the device, which the server does not share."""

    def __init__(self) -> None:
        self.off_ms = 0

    def __call__(self) -> float:
        return true_time() + self.off_ms / 1_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> DeviceClock:
    device = DeviceClock()
    monkeypatch.setattr(time, "time", device)
    return device


@pytest.mark.field_case("2")
@pytest.mark.parametrize("off_ms", OFFS)
async def test_messages_before_the_first_connection_are_sent(
    server: Server, clock: DeviceClock, off_ms: int, tmp_path: Path
) -> None:
    clock.off_ms = off_ms
    changed: list[str] = []
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        reading = asyncio.create_task(collect(alice, changed))
        early = [await alice.send(f"{n}", to="bob") for n in range(3)]
        await alice.connected()
        late = await alice.send("3", to="bob")
        for sent in [*early, late]:
            await sent.acked()
    assert server.texts() == ["0", "1", "2", "3"]
    stored = [message["client_msg_id"] for message in server.logs["d:alice:bob"][:3]]
    assert stored == [sent.client_msg_id for sent in early]
    await reading
    assert bool(changed) == (off_ms in (6 * MINUTE_MS, 3 * DAY_MS, -100 * DAY_MS))
    assert not set(server.sent_ids).intersection(changed)
    assert await pending(tmp_path / "outbox") == []


async def collect(client: Client, changed: list[str]) -> None:
    changed.extend([event.was async for event in client.events() if isinstance(event, IdChanged)])


@pytest.mark.field_case("2")
@pytest.mark.parametrize("off_ms", OFFS)
async def test_an_outbox_of_a_wrong_clock_ends_as_sent(
    server: Server, clock: DeviceClock, off_ms: int, tmp_path: Path
) -> None:
    clock.off_ms = off_ms
    path = tmp_path / "outbox"
    async with Client("ws://127.0.0.1:9", "alice", outbox=FileOutbox(path)) as offline:
        await offline.send("x", to="bob")
        await offline.close()
    clock.off_ms = 0
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        [unsent] = alice.unsent()
        await unsent.sent.acked()
        assert alice.unsent() == []
    assert server.texts() == ["x"]


@pytest.mark.field_case("2")
async def test_an_outbox_as_an_older_client_left_it_ends_as_sent(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    made = [an_id(6 * MINUTE_MS + n) for n in range(2)]
    async with opened_outbox(path) as older:
        await older.add([Draft(client_msg_id, "text", {"text": "x"}, to="bob") for client_msg_id in made])
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        for unsent in alice.unsent():
            await unsent.sent.acked()
    assert server.texts() == ["x", "x"]
    assert await pending(path) == []


@pytest.mark.field_case("2")
async def test_a_clock_set_right_in_the_process_is_followed(server: Server, clock: DeviceClock) -> None:
    clock.off_ms = DAY_MS
    async with asyncio.timeout(20), Client(server.url, "alice") as alice:
        await (await alice.send("0", to="bob")).acked()
        clock.off_ms = 0
        later = await alice.send("1", to="bob")
        await later.acked()
        assert abs((uuid7_time_ms(later.client_msg_id) or 0) - true_ms()) < MINUTE_MS
