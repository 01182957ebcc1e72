"""From process start to exit: the loop, the log lines, the signals."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from tidings import logging
from tidings.errors import ConfigurationError
from tidings.runtime.settings import ProcessSettings

# Net new objects before a collection; every 4th looks at older objects too, and the next one at all (ADR 21).
_COLLECTOR = (50_000, 2, 0)


def run_service(name: str, process: ProcessSettings, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` until it returns; it is to return soon after the event is set (SIGTERM, SIGINT).

    Exits with 1 when main raises, with 2 when it raises ConfigurationError.
    """
    logging.configure(name, process.log_level, process.development)
    log = logging.logger("tidings.lifecycle")
    _calm_collector()
    try:
        uvloop.run(_until_signal(main))
    except ConfigurationError as error:
        log.error("configuration refused", reason=str(error))
        sys.exit(2)
    except Exception:
        # The one place where a process ends for any reason (law 9).
        log.exception("process stops")
        sys.exit(1)
    log.info("stopped")


async def _until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await main(stopping)


def _calm_collector() -> None:
    """Few cycles are made here, and by default each round's thousands of objects are searched for them many times."""
    gc.collect()
    gc.freeze()  # modules: they stay
    gc.set_threshold(*_COLLECTOR)
