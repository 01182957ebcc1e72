"""`tidings dlq list|show|replay`: the records that the pipeline could not decode."""

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
    help="List records that could not be decoded, and send them again when the cause is fixed.",
    no_args_is_help=True,
    rich_markup_mode=PLAIN,
)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a letter on `dead-letters`."""

    partition: int
    offset: int


def _place(text: str) -> Place:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not PARTITION/OFFSET as `tidings dlq list` prints it")
    return Place(int(partition), int(offset))


PlaceArgument = Annotated[
    Place, typer.Argument(metavar="PARTITION/OFFSET", parser=_place, help="As `tidings dlq list` prints it.")
]


@app.command("list")
def list_letters() -> None:
    """Print one line per dead letter: its place, time, original record and reason.

    A repeated round writes a letter again. Then the line also says how many copies there are.
    """
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
    """Print one dead letter: coordinates, reason, the bytes, and their decoded content."""
    letter = _letter(read_group(KafkaSettings), place)
    say(f"time     {day_and_time(letter.content.at_ms)}")
    for line in explained(letter):
        say(line)


@app.command("replay")
def replay_letter(
    place: PlaceArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Append the original bytes again to the topic and partition that they came from, and print the outcome.

    Use it after a repair: a record that still cannot be decoded is put aside again. The dead letter itself stays until
    it expires.
    """
    settings = read_group(KafkaSettings)
    letter = _letter(settings, place)
    source = TopicPartition(letter.content.topic, letter.content.partition)
    say(f"{letter.content.reason}: {len(letter.content.value)} bytes")
    if not yes:
        typer.confirm(f"Append them to {source.topic} partition {source.partition} again?", abort=True)
    offset = asyncio.run(_replay(composition.kafka(settings), letter))
    say(f"appended at offset {offset}")
    result = _ask(settings, lambda broker: outcome(broker, source, offset, settings.session_partitions))
    if result != ACCEPTED:
        raise GaveUp(result)
    say(result)


async def _replay(broker: Broker, letter: Letter) -> int:
    """Try once, because a second try might append the bytes twice, and the operator decides about that."""
    try:
        return await asyncio.wait_for(replay(broker, letter), WITHIN_S)
    except (TimeoutError, BrokerUnavailable) as error:
        raise GaveUp(
            "Kafka did not confirm, so it is unknown whether the bytes are appended. Run the same command again:"
            " a message that is appended twice is stored once"
        ) from error


def _letter(settings: KafkaSettings, place: Place) -> Letter:
    return _ask(settings, lambda broker: letter_at(broker, place.partition, place.offset))


def _ask(settings: KafkaSettings, question: Callable[[Broker], Awaitable[_Answer]]) -> _Answer:
    """Read from Kafka, and retry while it is not reachable."""
    broker = composition.kafka(settings)
    return asyncio.run(patiently(lambda: question(broker), server=settings.server, within_s=WITHIN_S, say=say))
