"""Arguments that several verbs take, and their checks."""

from typing import Annotated

import typer

from tidings import ids

MOST_SECONDS = 86_400
DEFAULT_URL = "http://127.0.0.1:8080"


def user_id(text: str) -> str:
    """A check for typer: PROTOCOL's user ids."""
    if not ids.is_user_id(text):
        raise typer.BadParameter(f"{text!r} is no user id: {ids.USER_ID_TEXT}")
    return text


def session_id(text: str) -> str:
    """A check for typer: a session, direct or group."""
    if not ids.is_session_id(text):
        raise typer.BadParameter(f"{text!r} is no session id: d:<a>:<b> of two users in byte order, or g:<id>")
    return text


def group_id(text: str) -> str:
    """A check for typer: a group."""
    if not ids.is_group_session(text):
        raise typer.BadParameter(f"{text!r} is no group: g:<id> as `tidings sessions` prints it")
    return text


def seconds(given: float) -> float:
    """A check for typer: NaN and infinity pass its bounds."""
    if not 0 < given <= MOST_SECONDS:
        raise typer.BadParameter(f"{given:g} is no number of seconds up to {MOST_SECONDS:,}, which is a day")
    return given


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://", "ws://", "wss://")):
        raise typer.BadParameter(f"{text!r} is no address of a gateway: http://host:port")
    return text


Url = Annotated[str, typer.Option("--url", envvar="TIDINGS_URL", help="Any gateway.", callback=_url)]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="TIDINGS_TOKEN",
        help="A token of the user; without it the gateway is asked for one, which it gives in development mode.",
    ),
]
Session = Annotated[
    str,
    typer.Option(
        "--session", help="A session instead of a user: g:<id>.", callback=lambda text: text and session_id(text)
    ),
]
AsUser = Annotated[str, typer.Option("--as", help="Who you are.", callback=user_id)]
