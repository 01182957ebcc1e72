"""`python -m deploy.local.embedded`: the four services and the echo user in one process that keeps nothing.

The log and the tables are the memory adapters; everything else is the same code as in the real stack. For a first
look on a machine without Java, and for working on clients.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tidings.media.memory import MemoryMediaStore

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
from tidings.broker.memory import MemoryBroker
from tidings.clock import SystemClock
from tidings.runtime.health import Health, serve_admin
from tidings.runtime.initialise import initialise
from tidings.runtime.lifecycle import run_service
from tidings.runtime.settings import KafkaSettings, ProcessSettings
from tidings.store.memory import MemoryStore
from tidings_client import development_tokens
from tidings_client.echo import run as run_echo

BANNER = """
  EMBEDDED: all services run in this one process, with broker and tables in memory.
  Nothing is kept: all messages are lost when it ends. For real servers: make run (needs JDK 17 and Maven).
"""


def main() -> None:
    """Entry point. Reads PORT_BASE, GATEWAY_PORT, GATEWAY_ADMIN_PORT and RUN_DIR as the real stack does."""
    ports = ports_asked(os.environ)
    taken = [port for port in (ports.gateway, ports.gateway_admin) if not is_free(port)]
    if taken:
        raise SystemExit(f"error: port {taken[0]} is in use by another program; `make run EMBEDDED=1 PORT_BASE=21000`")
    process = ProcessSettings(ordinal=0, development=True, log_level="WARNING")

    metric_series.begin(*metric_series.SERVICES)

    async def run(stopping: asyncio.Event) -> None:
        health = Health()
        async with (
            serve_admin(HOST, ports.gateway_admin, health) as admin,
            embedded(process, ports.gateway, health, stopping) as url,
        ):
            _print_welcome(url, admin)
            await stopping.wait()
            print("\nstopping", flush=True)

    run_service("embedded", process, run)


@contextlib.asynccontextmanager
async def embedded(process: ProcessSettings, port: int, health: Health, stopping: asyncio.Event) -> AsyncIterator[str]:
    """Serve while the block runs. Yields the gateway's URL once it listens. Sets `stopping` at the end.

    Port 0 picks a free one. Raises the error of a service.
    """
    broker, store = MemoryBroker(), MemoryStore(SystemClock())
    kafka = KafkaSettings()
    await initialise(broker.admin(), kafka.sizes(), kafka.replication)
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    # Far below a desktop's limit of open files, which would cause a warning.
    clients = HttpSettings(http_host=HOST, http_port=port, max_connections=500)
    tokens = TokenSettings(dev_key_file=str(_token_key_file()))
    gateway_settings = GatewaySettings(process=process, http=clients, tokens=tokens, kafka=kafka)
    async with asyncio.TaskGroup() as group:
        for service in (
            persister.serve(PersisterSettings(process=process, kafka=kafka), broker, store, health, stopping),
            fanout.serve(FanoutSettings(process=process, kafka=kafka), broker, store, health, stopping),
            receipts.serve(ReceiptsSettings(process=process, kafka=kafka), broker, store, health, stopping),
            gateway.serve(
                gateway_settings, broker, store, health, stopping, listening.set_result, objects=MemoryMediaStore()
            ),
        ):
            group.create_task(service)
        url = f"http://{HOST}:{await listening}"
        echoing = group.create_task(run_echo(url, development_tokens(url, "echo")))
        try:
            yield url
        finally:
            echoing.cancel()
            await asyncio.wait([echoing])
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
