"""`tidings dlq list|show|replay`: what the pipeline could not understand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer

from cli import composition
from cli.dead_letters import ACCEPTED, Letter, explained, letter_at, newest_letters, outcome, replay
from cli.help_text import PLAIN
from cli.patience import GaveUp, patiently
from cli.screen_text import day_and_time, say
from tidings.broker.base import Broker, TopicPartition
from tidings.errors import BrokerUnavailable
from tidings.runtime.reading_settings import read_group
from tidings.runtime.settings import KafkaSettings

WITHIN_S = 30.0
_Answer = TypeVar("_Answer")

app = typer.Typer(
    help="Look at records that could not be understood, and send them again once the cause is mended.",
    no_args_is_help=True,
    rich_markup_mode=PLAIN,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where on `dead-letters` a letter stands."""

    partition: int
    offset: int


def _place(text: str) -> Place:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no dead letter: PARTITION/OFFSET as `tidings dlq list` prints it")
    return Place(int(partition), int(offset))


PlaceArgument = Annotated[
    Place, typer.Argument(metavar="PARTITION/OFFSET", parser=_place, help="As `tidings dlq list` prints it.")
]


@app.command("list")
def list_letters() -> None:
    """One line for each dead letter: its place, time, the record it was, why it was put aside, and how often it
    was written if more than once: a round that is repeated writes it again."""
    settings = read_group(KafkaSettings)
    letters = _ask(settings, lambda broker: newest_letters(broker, settings.session_partitions))
    for letter in letters:
        content = letter.content
        was = f"{content.topic} {content.partition}/{content.offset}"
        copies = f"  ({letter.copies} times)" if letter.copies > 1 else ""
        say(f"{letter.name:<10} {day_and_time(content.at_ms)}  {was:<28} {content.reason}{copies}")
    say(f"{len(letters)} dead letters" if letters else "no dead letters")


@app.command()
def show(place: PlaceArgument) -> None:
    """Everything about one dead letter: coordinates, reason, the bytes, and what they decode to."""
    letter = _letter(read_group(KafkaSettings), place)
    say(f"time     {day_and_time(letter.content.at_ms)}")
    for line in explained(letter):
        say(line)


@app.command("replay")
def replay_letter(
    place: PlaceArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Append the original bytes again to the topic and partition they came from, and say what became of them.

    For after a repair: what is still not understood is put aside again. The dead letter itself stays until it expires.
    """
    settings = read_group(KafkaSettings)
    letter = _letter(settings, place)
    source = TopicPartition(letter.content.topic, letter.content.partition)
    say(f"{letter.content.reason}: {len(letter.content.value)} bytes")
    if not yes:
        typer.confirm(f"Append them to {source.topic} partition {source.partition} again?", abort=True)
    offset = asyncio.run(_replay(composition.kafka(settings), letter))
    say(f"appended at offset {offset}")
    told = _ask(settings, lambda broker: outcome(broker, source, offset, settings.session_partitions))
    if told != ACCEPTED:
        raise GaveUp(told)
    say(told)


async def _replay(broker: Broker, letter: Letter) -> int:
    """Tried once: a second try might append twice, which is for a person to decide."""
    try:
        return await asyncio.wait_for(replay(broker, letter), WITHIN_S)
    except (TimeoutError, BrokerUnavailable) as error:
        raise GaveUp(
            "Kafka did not confirm, so it is unknown whether the bytes are appended; a message that is appended"
            " twice is stored once, so the same command may be run again"
        ) from error


def _letter(settings: KafkaSettings, place: Place) -> Letter:
    return _ask(settings, lambda broker: letter_at(broker, place.partition, place.offset))


def _ask(settings: KafkaSettings, question: Callable[[Broker], Awaitable[_Answer]]) -> _Answer:
    """Ask the log, which may be away for a while."""
    broker = composition.kafka(settings)
    server = f"Kafka at {settings.bootstrap} (TIDINGS_KAFKA_BOOTSTRAP)"
    return asyncio.run(patiently(lambda: question(broker), server=server, within_s=WITHIN_S, say=say))
