"""`tidings archive run|verify|restore|status`: months of messages, in objects and back."""

import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from cli.arguments import month as a_month
from cli.arguments import session_id
from cli.help_text import PLAIN
from cli.patience import GaveUp, patiently
from cli.progress_bar import progress_bar
from cli.screen_text import say
from cli.terminated import run_until_sigterm
from services.persister.archive import ArchiverSettings, Workplace, rules_of, workplace
from tidings.runtime.reading_settings import read_settings
from tidings.store.archive_tables import Shard

# The verbs import these when they need them, because pyarrow takes 90 MiB and a third of a second.
if TYPE_CHECKING:
    from tidings.cold.archiver import Run
    from tidings.cold.report import MonthReport
    from tidings.cold.restore import Restored
    from tidings.cold.verify import Damage, Verified

# For each server. A JVM on a busy machine takes 20 s from its start to its first answer.
WITHIN_S = 30.0
T = TypeVar("T")

app = typer.Typer(
    help="Move messages of months ago to the object store, check them there, and bring them back.",
    no_args_is_help=True,
    rich_markup_mode=PLAIN,
)
Month = Annotated[int | None, typer.Option("--month", help="Only this month, as 202605.", parser=a_month)]


@app.command()
def run(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would move, and change nothing.")] = False,
    rate: Annotated[
        int,
        typer.Option("--rate", help="At most so many messages per second; 0: as the settings say.", min=0),
    ] = 0,
) -> None:
    """Move segments older than TIDINGS_ARCHIVE_HOT_DAYS to objects.

    With TIDINGS_ARCHIVE_RETENTION_DAYS, messages of that age are removed for good. A run may be stopped and repeated at
    any time, and several may run at once.
    """
    from tidings.cold.archiver import Archiver

    settings = read_settings(ArchiverSettings)
    rules = rules_of(settings.archive, is_dry_run=dry_run)
    rules = replace(rules, messages_per_s=rate) if rate else rules
    with _bar() as shown:

        async def archive(place: Workplace) -> "Run":
            return await Archiver(place.ports, rules, place.work_dir, lambda one: shown(*_of_run(one))).run()

        done = _at_work(settings, archive, uses_log=True)
    for line in _lines(done, dry_run=dry_run):
        say(line)
    for name in sorted(done.moved.incomplete):
        say(f"incomplete: {name.session_id} segment {name.segment}: hot rows are missing, nothing of it has moved")
    for name in sorted(done.moved.damaged):
        say(f"damaged: {name.session_id} segment {name.segment}: its object is damaged, so its hot rows stay")
    if any(done.stuck.values()):
        raise typer.Exit(1)


@app.command()
def verify(
    month: Month = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make damaged segments hot again where their hot rows still exist.")
    ] = False,
) -> None:
    """Read every object again and compare it with the directory.

    Ends with exit code 1 if a message cannot be read, or if nothing of --month is archived.
    """
    from tidings.cold.verify import Verified, Verifier

    done = Verified()
    with _said_at_the_end(lambda: _of_verified(done)), _bar() as shown:

        def show(one: Verified) -> None:
            shown(f"{one.messages} messages", one.objects, 0)

        async def compare(place: Workplace) -> None:
            nonlocal done
            verifier = Verifier(place.ports, place.work_dir, show, _say_damage)
            done = verifier.verified
            await verifier.verify(_of_month(await place.ports.tables.indexed_shards(), month), repairs=repair)

        _at_work(read_settings(ArchiverSettings), compare)
    if not done.segments:
        say(f"nothing of {month} is archived, so nothing was compared" if month else "nothing is archived")
    is_typing_error = month is not None and not done.segments
    if is_typing_error or done.unlisted or any(not one.is_repaired for one in done.damages):
        raise typer.Exit(1)


@app.command()
def restore(
    session: Annotated[
        str | None, typer.Option("--session", parser=session_id, help="All cold segments of this session.")
    ] = None,
    month: Month = None,
) -> None:
    """Bring cold segments back to the tables. The next run moves them again: suspend its job if they shall stay."""
    if bool(session) == bool(month):
        raise typer.BadParameter("give either --session or --month")
    from tidings.cold.restore import Restored, Restorer

    done = Restored()
    with _said_at_the_end(lambda: _of_restored(done)), _bar() as shown:

        def show(one: Restored) -> None:
            shown(f"{one.messages} messages", one.segments, 0)

        async def bring_back(place: Workplace) -> None:
            nonlocal done
            restorer = Restorer(place.ports, place.work_dir, show, _say_damage)
            done = restorer.restored
            if session:
                await restorer.session(session)
            for shard in _of_month(await place.ports.tables.indexed_shards(), month) if month else ():
                await restorer.shard(shard)

        _at_work(read_settings(ArchiverSettings), bring_back)
    if not done.segments and not done.left_out:
        say(f"nothing of {session or month} is archived")
    if done.left_out:
        raise typer.Exit(1)


@app.command()
def status() -> None:
    """Print for each month how much of it is cold."""
    from tidings.cold.report import report

    async def ask(place: Workplace) -> "list[MonthReport]":
        return await report(place.ports.tables)

    months = _at_work(read_settings(ArchiverSettings), ask)
    say("month    shards     segments         cold  hot copies  cold messages       bytes")
    for one in months:
        say(
            f"{one.month}  {f'{one.shards_finished}/{one.shards}':>7}  {one.segments:>11}  {one.cold:>11}"
            f"  {one.hot_copies:>10}  {one.messages:>13}  {one.object_bytes:>10}"
        )


def _at_work(
    settings: ArchiverSettings, do: Callable[[Workplace], Coroutine[Any, Any, T]], *, uses_log: bool = False
) -> T:
    """Do it with the real servers. An error of a server ends the verb, because each may be run again.

    SIGTERM ends it as Ctrl-C does, because messages must not stay in the folder of work.
    """

    async def work() -> T:
        async with workplace(settings, _patience, uses_log=uses_log) as place:
            return await do(place)

    return run_until_sigterm(work())


async def _patience(attempt: Callable[[], Awaitable[None]], server: str) -> None:
    await patiently(attempt, server=server, within_s=WITHIN_S, say=partial(say, is_aside=True))


@contextlib.contextmanager
def _said_at_the_end(lines: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Print the lines when the block ends, also if a server goes away in the middle of it."""
    try:
        yield
    except GaveUp:
        raise  # no server was there, so nothing was done
    except BaseException:
        _say_all(lines())
        raise
    _say_all(lines())


def _say_all(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def _say_damage(one: "Damage") -> None:
    state = "repaired from the hot rows" if one.is_repaired else "DAMAGED"
    say(f"{state}: {one.session_id} segment {one.segment} in {one.object_key}: {one.problem}")


def _of_verified(done: "Verified") -> list[str]:
    lines = [f"{done.objects} objects, {done.segments} segments, {done.messages} messages read and equal"]
    if done.hot_in_finished:
        lines.append(
            f"{done.hot_in_finished} segments of finished shards are hot; the next run looks at these shards again"
        )
    lines += [f"unlisted: {one}" for one in done.unlisted]
    lines += [
        f"unnamed: {key}; no segment is in it. Delete it only if no backup of the tables names it"
        for key in done.unnamed
    ]
    return lines


def _of_restored(done: "Restored") -> list[str]:
    lines = [f"{done.segments} segments, {done.messages} messages are in the tables again"]
    if done.left_out:
        lines.append(f"{done.left_out} damaged segments are left out; bring their objects back, then run it again")
    return lines


def _of_month(shards: Sequence[Shard], month: int | None) -> list[Shard]:
    return [one for one in shards if not month or one.month == month]


def _lines(done: "Run", *, dry_run: bool) -> list[str]:
    moved, purged = done.moved, done.purged
    would = "would be " if dry_run else ""
    lines = [
        f"{done.closed} quiet sessions {would}closed",
        f"{moved.segments} segments with {moved.messages} messages {would}moved to {moved.objects} objects"
        f" of {moved.object_bytes} bytes",
        f"{moved.dropped} hot segments {would}deleted",
    ]
    if purged.shards or purged.segments or purged.held:
        at_most = "at most " if dry_run else ""
        lines.append(f"{at_most}{purged.segments} segments with {purged.messages} messages {would}removed for good")
    if purged.held:
        lines.append(f"{purged.held} segments are beyond their retention and stay, because they have not moved")
    if done.shards_left:
        lines.append(f"{done.shards_left} shards are left to other archivers")
    return lines


def _of_run(done: "Run") -> tuple[str, int, int]:
    return f"{done.moved.messages} messages", done.shards_looked_at, done.shards


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=None)

        def update(text: str, done: int, of: int) -> None:
            bar.update(task, description=text, completed=done, total=of or None)

        yield update
