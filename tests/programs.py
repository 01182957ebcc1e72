"""Programs that a test has started: what they said, and how they ended."""

import asyncio
from typing import NamedTuple


class Ended(NamedTuple):
    """The exit code, and what the program has printed."""

    code: int
    said: str


async def ended(process: asyncio.subprocess.Process, within_s: float) -> Ended:
    """Wait for the end, for a bounded time. The process does not outlive the call."""
    try:
        async with asyncio.timeout(within_s):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, said.decode())
