"""The verbs of the command line, and their exit codes. A verb that fails prints one readable line."""

import os
import sys

import typer

from cli.archive import app as archive
from cli.chat import chat
from cli.dlq import app as dlq
from cli.export import export
from cli.groups import app as group
from cli.help_text import PLAIN
from cli.history import history
from cli.init import init
from cli.media import app as media
from cli.screen_text import say
from cli.seed import seed
from cli.sessions import receipts, sessions
from cli.talk import send, tail
from cli.tokens import token
from cli.where import where
from tidings.errors import ConfigurationError, TidingsError
from tidings.logging import configure
from tidings_client import TidingsError as ClientError

DEBUG = "TIDINGS_DEBUG"  # shows log lines and tracebacks, for developers
FAILED, MISUSED, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="tidings",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=PLAIN,
)


@app.callback()
def tidings() -> None:
    """Operate Tidings, and chat through it from a terminal."""


for verb in (init, seed, token, send, tail, chat, sessions, history, export, receipts, where):
    app.command()(verb)
app.add_typer(group, name="group")
app.add_typer(dlq, name="dlq")
app.add_typer(media, name="media")
app.add_typer(archive, name="archive")


def main() -> None:
    """Entry point. The exit code is 2 for invalid settings and arguments, and 1 for all other errors."""
    # The drivers' log lines would hide ours.
    configure("tidings", "DEBUG" if DEBUG in os.environ else "CRITICAL", readable=True)
    try:
        app(prog_name="tidings")
    except ConfigurationError as error:
        _end(str(error), MISUSED)
    except (TidingsError, ClientError, OSError, ValueError) as error:
        _end(str(error), FAILED)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)


def _end(text: str, code: int) -> None:
    if DEBUG in os.environ:
        raise
    say(f"error: {' '.join(text.split())}", is_aside=True)
    sys.exit(code)
