"""Arguments that several verbs take, with the checks of the SDK, because the verbs call it with them."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tidings_client import InvalidId
from tidings_client.ids import checked_group, checked_message_id, checked_session, checked_user
from tidings_client.rest import http_url_of

MOST_SECONDS = 86_400
DEFAULT_URL = "http://127.0.0.1:8080"


def user_id(text: str) -> str:
    """A check for typer: PROTOCOL's user ids."""
    return _checked(checked_user, text)


def session_id(text: str) -> str:
    """A check for typer: a session, direct or group."""
    return _checked(checked_session, text)


def month(text: str) -> int:
    """A check for typer: a month as 202605. The same number of a month that never was would name nothing."""
    if not re.fullmatch(r"[1-9][0-9]{3}(0[1-9]|1[0-2])", text, re.ASCII):
        raise typer.BadParameter(f"{text!r} is no month; write year and month, as 202605")
    return int(text)


def group_id(text: str) -> str:
    """A check for typer: a group."""
    return _checked(checked_group, text)


def client_msg_id(text: str) -> str:
    """A check for typer: a message's client_msg_id."""
    return _checked(checked_message_id, text)


def _checked(check: Callable[[object], str], text: str) -> str:
    try:
        return check(text)
    except InvalidId as error:
        raise typer.BadParameter(str(error)) from error


def seconds(given: float) -> float:
    """A check for typer, whose own bounds accept NaN and infinity."""
    if not 0 < given <= MOST_SECONDS:
        raise typer.BadParameter(f"{given:g} is not a number of seconds up to {MOST_SECONDS:,}, which is a day")
    return given


def moment_ms(text: str) -> int:
    """A parser for typer: a date or a time as ISO 8601, in ms since 1970. Without an offset it is local time."""
    try:
        at_ms = int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise typer.BadParameter(f"{text!r} is not a time; write 2026-03-01 or 2026-03-01T14:30:00+01:00") from error
    if at_ms < 0:
        raise typer.BadParameter(f"{text} is before 1970")
    return at_ms


def filled_file(path: Path | None) -> Path | None:
    """A check for typer: a file to upload, which the server refuses if it is empty."""
    if path is not None and path.stat().st_size == 0:
        raise typer.BadParameter(f"the file {path} is empty")
    return path


def new_file(path: Path) -> Path:
    """A check for typer: a file to write. Made before the download, which may take long."""
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; name the file to write, as {path / 'photo.jpg'}")
    if not path.parent.is_dir():
        raise typer.BadParameter(f"the folder {path.parent} does not exist")
    return path


def media_path(text: str, url: str) -> str:
    """The path of an upload, from itself or from its whole address at the server `url`."""
    if re.fullmatch("[0-9a-f]{32}", text):
        raise typer.BadParameter(f"an upload is named by its path: write /v1/media/{text}")
    return text.removeprefix(http_url_of(url))


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://", "ws://", "wss://")):
        raise typer.BadParameter(f"{text!r} is not a gateway's address; write http://host:port")
    return text


Url = Annotated[str, typer.Option("--url", envvar="TIDINGS_URL", help="Any gateway.", callback=_url)]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="TIDINGS_TOKEN",
        help="A token of the user. Without it the gateway issues one, in development mode only.",
    ),
]
Session = Annotated[
    str,
    typer.Option(
        "--session", help="A session instead of a user: g:<id>.", callback=lambda text: text and session_id(text)
    ),
]
OneSession = Annotated[
    str, typer.Option("--session", help="A session: d:<a>:<b> or g:<id>.", callback=session_id, show_default=False)
]
AsUser = Annotated[str, typer.Option("--as", help="Your user id.", callback=user_id)]
