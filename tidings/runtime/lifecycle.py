"""From process start to exit: the loop, the log lines, the signals."""

import asyncio
import gc
import logging as standard_logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable

import uvloop

from tidings import logging
from tidings.errors import ConfigurationError
from tidings.runtime.settings import ProcessSettings
from tidings.runtime.start import StoppedEarly

# Net new objects before a collection. Every 4th one includes older objects, and the one after it all objects (ADR 21).
_COLLECTOR = (50_000, 2, 0)
# The wait after `main` has ended. A driver's thread may still wait for a server (5 s a try), but it holds no data.
_THREADS_S = 2.0
# The wait after the second signal: the gateway's flush and goodbye take 2 s each, and closing its clients the rest.
_HURRY_S = 8.0
REFUSED, FAILED = 2, 1


def run_service(name: str, process: ProcessSettings, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` until it returns, which it must do soon after the event is set (by SIGTERM or SIGINT).

    A second signal cancels `main`, a third ends the process at once. Exits with 1 when main raises, with 2 when it
    raises ConfigurationError, with 0 when it returns or raises StoppedEarly.
    """
    logging.configure(name, process.log_level, process.development)
    _calm_collector()
    exit_code = _run(main)
    _end_soon(_THREADS_S, exit_code)
    if exit_code:
        sys.exit(exit_code)


def refuse_start(name: str, error: ConfigurationError) -> None:
    """Log the error and exit with 2. For errors that are found before the log settings are read."""
    logging.configure(name, "INFO", readable=False)
    _log_refusal(error)
    sys.exit(REFUSED)


def _run(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    log = logging.logger("tidings.lifecycle")
    try:
        uvloop.run(_until_signal(main))
    except ConfigurationError as error:
        _log_refusal(error)
        return REFUSED
    except StoppedEarly:
        log.info("stopped before it had started")
    except asyncio.CancelledError:
        log.warning("stopped by a second signal")
    except Exception:
        # Any unexpected error ends the process here, and only here: law 9 (fail in three words).
        log.exception("process ends by an unexpected error")
        return FAILED
    else:
        log.info("stopped")
    return 0


def _log_refusal(error: ConfigurationError) -> None:
    logging.logger("tidings.lifecycle").error("configuration refused", reason=str(error))


async def _until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(main(stopping))

    def take_signal() -> None:
        if not stopping.is_set():
            stopping.set()
        elif running.cancelling():
            _end_now(FAILED)
        else:
            running.cancel()
            _end_soon(_HURRY_S, FAILED)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, take_signal)
    await running


def _end_soon(wait_s: float, exit_code: int) -> None:
    timer = threading.Timer(wait_s, _end_now, (exit_code,))
    timer.daemon = True
    timer.start()


def _end_now(exit_code: int) -> None:
    for handler in standard_logging.getLogger().handlers:
        handler.flush()
    os._exit(exit_code)


def _calm_collector() -> None:
    """Collect less often. The code makes few cycles, and by default each round's objects are scanned many times."""
    gc.collect()
    gc.freeze()  # modules stay for the life of the process
    gc.set_threshold(*_COLLECTOR)
