"""`tidings seed`."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from cli import composition
from cli.arguments import user_id
from cli.patience import patiently
from cli.progress_bar import progress_bar
from cli.screen_text import say
from cli.seeding.existing import refuse_other_messages, unfinish
from cli.seeding.plan import MOST_MONTHS, MOST_USERS, SeedPlan, SeedSizes
from cli.seeding.seeder import Progress as SeedProgress
from cli.seeding.seeder import Seeded, restore
from cli.seeding.seeder import seed as seeded
from tidings.errors import ConfigurationError
from tidings.ids import DAY_MS
from tidings.runtime.initialise import log_time_ms
from tidings.runtime.reading_settings import read_group
from tidings.runtime.settings import CassandraSettings, KafkaSettings, LimitSettings, ProcessSettings
from tidings.runtime.stamps import stamps_of

_DEFAULTS = SeedSizes()
_SERVERS_S = 30.0
_MOST_PREFIX = 32


def _prefix(text: str) -> str:
    if len(text) > _MOST_PREFIX:
        raise typer.BadParameter(f"a prefix has at most {_MOST_PREFIX} characters")
    return user_id(text)


def seed(  # noqa: PLR0913 - the options of one verb
    months: Annotated[
        int, typer.Option("--months", help="Months of 30 days, up to today.", min=1, max=MOST_MONTHS)
    ] = _DEFAULTS.months,
    sessions: Annotated[int, typer.Option("--sessions", help="Direct sessions.", min=0)] = _DEFAULTS.sessions,
    groups: Annotated[int, typer.Option("--groups", help="Groups.", min=0)] = _DEFAULTS.groups,
    messages: Annotated[int, typer.Option("--messages", help="Messages of all sessions.", min=1)] = _DEFAULTS.messages,
    users: Annotated[int, typer.Option("--users", help="Users.", min=2, max=MOST_USERS)] = _DEFAULTS.users,
    prefix: Annotated[
        str, typer.Option("--prefix", help="Of the user ids: seed-0001 and so on.", callback=_prefix)
    ] = "seed",
    number: Annotated[int, typer.Option("--seed", help="The same number draws the same messages.")] = 1,
    rate: Annotated[int, typer.Option("--rate", help="Messages per second; 0: as fast as possible.", min=0)] = 0,
    restoring: Annotated[
        bool, typer.Option("--restore", help="Only put right the topic's settings that a killed run left.")
    ] = False,
) -> None:
    """Fill a deployment with months of messages, in development mode only. All services must be running.

    Lets messages.inbound keep times of the past for a while, so other users' messages in this time may get wrong
    times. A run that was stopped is continued by the same command on the same UTC day. On another day choose
    another --prefix, because messages cannot be added before existing ones. Reads
    TIDINGS_KAFKA_*, TIDINGS_CASSANDRA_* and TIDINGS_LIMIT_*.
    """
    if not read_group(ProcessSettings).development:
        raise ConfigurationError(
            "`tidings seed` lets the log keep times of the past, which breaks its promises to real users."
            " It is for development only: set TIDINGS_DEVELOPMENT=true, as the services of `make up` have it"
        )
    kafka, limits = read_group(KafkaSettings), read_group(LimitSettings)
    if restoring:
        asyncio.run(_restore(kafka, limits))
    else:
        asyncio.run(_seed(kafka, limits, SeedSizes(months, sessions, groups, messages, users), number, prefix, rate))


async def _seed(
    kafka: KafkaSettings, limits: LimitSettings, sizes: SeedSizes, number: int, prefix: str, rate: int
) -> None:
    cassandra = read_group(CassandraSettings)
    broker = composition.kafka(kafka)
    now_ms = await patiently(lambda: log_time_ms(broker), server=kafka.server, within_s=_SERVERS_S, say=_say_aside)
    plan = SeedPlan(sizes, limits, now_ms, number, prefix)
    await patiently(
        lambda: _look_at_tables(cassandra, plan), server=cassandra.server, within_s=_SERVERS_S, say=_say_aside
    )
    with _shown() as progress:
        done = await seeded(broker, plan, kafka.sizes(), rate=rate, progress=progress, say=_say_aside)
    for line in _lines(plan, done):
        say(line)


async def _look_at_tables(cassandra: CassandraSettings, plan: SeedPlan) -> None:
    async with composition.tables(cassandra) as (store, archive):
        await refuse_other_messages(store, plan)
        await unfinish(archive, plan)


async def _restore(kafka: KafkaSettings, limits: LimitSettings) -> None:
    broker = composition.kafka(kafka)
    now_ms = await patiently(lambda: log_time_ms(broker), server=kafka.server, within_s=_SERVERS_S, say=_say_aside)
    done = await restore(broker, kafka.sizes(), stamps_of(limits), now_ms - DAY_MS)
    say("settings of messages.inbound: restored" if done else "settings of messages.inbound: nothing to restore")


def _lines(plan: SeedPlan, done: Seeded) -> list[str]:
    sizes, (first, *_, last) = plan.sizes, plan.users
    return [
        f"users: {sizes.users} ({first} to {last})",
        f"sessions: {sizes.sessions} direct, {sizes.groups} groups",
        f"messages: {sizes.messages}, and {done.commands - sizes.messages} of group commands,"
        f" from {_day(plan.starts_at_ms)} to {_day(plan.ends_at_ms - 1)}",
        f"stored in {done.stored_s:.1f} s, {done.commands / done.stored_s:,.0f} messages/s",
    ]


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _say_aside(text: str) -> None:
    say(text, is_aside=True)


@contextlib.contextmanager
def _shown() -> Iterator[SeedProgress]:
    """A bar for each phase."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        tasks = {phase: bar.add_task(phase, total=None) for phase in ("appended", "stored")}

        def update(phase: str, done: int, total: int) -> None:
            bar.update(tasks[phase], completed=done, total=total)

        yield update
