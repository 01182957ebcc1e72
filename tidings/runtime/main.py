"""The entry points that all services and all jobs share: settings, adapters, health, run."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from tidings import metric_series, metrics
from tidings.broker.base import Broker
from tidings.codec import RULES
from tidings.errors import ConfigurationError
from tidings.runtime.health import Health, serve_admin
from tidings.runtime.lifecycle import refuse_start, run_service
from tidings.runtime.loop_lag import measuring
from tidings.runtime.reach import Question, watching
from tidings.runtime.reading_settings import read_settings
from tidings.runtime.settings import ServiceSettings, printable
from tidings.runtime.start import started
from tidings.store.base import Store

Settings = TypeVar("Settings", bound=ServiceSettings)
Serve = Callable[[Settings, Broker, Store, Health, asyncio.Event], Awaitable[None]]
Work = Callable[[Settings, Health], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters of one process. `ping`: a small read of the store, which raises if the store does not answer."""

    broker: Broker
    store: Store
    ping: Question


def run(
    name: str,
    kind: type[Settings],
    serve: Serve[Settings],
    build: Callable[[Settings], Adapters],
    check: Callable[[Settings], None] | None = None,
) -> None:
    """Run a service until SIGTERM or SIGINT, or print its settings with `--print-settings`.

    `build` makes the adapters. `check` is called before the process waits for a server, and raises ConfigurationError.
    Exits with 2 for invalid settings, and otherwise as `run_service` does.
    """
    try:
        settings = read_settings(kind)
    except ConfigurationError as error:
        refuse_start(name, error)
        return
    if "--print-settings" in sys.argv:
        sys.stdout.write(printable(dict(settings)) + "\n")
        return
    process = settings.process
    metric_series.begin(name)
    labels = (version("tidings"), str(RULES), str(settings.kafka.epoch))
    metrics.BUILD_INFO.labels(*labels).set(1)

    async def serve_until(stopping: asyncio.Event) -> None:
        if check is not None:
            check(settings)
        health = Health()
        adapters = build(settings)
        async with (
            serve_admin(process.admin_host, process.admin_port, health),
            measuring(),
            watching(adapters.broker, adapters.ping, health),
            started(adapters.store, stopping=stopping),
        ):
            await serve(settings, adapters.broker, adapters.store, health, stopping)

    run_service(f"{name}-{process.ordinal}", process, serve_until)


def run_job(name: str, kind: type[Settings], work: Work[Settings]) -> None:
    """Run `work` until it ends, or until SIGTERM or SIGINT cancels it, with the metrics on the admin port.

    `work` builds its own adapters, and reports when it is ready. Exits as `run` does.
    """
    try:
        settings = read_settings(kind)
    except ConfigurationError as error:
        refuse_start(name, error)
        return
    process = settings.process
    metric_series.begin(name)

    async def work_until(stopping: asyncio.Event) -> None:
        health = Health()
        async with serve_admin(process.admin_host, process.admin_port, health):
            working = asyncio.create_task(work(settings, health))
            waiting = asyncio.create_task(stopping.wait())
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
                return
            working.result()

    run_service(name, process, work_until)
