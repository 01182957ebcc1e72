"""`tidings trace`: where a message is, stage by stage."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cli.arguments import user_id
from cli.patience import patiently
from cli.screen_text import day_and_time, say

# The server's code is imported when the verb runs, because it takes a second.
if TYPE_CHECKING:
    from tidings.tracing.lines import Line, Trace
    from tidings.tracing.subjects import Subject
    from tidings.tracing.tracer import Tracer

WITHIN_S = 30.0
# Without Kafka a trace still says what the tables have.
SERVER = "Cassandra (TIDINGS_CASSANDRA_HOSTS, _PORT)"


def trace(
    message_id: Annotated[str, typer.Argument(help="As in send_ack and in every message.", show_default=False)] = "",
    session: Annotated[str, typer.Option("--session", help="d:<a>:<b> or g:<id>, with --seq.")] = "",
    seq: Annotated[str, typer.Option("--seq", help="The message's place in its session.")] = "",
    sender: Annotated[str, typer.Option("--sender", help="The author, with --client-msg-id.")] = "",
    client_msg_id: Annotated[
        str, typer.Option("--client-msg-id", help="The author's id of the message; --session makes it faster.")
    ] = "",
    recipient: Annotated[
        str,
        typer.Option(
            "--recipient",
            help="Only this recipient's inbox and watermarks.",
            callback=lambda text: text and user_id(text),
        ),
    ] = "",
) -> None:
    """Print where a message is: received, stored, fanned out, delivered, read, with time and place.

    Name the message by its message_id, by --session and --seq, or by --sender and --client-msg-id. Each line ends with
    its source: the tables, or the topics and how long they keep it. A fact that is not recorded is unknown, with the
    reason. Reads TIDINGS_KAFKA_*, TIDINGS_CASSANDRA_*, and for archived messages TIDINGS_MEDIA_*. The exit code is 0
    if the message is stored or waits for the persister, 1 if it is not found, and 2 if the question is malformed.
    """
    from tidings.tracing.lines import Outcome
    from tidings.tracing.subjects import InvalidSubject, subject_of

    try:
        subject = subject_of(
            message_id=message_id, session=session, seq=seq, sender=sender, client_msg_id=client_msg_id
        )
    except InvalidSubject as error:
        raise typer.BadParameter(str(error)) from error
    found = asyncio.run(_traced(subject, recipient))
    for line in found.lines:
        say(shown(line))
    if found.outcome in (Outcome.NOT_FOUND, Outcome.UNKNOWN):
        raise typer.Exit(1)


def shown(line: "Line") -> str:
    """One line: stage, time, place, fact, source."""
    at = day_and_time(line.at_ms) if line.at_ms is not None else ""
    source = f"{line.source}, kept {line.kept}" if line.kept else str(line.source)
    facts = ": ".join(part for part in (line.place, line.text) if part)
    return f"{line.stage:<9}  {at:<25}  {facts}  [{source}]"


async def _traced(subject: "Subject", recipient: str) -> "Trace":
    async def attempt() -> "Trace":
        async with tracing() as tracer:
            return await tracer.trace(subject, recipient)

    return await patiently(attempt, server=SERVER, within_s=WITHIN_S, say=partial(say, is_aside=True))


@contextlib.asynccontextmanager
async def tracing() -> AsyncIterator["Tracer"]:
    """A tracer over the real servers while the block runs. Raises Retryable, ConfigurationError."""
    from cli import composition
    from tidings.runtime.reading_settings import read_group
    from tidings.runtime.settings import CassandraSettings, KafkaSettings, MediaStoreSettings

    tables, log, objects = read_group(CassandraSettings), read_group(KafkaSettings), read_group(MediaStoreSettings)
    async with composition.tracing(tables, log, objects) as tracer:
        yield tracer
