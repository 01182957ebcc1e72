"""`python -m deploy.local.embedded`: the four services and the echo user in one process that keeps nothing.

The log and the tables are the memory adapters; everything else is the same code as in the real stack. For a first
look on a machine without Java, and for working on clients.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.ports import is_free, ports_asked
from deploy.local.probes import HOST
from deploy.local.stack import DEFAULT_RUN_DIR
from deploy.local.welcome import print_first_steps, print_table
from services.fanout import service as fanout
from services.fanout.settings import FanoutSettings
from services.gateway import service as gateway
from services.gateway.settings import GatewaySettings, HttpSettings, TokenSettings
from services.persister import service as persister
from services.persister.settings import PersisterSettings
from services.receipts import service as receipts
from services.receipts.settings import ReceiptsSettings
from tidings import metric_series
from tidings.broker.base import Broker
from tidings.broker.memory import MemoryBroker
from tidings.clock import SystemClock
from tidings.media.base import MediaStore
from tidings.media.memory import MemoryMediaStore
from tidings.runtime.health import Health, serve_admin
from tidings.runtime.initialise import initialise
from tidings.runtime.lifecycle import run_service
from tidings.runtime.loop_lag import measuring
from tidings.runtime.settings import KafkaSettings, ProcessSettings
from tidings.runtime.start import started
from tidings.store.base import Store
from tidings.store.memory import MemoryStore
from tidings_client import development_tokens
from tidings_client.echo import run as run_echo

WORKERS: Mapping[str, tuple[Callable[..., Coroutine[Any, Any, None]], Callable[..., Any]]] = {
    "persister": (persister.serve, PersisterSettings),
    "fanout": (fanout.serve, FanoutSettings),
    "receipts": (receipts.serve, ReceiptsSettings),
}
BANNER = """
  EMBEDDED: all services run in this one process, with broker and tables in memory.
  Nothing is kept: all messages are lost when it ends. For real servers: make run (needs JDK 17 and Maven).
  The verbs of operators (tidings init, seed, dlq, archive) need those.
"""


def main() -> None:
    """Entry point. Reads PORT_BASE, GATEWAY_PORT, GATEWAY_ADMIN_PORT and RUN_DIR as the real stack does."""
    ports = ports_asked(os.environ)
    taken = [port for port in (ports.gateway, ports.gateway_admin) if not is_free(port)]
    if taken:
        raise SystemExit(f"error: port {taken[0]} is in use by another program; `make run EMBEDDED=1 PORT_BASE=21000`")
    process = ProcessSettings(ordinal=0, development=True, log_level="WARNING")
    # Far below a desktop's limit of open files, which would cause a warning.
    clients = HttpSettings(http_host=HOST, http_port=ports.gateway, max_connections=500)
    tokens = TokenSettings(dev_key_file=str(_token_key_file()))
    chosen = GatewaySettings(process=process, http=clients, tokens=tokens, kafka=KafkaSettings())
    services = Services(
        MemoryBroker(), MemoryStore(SystemClock()), MemoryMediaStore(SystemClock()), [chosen], process=process
    )
    metric_series.begin(*metric_series.SERVICES)

    async def run(stopping: asyncio.Event) -> None:
        health = Health()
        async with (
            serve_admin(HOST, ports.gateway_admin, health) as admin,
            measuring(),
            embedded(services, health, stopping) as [gateway],
            asyncio.TaskGroup() as group,
        ):
            echoing = group.create_task(run_echo(gateway.url, development_tokens(gateway.url, "echo")))
            _print_welcome(gateway.url, admin)
            await stopping.wait()
            print("\nstopping", flush=True)
            echoing.cancel()

    run_service("embedded", process, run)
    print("stopped", flush=True)


@dataclass(frozen=True, slots=True)
class Services:
    """What one process runs: gateways by their settings, and workers by their names, over the same servers."""

    broker: Broker
    store: Store
    objects: MediaStore
    gateways: Sequence[GatewaySettings] = ()
    workers: Collection[str] = tuple(WORKERS)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    process: ProcessSettings = field(default_factory=ProcessSettings)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that listens. `task` ends with the gateway."""

    port: int
    task: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@contextlib.asynccontextmanager
async def embedded(services: Services, health: Health, stopping: asyncio.Event) -> AsyncIterator[Sequence[Gateway]]:
    """Serve while the block runs. Yields the gateways once they listen. Sets `stopping` at the end.

    Creates missing topics. The caller starts and stops the store. A gateway with port 0 picks a free one.
    Raises the error of a service in an ExceptionGroup.
    """
    admin, kafka = services.broker.admin(), services.kafka
    async with started(admin):
        await initialise(admin, kafka.sizes(), kafka.replication)
    ports: list[asyncio.Future[int]] = [asyncio.get_running_loop().create_future() for _ in services.gateways]
    adapters = services.broker, services.store, health, stopping
    async with asyncio.TaskGroup() as group:
        for name in services.workers:
            serve, settings = WORKERS[name]
            group.create_task(serve(settings(process=services.process, kafka=kafka), *adapters))
        tasks = [
            group.create_task(gateway.serve(chosen, *adapters, port.set_result, objects=services.objects))
            for chosen, port in zip(services.gateways, ports, strict=True)
        ]
        try:
            yield [Gateway(await port, task) for port, task in zip(ports, tasks, strict=True)]
        finally:
            stopping.set()


def _token_key_file() -> Path:
    return Path(os.environ.get("RUN_DIR") or DEFAULT_RUN_DIR) / "dev-token.key"


def _print_welcome(url: str, admin_port: int) -> None:
    print(BANNER)
    rows = [
        ("gateway-0", url, "clients: /v1/ws, /v1/…, /docs"),
        ("all services", f"http://{HOST}:{admin_port}", "/readyz /metrics"),
        ("echo", "", "answers what is written to it"),
    ]
    print_table(("name", "url", ""), rows)
    print_first_steps(url)
    print("Ctrl-C stops it.", flush=True)


if __name__ == "__main__":
    main()
