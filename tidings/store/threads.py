"""Blocking calls of a driver, in threads that no process waits for at its end."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Answer = TypeVar("Answer")


async def in_daemon_thread(call: Callable[[], Answer]) -> Answer:
    """As asyncio.to_thread; but the end of the loop and of the process do not wait for a call that was cancelled."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()

    def settle(result: Answer | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)  # type: ignore[arg-type]  # what the call returned
        else:
            answer.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            failure = error
        with suppress(RuntimeError):  # the loop is closed: the caller is gone
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="cassandra-call", daemon=True).start()
    return await answer
