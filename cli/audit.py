"""`tidings audit`: one pass over all tables and objects, which finds what no promise allows."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.patience import patiently
from cli.progress_bar import progress_bar
from cli.screen_text import say
from cli.terminated import run_until_sigterm

# The verb imports these when it runs, because pyarrow takes 90 MiB and a third of a second.
if TYPE_CHECKING:
    from tidings.audit.auditor import Audited, Place
    from tidings.audit.rules import Finding

# For each server. A JVM on a busy machine takes 20 s from its start to its first answer.
WITHIN_S = 30.0
FOUND, UNSEEN = 1, 3


def audit(
    start: Annotated[
        str, typer.Option("--from", help="Continue at this position, as an earlier pass has printed it.")
    ] = "",
    rate: Annotated[
        int | None,
        typer.Option(
            "--rate", help="At most so many rows per second; 0: no limit. Otherwise as the settings say.", min=0
        ),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option("--settle", help="Seconds between a finding and the second look at it.", min=0.0),
    ] = None,
) -> None:
    """Compare all tables and objects with what Tidings promises, and print what is missing, doubled or orphaned.

    It changes nothing and may run at any time. Ends with exit code 1 if anything was found, and with 3 if nothing was
    found but the object store was away.
    """
    from services.auditor.build import rules_of
    from services.auditor.settings import AuditorSettings
    from tidings.audit.auditor import Audited, Auditor
    from tidings.runtime.reading_settings import read_settings

    first = _place(start)
    settings = read_settings(AuditorSettings)
    given = {"rows_per_s": rate, "settle_s": settle}
    chosen = settings.audit.model_copy(update={name: value for name, value in given.items() if value is not None})
    done = Audited()

    async def work() -> None:
        nonlocal done
        from services.auditor import build

        async with build.audited(settings, _patience) as found:
            auditor = Auditor(found.ports, found.tables, rules_of(chosen), shown, _say)
            done = auditor.audited
            await auditor.run(first)

    with _counted(lambda: done), _bar() as shown:
        run_until_sigterm(work())
    if done.found:
        raise typer.Exit(FOUND)
    if done.unseen:
        raise typer.Exit(UNSEEN)


def _place(text: str) -> "Place | None":
    from tidings.audit.auditor import Place

    try:
        return Place.of(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--from") from error


async def _patience(attempt: Callable[[], Awaitable[None]], server: str) -> None:
    await patiently(attempt, server=server, within_s=WITHIN_S, say=partial(say, is_aside=True))


def _say(one: "Finding") -> None:
    say(f"{one.kind}: {one.place}: {one.problem}")


@contextlib.contextmanager
def _counted(audited: Callable[[], "Audited"]) -> Iterator[None]:
    """Print the counts when the block ends, and the position if it ends too early."""
    try:
        yield
    except BaseException:
        done = audited()
        if done.places:
            _say_counts(done)
            say(f"stopped; continue with --from {done.place}")
        raise
    _say_counts(audited())


def _say_counts(done: "Audited") -> None:
    found = ", ".join(f"{number} {kind}" for kind, number in sorted(done.found.items())) or "nothing found"
    say(f"{done.places} places with {done.rows} reads of rows: {found}")
    for part, number in sorted(done.unseen.items()):
        say(f"not looked at: {number} places of {part}, because the object store does not answer")


@contextlib.contextmanager
def _bar() -> "Iterator[Callable[[Audited], None]]":
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=1.0)

        def update(done: "Audited") -> None:
            bar.update(task, description=f"{done.place.part}, {done.rows} rows", completed=done.share)

        yield update
