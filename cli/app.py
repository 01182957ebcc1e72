"""The verbs of the command line, and their exit codes. A verb that fails prints one readable line."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_group

from cli.help_text import PLAIN
from cli.screen_text import say
from tidings.errors import ConfigurationError, TidingsError
from tidings_client import TidingsError as ClientError

DEBUG = "TIDINGS_DEBUG"  # shows log lines and tracebacks, for developers
FAILED, MISUSED, INTERRUPTED = 1, 2, 130
# The place of each verb: a function or a typer.Typer in a module, in the order of the help text.
VERBS = {
    "init": "cli.init:init",
    "seed": "cli.seed:seed",
    "token": "cli.tokens:token",
    "send": "cli.talk:send",
    "tail": "cli.talk:tail",
    "chat": "cli.chat:chat",
    "sessions": "cli.sessions:sessions",
    "history": "cli.history:history",
    "export": "cli.export:export",
    "receipts": "cli.sessions:receipts",
    "where": "cli.where:where",
    "trace": "cli.trace:trace",
    "groups": "cli.consumer_groups:groups",
    "group": "cli.groups:app",
    "dlq": "cli.dlq:app",
    "media": "cli.media:app",
    "archive": "cli.archive:app",
    "audit": "cli.audit:audit",
}
# Verbs that run the server's own code, which logs by structlog.
OPERATORS = {"init", "seed", "dlq", "media", "archive", "audit", "trace", "groups"}


class LazyVerbs(Mapping[str, Any]):
    """The commands by name. A module is imported when its verb is asked for: all of them take 2 s of CPU."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = VERBS[name].partition(":")
        verb = getattr(import_module(module), attribute)
        group = typer.Typer(rich_markup_mode=PLAIN)
        if isinstance(verb, typer.Typer):
            group.add_typer(verb, name=name)
        else:
            group.command(name)(verb)
        return get_group(group).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class LazyGroup(TyperGroup):
    """The root command. Only its help text imports all verbs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(MutableMapping[str, Any], LazyVerbs())


app = typer.Typer(
    name="tidings",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=PLAIN,
)


@app.callback()
def tidings() -> None:
    """Operate Tidings, and chat through it from a terminal."""


def main() -> None:
    """Entry point. The exit code is 2 for invalid settings and arguments, and 1 for all other errors."""
    configure_logging(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        app(prog_name="tidings")
    except ConfigurationError as error:
        _end(str(error), MISUSED)
    except (TidingsError, ClientError, OSError, ValueError) as error:
        _end(str(error), FAILED)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)


def configure_logging(verb: str) -> None:
    """Hide log lines unless for developers, because those of the drivers and of the SDK would hide ours."""
    level = "DEBUG" if DEBUG in os.environ else "CRITICAL"
    if verb in OPERATORS:
        from tidings.logging import configure  # here, because structlog takes half a second

        configure("tidings", level, readable=True)
    else:
        logging.basicConfig(level=level)


def _end(text: str, code: int) -> None:
    if DEBUG in os.environ:
        raise
    say(f"error: {' '.join(text.split())}", is_aside=True)
    sys.exit(code)
