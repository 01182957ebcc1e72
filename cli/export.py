"""`tidings export`: all messages of a session that a user may read, in a file."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

from cli.arguments import DEFAULT_URL, AsUser, OneSession, Token, Url
from cli.parquet_file import parquet_file
from cli.progress_bar import progress_bar
from cli.screen_text import say
from cli.signing_in import Account, asking
from tidings_client import HistoryPage, Message
from tidings_client.histories import forward_pages


class Format(StrEnum):
    """The kinds of files."""

    JSONL = "jsonl"
    PARQUET = "parquet"


def export(
    user: AsUser,
    session: OneSession,
    out: Annotated[Path, typer.Option("--out", help="The file to write.", dir_okay=False)],
    file_format: Annotated[Format, typer.Option("--format", help="A JSON object per line, or Parquet.")] = Format.JSONL,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Write all messages of a session to a file, the oldest one first. The file is complete or does not exist."""
    count = asyncio.run(_export(Account(url, user, token), session, out, file_format))
    say(f"{count} messages in {out}")


async def _export(account: Account, session: str, out: Path, file_format: Format) -> int:
    count = 0
    file_of = parquet_file if file_format is Format.PARQUET else _jsonl_file
    async with asking(account) as calls:
        with _replaced(out) as part, file_of(part) as write, _shown() as show:
            async for page in forward_pages(calls.sessions.history, session):
                await asyncio.to_thread(write, page.messages)
                count += len(page.messages)
                show(page)
    return count


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` at the end of the block, and is removed if the block fails."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _jsonl_file(path: Path) -> Iterator[Callable[[Sequence[Message]], None]]:
    with path.open("wb") as file:

        def write(messages: Sequence[Message]) -> None:
            file.writelines(orjson.dumps(_fields(message), option=orjson.OPT_APPEND_NEWLINE) for message in messages)

        yield write


def _fields(message: Message) -> dict[str, object]:
    """A message as PROTOCOL shows it: without absent fields."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not None}


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[HistoryPage], None]]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=None)
        below = 0

        def update(page: HistoryPage) -> None:
            nonlocal below
            if not page.messages:
                return
            if not bar.tasks[0].completed:
                below = page.messages[0].seq - 1
            bar.update(task, completed=page.messages[-1].seq - below, total=page.head_seq - below)

        yield update
