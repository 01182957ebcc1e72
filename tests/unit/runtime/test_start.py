"""Starting with servers that are away: it waits, it is cut short by a signal, and what can never be is refused."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cassandra import AuthenticationFailed
from cassandra.cluster import NoHostAvailable

from services.fanout import service as fanout
from services.fanout.settings import FanoutSettings
from services.gateway import service as gateway
from services.gateway.settings import GatewaySettings, HttpSettings, MediaSettings, TokenSettings
from services.persister import service as persister
from services.persister.settings import PersisterSettings
from services.receipts import service as receipts
from services.receipts.settings import ReceiptsSettings
from tests.waiting import until
from tidings import topics
from tidings.broker.memory import MemoryBroker
from tidings.errors import BrokerUnavailable, ConfigurationError
from tidings.media.memory import MemoryMediaStore
from tidings.runtime.health import Health, serve_admin
from tidings.runtime.listeners import bound, listen
from tidings.runtime.settings import KafkaSettings, ProcessSettings
from tidings.runtime.start import ServerAway, StoppedEarly, patiently, patiently_for, started, unless
from tidings.store.cassandra_cluster import refusal_of
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.memory import MemoryStore

KAFKA = KafkaSettings(session_partitions=2, user_partitions=2, push_partitions=2)
SOON_S = 5.0


class Silent:
    """A part whose server never answers; the broker's other parts are those of the memory adapter."""

    def __init__(self) -> None:
        self.is_stopped = False

    async def start(self, *_: object) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.is_stopped = True


class Refusing(Silent):
    """A part whose server refuses each connection."""

    async def start(self, *_: object) -> None:
        raise BrokerUnavailable("connection refused")


class BrokerWithout(MemoryBroker):
    """The memory broker, with one kind of parts whose server does not answer."""

    def __init__(self, kind: str, part: Callable[[], Silent]) -> None:
        super().__init__()
        setattr(self, kind, lambda *_: part())


def settings_of_gateway(tmp_path: Path, port: int = 0) -> GatewaySettings:
    return GatewaySettings(
        process=ProcessSettings(development=True),
        http=HttpSettings(http_port=port),
        tokens=TokenSettings(dev_key_file=str(tmp_path / "dev.key")),
        kafka=KAFKA,
    )


def works(tmp_path: Path) -> dict[str, Callable[..., Awaitable[None]]]:
    return {
        "gateway": lambda *rest: gateway.serve(settings_of_gateway(tmp_path), *rest, objects=MemoryMediaStore()),
        "persister": lambda *rest: persister.serve(PersisterSettings(kafka=KAFKA), *rest),
        "fanout": lambda *rest: fanout.serve(FanoutSettings(kafka=KAFKA), *rest),
        "receipts": lambda *rest: receipts.serve(ReceiptsSettings(kafka=KAFKA), *rest),
    }


@pytest.mark.field_case("43b")
@pytest.mark.parametrize("part", [Silent, Refusing])
@pytest.mark.parametrize("kind", ["admin", "producer", "reader", "group_consumer"])
@pytest.mark.parametrize("service", ["gateway", "persister", "fanout", "receipts"])
async def test_a_signal_ends_a_service_that_waits_for_the_log(
    service: str, kind: str, part: Callable[[], Silent], tmp_path: Path
) -> None:
    broker, stopping = BrokerWithout(kind, part), asyncio.Event()
    await MemoryBroker.admin(broker).create_topics(topics.declared(KAFKA.sizes()), 1)
    serving = asyncio.ensure_future(works(tmp_path)[service](broker, MemoryStore(), Health(), stopping))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not serving.done()
    stopping.set()
    async with asyncio.timeout(SOON_S):
        await asyncio.wait([serving])
    error = serving.exception()
    assert error is None or isinstance(error, StoppedEarly)


async def test_gateway_removes_uploads_of_a_killed_one(tmp_path: Path) -> None:
    """Photos that a killed gateway has not stripped yet."""
    left = tmp_path / "uploads" / "process-killed" / "image"
    left.parent.mkdir(parents=True)
    left.touch()
    media = MediaSettings(upload_dir=str(tmp_path / "uploads"))
    settings = settings_of_gateway(tmp_path).model_copy(update={"media": media})
    broker, stopping = BrokerWithout("producer", Silent), asyncio.Event()
    await MemoryBroker.admin(broker).create_topics(topics.declared(KAFKA.sizes()), 1)
    serving = asyncio.ensure_future(
        gateway.serve(settings, broker, MemoryStore(), Health(), stopping, objects=MemoryMediaStore())
    )
    await until(lambda: not left.exists())
    stopping.set()
    async with asyncio.timeout(SOON_S):
        await asyncio.wait([serving])
    assert isinstance(serving.exception(), StoppedEarly)
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_a_part_that_is_cut_off_is_stopped() -> None:
    stopping, part = asyncio.Event(), Silent()
    asyncio.get_running_loop().call_soon(stopping.set)
    with pytest.raises(StoppedEarly):
        async with started(part, stopping=stopping):
            pytest.fail("it never starts")
    assert part.is_stopped


async def test_unless_raises_errors_of_its_block() -> None:
    with pytest.raises(TimeoutError):
        async with unless(asyncio.Event()):
            raise TimeoutError
    async with unless(asyncio.Event()):
        await asyncio.sleep(0)


async def test_patience_outlasts_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [BrokerUnavailable("no"), BrokerUnavailable("no"), 7]

    async def attempt() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr("tidings.runtime.start.asyncio.sleep", at_once)
    assert await patiently(attempt, "a server") == 7


@pytest.mark.parametrize("part", [Silent, Refusing])
async def test_bounded_patience_names_the_server_and_ends(part: Callable[[], Silent]) -> None:
    with pytest.raises(ServerAway, match=r"Kafka did not answer within 0\.05 s"):
        async with started(part(), patience=patiently_for(0.05), server="Kafka"):
            pytest.fail("it never starts")


@pytest.mark.field_case("43")
def test_a_data_centre_that_is_not_there_is_refused() -> None:
    config = CassandraConfig(local_dc="dc9")
    unreachable = NoHostAvailable("nobody", [])
    assert "TIDINGS_CASSANDRA_LOCAL_DC='dc9'" in refusal_of(unreachable, {"datacenter1"}, config)
    assert not refusal_of(unreachable, set(), config)  # no node has answered: it may come
    assert not refusal_of(unreachable, {"dc9", "datacenter1"}, config)
    assert not refusal_of(NoHostAvailable("nobody", {}), {"dc9"}, config)


def test_credentials_that_are_refused_are_named() -> None:
    config = CassandraConfig()
    refused = AuthenticationFailed("Failed to authenticate to 10.0.0.1: bad credentials")
    for error in (refused, NoHostAvailable("nobody", {"10.0.0.1": refused, "10.0.0.2": OSError("refused")})):
        assert "TIDINGS_CASSANDRA_PASSWORD" in refusal_of(error, {"datacenter1"}, config)
    heals = AuthenticationFailed("Unable to perform authentication: Cannot achieve consistency level LOCAL_ONE")
    assert not refusal_of(heals, {"datacenter1"}, config)


async def test_a_port_in_use_names_the_variables(tmp_path: Path) -> None:
    taken = bound("127.0.0.1", 0, "")
    listen(taken, "")
    port = taken.getsockname()[1]
    with pytest.raises(ConfigurationError, match=f"TIDINGS_ADMIN_PORT: 127.0.0.1:{port}"):
        async with serve_admin("127.0.0.1", port, Health()):
            pytest.fail("the port is taken")
    settings = settings_of_gateway(tmp_path, port)
    servers = (BrokerWithout("admin", Silent), MemoryStore(), Health(), asyncio.Event())
    with pytest.raises(ConfigurationError, match=f"TIDINGS_HTTP_PORT: 127.0.0.1:{port}"):
        await gateway.serve(settings, *servers, objects=MemoryMediaStore())
    taken.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "256.1.1.1", "a" * 70])
def test_an_address_that_is_not_ours_names_the_variables(host: str) -> None:
    with pytest.raises(ConfigurationError, match="TIDINGS_HTTP_HOST"):
        bound(host, 0, "TIDINGS_HTTP_HOST")


def test_one_of_two_bound_sockets_can_listen() -> None:
    first = bound("127.0.0.1", 0, "A")
    second = bound("127.0.0.1", first.getsockname()[1], "B")
    listen(first, "A")
    with pytest.raises(ConfigurationError, match=r"^B:"):
        listen(second, "B")
    assert isinstance(first, socket.socket)
    first.close()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----\nnonsense\n"])
async def test_keys_that_cannot_be_read_are_refused_before_servers(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "public.pem"
    if content is not None:
        file.write_bytes(content)
    settings = GatewaySettings(tokens=TokenSettings(keys_file=str(file)), kafka=KAFKA)
    with pytest.raises(ConfigurationError, match="TIDINGS_TOKEN_KEYS_FILE"):
        gateway.check_settings(settings)
    servers = (BrokerWithout("admin", Silent), MemoryStore(), Health(), asyncio.Event())
    with pytest.raises(ConfigurationError, match="TIDINGS_TOKEN_KEYS_FILE"):
        await gateway.serve(settings, *servers, objects=MemoryMediaStore())
