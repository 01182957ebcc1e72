"""`tidings media upload|download|sweep|prepare`: files of messages, and the store that holds them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.arguments import DEFAULT_URL, AsUser, Token, Url, filled_file, media_path, new_file
from cli.help_text import PLAIN
from cli.patience import patiently
from cli.screen_text import say
from cli.signing_in import Account, asking
from cli.transfers import bytes_shown, upload_shown

if TYPE_CHECKING:
    from tidings.media.sweep import Swept

WITHIN_S = 600.0

app = typer.Typer(
    help="Upload and download files, remove unused uploads, and prepare their store.",
    no_args_is_help=True,
    rich_markup_mode=PLAIN,
)


@app.command()
def upload(
    user: AsUser,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, callback=filled_file)],
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Upload a file and print its URL. It is removed after a day unless a message refers to it."""
    asyncio.run(_upload(Account(url, user, token), file))


async def _upload(account: Account, file: Path) -> None:
    async with asking(account) as calls:
        say((await upload_shown(calls.media, file)).url)


@app.command()
def download(
    user: AsUser,
    media_url: Annotated[
        str, typer.Argument(metavar="URL", help="/v1/media/<id>, as in a message. The server may stand before it.")
    ],
    path: Annotated[Path, typer.Argument(help="The file to write.", callback=new_file)],
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Write the content of an upload to a file."""
    asyncio.run(_download(Account(url, user, token), media_path(media_url, url), path))


async def _download(account: Account, media_url: str, path: Path) -> None:
    async with asking(account) as calls:
        with bytes_shown() as progress:
            size = await calls.media.download(media_url, path, progress)
    say(f"{size} bytes")


# The verbs of operators import the server's code when they run, because it takes a second and users need none of it.


@app.command()
def prepare() -> None:
    """Make the folder of TIDINGS_MEDIA_STORE_URL a store, once, with its volume mounted. A bucket needs nothing."""
    from cli import composition
    from tidings.runtime.reading_settings import read_group
    from tidings.runtime.settings import MediaStoreSettings

    say(composition.prepare_objects(read_group(MediaStoreSettings)))


@app.command()
def sweep(
    days: Annotated[
        int | None,
        typer.Option("--days", help="Look at so many days back, and not from where the last run ended.", min=1),
    ] = None,
) -> None:
    """Remove uploads that no message refers to after a day, in two runs at least an hour apart. Run it every hour."""
    swept = asyncio.run(_sweep(days))
    say(
        f"{swept.objects} objects of {swept.days} days: {swept.marked} uploads marked, {swept.waiting} waiting,"
        f" {swept.deleted} removed, {swept.orphans} objects without a row removed"
    )


async def _sweep(days: int | None) -> "Swept":
    from cli import composition
    from tidings.runtime.reading_settings import read_group
    from tidings.runtime.settings import CassandraSettings, KafkaSettings, MediaStoreSettings

    tables, log = read_group(CassandraSettings), read_group(KafkaSettings)
    objects = read_group(MediaStoreSettings)

    async def run() -> "Swept":
        async with composition.sweeping(tables, log, objects) as sweep:
            return await sweep.run(days)

    return await patiently(run, server="Kafka, Cassandra and the object store", within_s=WITHIN_S, say=say)
