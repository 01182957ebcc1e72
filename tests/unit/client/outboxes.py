"""An outbox in a file, opened and closed as a process does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tidings_client import FailedDraft, FileOutbox
from tidings_client.drafts import Draft


@asynccontextmanager
async def opened_outbox(path: Path) -> AsyncIterator[FileOutbox]:
    box = FileOutbox(path)
    await box.load()
    yield box
    await box.close()


async def reopened(path: Path) -> tuple[list[Draft], list[FailedDraft]]:
    """What the next process finds: messages to try again, and failed ones."""
    box = FileOutbox(path)
    found = list(await box.load()), list(await box.failed())
    await box.close()
    return found


async def pending(path: Path) -> list[Draft]:
    return (await reopened(path))[0]


async def pending_names(path: Path) -> list[str]:
    return [draft.client_msg_id for draft in await pending(path)]
