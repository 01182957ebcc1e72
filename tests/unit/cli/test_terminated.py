"""A verb ends at SIGTERM as at Ctrl-C, after its own clean-up."""

import asyncio
import os
import signal

import pytest
import typer

from cli.terminated import TERMINATED, run_until_sigterm


def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert run_until_sigterm(work()) == 7


def test_sigterm_cancels_the_work_and_sets_the_exit_code() -> None:
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    with pytest.raises(typer.Exit) as end:
        run_until_sigterm(work())
    assert (end.value.exit_code, ended) == (TERMINATED, ["cleaned up"])
