"""Users in processes of their own, as a test holds them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.process import ROOT

Event = dict[str, Any]
# A loaded machine may need most of it; nobody waits longer than it takes.
PATIENCE_S = 90.0
_ASK_AGAIN_S = 0.3
_LINE_BYTES = 2**22


@dataclass
class Person:
    """A process of `tests.e2e.person`; `events` is what it has told, in order."""

    process: asyncio.subprocess.Process
    events: list[Event] = field(default_factory=list)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        """Keeps every line until the process ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.events.append(json.loads(line))
            self._told.set()

    def tell(self, do: str, **details: Any) -> None:
        """One command."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do} | details).encode() + b"\n")

    def heard(self, event: str, **details: Any) -> list[Event]:
        """Every event of that kind with these details, in order."""
        wanted = {"event": event} | details
        return [told for told in self.events if wanted.items() <= told.items()]

    async def until(self, holds: Callable[[], bool], what: str = "") -> None:
        """Wait for it to hold; TimeoutError with the last events if it never does."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not holds():
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            raise TimeoutError(f"{what}; last told: {self.events[-5:]}") from None

    async def hears(self, event: str, count: int = 1, **details: Any) -> list[Event]:
        """Wait for `count` such events."""
        await self.until(lambda: len(self.heard(event, **details)) >= count, f"{count} × {event} {details}")
        return self.heard(event, **details)

    async def shows(self, session_id: str, **expected: Any) -> None:
        """Wait until REST shows the session like that to this user."""
        shown: Event = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not expected.items() <= shown.items():
                    shown = await self._asks_session(session_id)
                    await asyncio.sleep(_ASK_AGAIN_S)
        assert {name: shown.get(name) for name in expected} == expected

    async def _asks_session(self, session_id: str) -> Event:
        before = len(self.heard("session"))
        self.tell("session", session_id=session_id)
        return (await self.hears("session", before + 1))[-1]


@asynccontextmanager
async def person(url: str, user: str, device: str, directory: Path) -> AsyncIterator[Person]:
    """Connected; leaves politely, and the place in the inbox stays in `directory`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.person", url, user, device, str(directory)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )
    someone = Person(process)
    listening = asyncio.create_task(someone.listen())
    try:
        await someone.hears("connected")
        yield someone
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0
            await listening
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.wait([listening])
