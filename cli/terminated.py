"""Runs a verb that SIGTERM ends as Ctrl-C does."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

T = TypeVar("T")

TERMINATED = 128 + signal.SIGTERM


def run_until_sigterm(work: Coroutine[Any, Any, T]) -> T:
    """The result. At SIGTERM the work is cancelled, and the command ends with the exit code TERMINATED."""

    async def cancelled_by_sigterm() -> T:
        this = asyncio.current_task()
        assert this is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
        return await work

    try:
        return asyncio.run(cancelled_by_sigterm())
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None
