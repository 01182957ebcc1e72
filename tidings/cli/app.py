"""The verbs of the command line, and how a verb ends: 0, or one readable line and another exit code."""

import logging
import os
import sys

import typer
from pydantic import ValidationError

from tidings.cli.init import init
from tidings.cli.talk import send, tail
from tidings.cli.tokens import token
from tidings.cli.where import where
from tidings.errors import ConfigurationError, TidingsError
from tidings_client import TidingsError as ClientError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="tidings",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def tidings() -> None:
    """Operate Tidings, and chat through it from a terminal."""


for verb in (init, token, send, tail, where):
    app.command()(verb)


def main() -> None:
    """Entry point. Settings and arguments that do not fit end with 2, everything else that fails with 1."""
    if "TIDINGS_DEBUG" not in os.environ:
        logging.disable(logging.CRITICAL)  # the drivers' own lines would bury ours
    try:
        app()
    except ValidationError as error:
        _end(_settings_at_fault(error), MISUSED)
    except ConfigurationError as error:
        _end(str(error), MISUSED)
    except (TidingsError, ClientError, OSError, ValueError) as error:
        _end(str(error), FAILED)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)


def _end(text: str, code: int) -> None:
    if "TIDINGS_DEBUG" in os.environ:
        raise
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(code)


def _settings_at_fault(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return f"{error.title}: {'; '.join(faults)}; they are read from the environment, as TIDINGS_… names"
